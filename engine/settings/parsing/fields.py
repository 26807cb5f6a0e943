"""Between a configuration (frozen dataclasses in groups) and its settings by flat name, as flags and JSON see them."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from engine.errors import ConfigError

Config = TypeVar("Config")


def leaves(config_type: Any) -> Mapping[str, Any]:
    """Annotation of every setting by its flat name, groups opened."""
    return _leaves(config_type)


@lru_cache(maxsize=64)  # a command asks many times of a few types
def _leaves(config_type: Any) -> Mapping[str, Any]:
    annotations: dict[str, Any] = {}
    for name, annotation in get_type_hints(config_type, include_extras=True).items():
        annotations.update(leaves(annotation) if is_dataclass(annotation) else {name: annotation})
    return types.MappingProxyType(annotations)


def evaluate_annotations(config_type: Any) -> None:
    """Replaces annotations that are text by what they mean, in the classes: tyro would read each text several times."""
    for kind in config_type.__mro__:
        own = vars(kind).get("__annotations__", {})
        if any(isinstance(annotation, str) for annotation in own.values()):
            meant = get_type_hints(kind, include_extras=True)
            own.update({name: meant[name] for name in own})
        for annotation in own.values():
            if is_dataclass(annotation):
                evaluate_annotations(annotation)


def values_of(config: Any) -> dict[str, Any]:
    """Every setting's value by its flat name."""
    values: dict[str, Any] = {}
    for field in fields(config):
        value = getattr(config, field.name)
        values.update(values_of(value) if is_dataclass(value) else {field.name: value})
    return values


def with_values(config: Config, values: Mapping[str, Any]) -> Config:
    """A copy of a configuration with some settings replaced, given by flat name."""
    changes = {}
    for field in fields(config):  # type: ignore[arg-type]
        value = getattr(config, field.name)
        if is_dataclass(value):
            changes[field.name] = with_values(value, values)
        elif field.name in values:
            changes[field.name] = values[field.name]
    return replace(config, **changes)  # type: ignore[type-var]


def convert(value: Any, annotation: Any, where: str) -> Any:
    """A JSON value as the type of a setting; ConfigError where it is of another kind. `where` names file and key."""
    options = _alternatives(annotation)
    for option in options:
        converted = _convert_one(value, option, where)
        if converted is not _NO_MATCH:
            return converted
    wanted = " or ".join(_describe(option) for option in options)
    raise ConfigError(f"{where} is {value!r}: {wanted} expected")


_NO_MATCH = object()


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) is Annotated:
        return _alternatives(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return get_args(annotation)
    return (annotation,)


def _convert_one(value: Any, wanted: Any, where: str) -> Any:
    if get_origin(wanted) is Literal:
        value = "none" if value is None else value  # --set name=none, where "none" is one of the choices
        return value if value in get_args(wanted) else _NO_MATCH
    if get_origin(wanted) is tuple:
        if not isinstance(value, list):
            return _NO_MATCH
        return tuple(convert(item, get_args(wanted)[0], f"{where}[{index}]") for index, item in enumerate(value))
    if isinstance(value, bool) or wanted is bool:
        return value if isinstance(value, bool) and wanted is bool else _NO_MATCH
    if wanted is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if wanted is float and isinstance(value, int):
        return float(value)
    if wanted is Path and isinstance(value, str):
        return Path(value)
    return value if isinstance(value, wanted) else _NO_MATCH


def _describe(wanted: Any) -> str:
    if get_origin(wanted) is Literal:
        return " or ".join(repr(choice) for choice in get_args(wanted))
    if get_origin(wanted) is tuple:
        return f"a list of {_describe(get_args(wanted)[0])}s"
    names = {bool: "true or false", int: "whole number", float: "number", str: "text", Path: "path", type(None): "null"}
    return names[wanted]
