"""Units of recipes: lengths of a world, and fields in iterations, which scale with the length of a training."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

N3V_EXTENT = 6.5
"""About the extent (1.1 x largest distance of a training camera from their mean) of N3V's rigs, in world units of their
`poses_bounds.npy`. What upstream code has in those units, or multiplies by the extent where no length is meant, holds
at this extent; over it, it holds in a world of any units."""

# Metadata of fields (a number, None or a tuple of them) that are counted in iterations. An interval is also how many
# images a statistic sees, so that it does not shrink below a number that tells something.
ITERATIONS = {"shortest": 1}
PERIOD = {"shortest": 1, "least": 1}  # something happens every so many iterations
INTERVAL = {"shortest": 50, "least": 1}
# Metadata of numbers that a training divides by, or makes so many of.
COUNT, NOT_NEGATIVE = {"least": 1}, {"least": 0}

Value = TypeVar("Value")


def scaled_fields(value: Value, factor: float) -> Value:
    """A dataclass whose fields counted in iterations, also in dataclasses within it, are multiplied and rounded.

    What shrinks stops at its shortest, or stays where it was shorter already.
    """
    changes: dict[str, Any] = {}
    for one in fields(value):  # type: ignore[arg-type]
        part = getattr(value, one.name)
        if "shortest" in one.metadata:
            changes[one.name] = _times(part, factor, one.metadata["shortest"])
        elif is_dataclass(part) and not isinstance(part, type):
            changes[one.name] = scaled_fields(part, factor)
    return replace(value, **changes)  # type: ignore[type-var]


def check_fields(value: Any, prefix: str = "") -> None:
    """Raises ValueError for the first number that is less than its field's least, also in dataclasses within."""
    for one in fields(value):
        part, least = getattr(value, one.name), one.metadata.get("least")
        if is_dataclass(part) and not isinstance(part, type):
            check_fields(part, f"{prefix}{one.name}.")
        elif least is not None and part is not None and not part >= least:
            raise ValueError(f"{prefix}{one.name} is {part:g}: give {least} or more")


def _times(iterations: Any, factor: float, shortest: int) -> Any:
    if isinstance(iterations, tuple):
        return tuple(_times(one, factor, shortest) for one in iterations)
    if iterations is None or iterations <= 0:
        return iterations
    return max(round(iterations * factor), min(iterations, shortest))
