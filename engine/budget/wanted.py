"""The budget of a run as a user writes it: "20min,8GB,60MB"."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from common.text.units import GIGABYTE, MEGABYTE
from common.text.wording import bytes_text, duration
from engine.errors import ConfigError

_PART = re.compile(r"([0-9.]+)\s*([a-z]+)")
_UNITS: Mapping[str, tuple[str, float]] = {  # unit -> the field that it gives, and how much of it one is
    "h": ("seconds", 3600.0),
    "min": ("seconds", 60.0),
    "s": ("seconds", 1.0),
    "gb": ("gpu_bytes", GIGABYTE),
    "mb": ("run_bytes", MEGABYTE),
}
_EXAMPLE = "give time in min, h or s, GPU memory in GB and the size of the run in MB, for example 20min,8GB,60MB"


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The most that a run may take; None: as much as it likes."""

    seconds: float | None = None  # of the whole command
    gpu_bytes: float | None = None  # of tensors at a time
    run_bytes: float | None = None  # of the finished run's files

    def __str__(self) -> str:
        parts = [
            None if self.seconds is None else duration(self.seconds),
            None if self.gpu_bytes is None else f"{bytes_text(round(self.gpu_bytes))} of GPU memory",
            None if self.run_bytes is None else f"a run of {bytes_text(round(self.run_bytes))}",
        ]
        return ", ".join(part for part in parts if part is not None)


def read_budget(text: str) -> Budget:
    """The budget of a text; ConfigError for parts that are not a number and a unit, or that say one thing twice."""
    found: dict[str, float] = {}
    for part in text.split(","):
        match = _PART.fullmatch(part.strip().lower())
        if match is None or match[2] not in _UNITS:
            raise ConfigError(f"--budget {text}: {part.strip()!r} is no number with a unit; {_EXAMPLE}")
        name, size = _UNITS[match[2]]
        try:
            value = float(match[1]) * size
        except ValueError:
            raise ConfigError(f"--budget {text}: {match[1]!r} is no number; {_EXAMPLE}") from None
        if not (value > 0 and math.isfinite(value)):
            raise ConfigError(f"--budget {text}: {part.strip()!r} is nothing: give more than 0")
        if name in found:
            raise ConfigError(f"--budget {text}: {part.strip()!r} gives a part a second time; {_EXAMPLE}")
        found[name] = value
    return Budget(**found)
