"""A recipe's settings by name, "dssim" or "density.gradient", as --set and the JSON file give them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar, get_type_hints

from common.text.suggestions import hint, ranked
from engine.errors import ConfigError
from engine.settings.parsing.fields import convert

AnyRecipe = TypeVar("AnyRecipe")

# Settings with a flag of their own, because they do more than change one number.
FLAGS = {
    "iterations": "--iterations, which scales every schedule with it",
    "near": "--near, in the scene's units",
    "far": "--far, in the scene's units",
}
DECIDING = ("iterations", "router cameras", "training cameras", "cameras", "footage", "start points")  # facts, in order
_NEAREST = 3  # names that are told, at most, for one that is unknown
_ALL = "train_expert.json of a training lists all"
_LITERALS = {"none": None, "true": True, "false": False}


def settings_of(recipe: Any) -> dict[str, Any]:
    """Every setting's value by its name; those of tables within the recipe are "table.name"."""
    return {name: value for name, (value, _) in _leaves(recipe).items() if name not in FLAGS}


def with_settings(recipe: AnyRecipe, values: Mapping[str, Any], *, where: str) -> AnyRecipe:
    """A recipe with some settings replaced; raises ConfigError, telling what to give, for a name that is none of one.

    where: what gave them, for messages. Values are JSON's, of the settings' types.
    """
    known = _leaves(recipe)
    changes = {}
    for name, value in values.items():
        if name in FLAGS:
            raise ConfigError(f"{where}: {name} is set by {FLAGS[name]}")
        if name not in known:
            raise ConfigError(f"{where}: {_refusal(name, recipe, known)}")
        changes[name] = convert(value, known[name][1], f"{where}: {name}")
    changed: AnyRecipe = _changed(recipe, changes, "")
    return changed


def _refusal(name: str, recipe: Any, known: Iterable[str]) -> str:
    """Tell that a name is a table's, or no name of a setting, and which settings there are."""
    tables, kind = _tables(recipe), type(recipe).__name__
    if entries := tables.get(name):
        some = ", ".join(f"{entry}=VALUE" for entry in entries[:_NEAREST])
        rest = "" if len(entries) <= _NEAREST else f"; {_ALL}"
        return f"{name} is a table of {kind}: set its entries, as {some}{rest}"
    return f"{kind} has no {name!r}; {_suggestion(name, known, tables)}"


def _suggestion(name: str, known: Iterable[str], tables: Mapping[str, Sequence[str]]) -> str:
    """Name the settings that end with an unknown name, as a table is easily left out; else those most like it.

    Of a table that there is, the name is what follows it, and those most like it are settings of the table.
    """
    inside = max((f"{table}." for table in tables if name.startswith(f"{table}.")), key=len, default="")
    rest = name.removeprefix(inside).lower()
    found = [each for each in known if f".{each.lower()}".endswith(f".{rest}")]
    last = rest.rpartition(".")[2]
    found = found or [entries[0] for table, entries in tables.items() if table.lower().endswith(f".{last}")]
    if found:
        return f"did you mean {' or '.join(found[:_NEAREST])}?"
    pool = [each for each in known if each.startswith(inside)]
    return hint(name, pool, otherwise=f"nearest: {', '.join(ranked(name, pool, _NEAREST))}; {_ALL}")


def parse_setting(argument: str) -> tuple[str, Any]:
    """Name and value of "name=value"; the value is JSON (numbers, true, [1, 2]), none, or text."""
    name, equals, text = argument.partition("=")
    if not equals or not name.strip():
        raise ConfigError(f"--set {argument}: name=value expected, for example --set dssim=0.1")
    text = text.strip()
    if text.lower() in _LITERALS:
        return name.strip(), _LITERALS[text.lower()]
    try:
        return name.strip(), json.loads(text)
    except json.JSONDecodeError:
        return name.strip(), text


def setting_arguments(values: Mapping[str, Any]) -> tuple[str, ...]:
    """Arguments name=value of settings; the inverse of `parse_setting`."""
    return tuple(f"{name}={json.dumps(value)}" for name, value in values.items())


def flattened(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """JSON objects within an object as dotted names: {"density": {"stop": 9}} is {"density.stop": 9}."""
    flat: dict[str, Any] = {}
    for name, value in content.items():
        flat |= flattened(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat


def difference(old: Mapping[str, Any], new: Mapping[str, Any], *, unsaved: Mapping[str, Any]) -> str | None:
    """The first setting that differs, as "name: old, now new"; None where all agree.

    Those come first from which others follow: schedules, and planes that were measured. unsaved: values by name of
    settings that the old ones may lack, since they were saved before there were these.
    """
    old = {**{name: value for name, value in unsaved.items() if name in new}, **old}
    deciding = [name for name in DECIDING if name in old or name in new]
    for name in (*deciding, *sorted({*old, *new} - {*deciding})):
        if old.get(name) != new.get(name):
            return f"{name}: {old.get(name, 'absent')}, now {new.get(name, 'absent')}"
    return None


def unsaved_recipe(recipe: Any) -> dict[str, Any]:
    """Every setting's value by its name, as plain JSON, before a recipe of this kind had it: its default.

    A new setting must have the default that leaves a training as it was without it.
    """
    plain: dict[str, Any] = json.loads(json.dumps(settings_of(type(recipe)())))
    return plain


def _parts(value: Any) -> Iterable[tuple[str, Any, Any]]:
    """Name, value and annotation of what a recipe or a table in it holds."""
    if isinstance(value, Mapping):
        return [(name, part, type(part)) for name, part in value.items()]
    hints = get_type_hints(type(value), include_extras=True)
    return [(field.name, getattr(value, field.name), hints[field.name]) for field in fields(value)]


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping) or (is_dataclass(value) and not isinstance(value, type))


def _leaves(value: Any, prefix: str = "") -> dict[str, tuple[Any, Any]]:
    settings: dict[str, tuple[Any, Any]] = {}
    for name, part, annotation in _parts(value):
        settings |= _leaves(part, f"{prefix}{name}.") if _is_table(part) else {prefix + name: (part, annotation)}
    return settings


def _tables(value: Any, prefix: str = "") -> dict[str, list[str]]:
    """The first setting of each part of a table, by the table's name; a table without settings is left out."""
    tables: dict[str, list[str]] = {}
    for name, part, _ in _parts(value):
        if _is_table(part):
            full = prefix + name
            firsts = (next(iter(_leaves({one: held}, f"{full}.")), None) for one, held, _ in _parts(part))
            tables[full] = [first for first in firsts if first is not None]
            tables |= _tables(part, f"{full}.")
    return {name: entries for name, entries in tables.items() if entries}


def _changed(value: Any, changes: Mapping[str, Any], prefix: str) -> Any:
    new = {}
    for name, part, _ in _parts(value):
        full = prefix + name
        new[name] = _changed(part, changes, f"{full}.") if _is_table(part) else changes.get(full, part)
    return new if isinstance(value, Mapping) else replace(value, **new)
