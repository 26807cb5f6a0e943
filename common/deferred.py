"""Imports that wait for their first use, so that --help and wrong flags do not wait for PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any


class Deferred:
    """Stands for an object or a module that is imported when it is called or asked for an attribute."""

    def __init__(self, location: str) -> None:
        self._location = location

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Call the object."""
        return located(self._location)(*arguments, **named)

    def __getattr__(self, name: str) -> Any:
        return getattr(located(self._location), name)

    def __repr__(self) -> str:
        return f"deferred({self._location!r})"


def deferred(location: str) -> Any:
    """Stand for "module" or "module:name"; ImportError or AttributeError at its first use where there is none."""
    return Deferred(location)


def located(location: str) -> Any:
    """Import "module" or the object at "module:name"."""
    module, _, name = location.partition(":")
    return getattr(import_module(module), name) if name else import_module(module)


def names_of(package: str, modules: Mapping[str, Sequence[str]]) -> Callable[[str], Any]:
    """Make a package's `__getattr__` (PEP 562), which imports a name's module when the name is first asked for.

    modules: names by the submodule that has them.
    """
    places = {name: f"{package}.{module}:{name}" for module, names in modules.items() for name in names}

    def attribute(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return located(places[name])

    return attribute
