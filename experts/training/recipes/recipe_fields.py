"""Units of recipes: lengths of a world, and fields in iterations, which scale with the length of a training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

N3V_EXTENT = 6.5
"""About the extent (1.1 x largest distance of a training camera from their mean) of N3V's rigs, in world units of their
`poses_bounds.npy`. What upstream code has in those units, or multiplies by the extent where no length is meant, holds
at this extent; over it, it holds in a world of any units."""

# Metadata of fields (a number, None or a tuple of them) that are counted in iterations. An interval is also how many
# images a statistic sees, so that it does not shrink below a number that tells something.
ITERATIONS = {"shortest": 1}
MOMENTS = {"shortest": 1, "least": 1}  # something happens after these iterations, which are counted from 1
PERIOD = {"shortest": 1, "least": 1}  # something happens every so many iterations
INTERVAL = {"shortest": 50, "least": 1}
# Metadata of numbers: their range. Without it they are 0 or more.
COUNT = {"least": 1}  # of what a training divides by, or makes so many of
POSITIVE = {"above": 0}
SHARE = {"most": 1}
POSITIVE_SHARE = {"above": 0, "most": 1}
ANY_SIGN = {"least": -math.inf}
DEGREE = {"most": 3}  # of the spherical harmonics that all models hold

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
    """Raises ValueError for the first number that is out of its field's range, also in tables within.

    Without a range in its metadata a number is finite, and 0 or more. A table with a `check` of its own says itself.
    """
    for name, part, metadata in _parts(value):
        if hasattr(part, "check"):
            part.check()
        elif isinstance(part, Mapping) or (is_dataclass(part) and not isinstance(part, type)):
            check_fields(part, f"{prefix}{name}.")
        else:
            for number in part if isinstance(part, tuple) else (part,):
                if isinstance(number, int | float) and not isinstance(number, bool) and not _fits(number, metadata):
                    verb = "holds" if isinstance(part, tuple) else "is"
                    raise ValueError(f"{prefix}{name} {verb} {number:g}: give {_range(metadata)}")


def _parts(value: Any) -> list[tuple[str, Any, Mapping[str, Any]]]:
    """Name, content and metadata of what a dataclass or a mapping holds."""
    if isinstance(value, Mapping):
        return [(str(name), part, {}) for name, part in value.items()]
    return [(one.name, getattr(value, one.name), one.metadata) for one in fields(value)]


def _fits(number: float, metadata: Mapping[str, Any]) -> bool:
    above, most = metadata.get("above", -math.inf), metadata.get("most", math.inf)
    return math.isfinite(number) and metadata.get("least", 0) <= number <= most and number > above


def _range(metadata: Mapping[str, Any]) -> str:
    least, most = metadata.get("least", 0), metadata.get("most")
    if "above" in metadata:
        return f"more than {metadata['above']}" + ("" if most is None else f", at most {most}")
    if most is not None:
        return f"{least} to {most}"
    return f"{least} or more" if math.isfinite(least) else "a finite number"


def _times(iterations: Any, factor: float, shortest: int) -> Any:
    if isinstance(iterations, tuple):
        return tuple(_times(one, factor, shortest) for one in iterations)
    if iterations is None or iterations <= 0:
        return iterations
    return max(round(iterations * factor), min(iterations, shortest))
