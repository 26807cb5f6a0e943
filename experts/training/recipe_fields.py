"""Recipe fields that are counted in iterations, and how they scale with the length of a training."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

# Metadata of fields (a number, None or a tuple of them) that are counted in iterations. An interval is also how many
# images a statistic sees, so that it does not shrink below a number that tells something.
ITERATIONS = {"shortest": 1}
INTERVAL = {"shortest": 50}

Value = TypeVar("Value")


def scaled_fields(value: Value, factor: float) -> Value:
    """A dataclass whose fields counted in iterations, also in dataclasses within it, are multiplied and rounded.

    What shrinks stops at its shortest, or stays where it was shorter already.
    """
    changes: dict[str, Any] = {}
    for one in fields(value):  # type: ignore[arg-type]
        found = getattr(value, one.name)
        if "shortest" in one.metadata:
            changes[one.name] = _times(found, factor, one.metadata["shortest"])
        elif is_dataclass(found) and not isinstance(found, type):
            changes[one.name] = scaled_fields(found, factor)
    return replace(value, **changes)  # type: ignore[type-var]


def _times(found: Any, factor: float, shortest: int) -> Any:
    if isinstance(found, tuple):
        return tuple(_times(one, factor, shortest) for one in found)
    if found is None or found <= 0:
        return found
    return max(round(found * factor), min(found, shortest))
