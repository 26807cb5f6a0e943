"""Switches of a FreeTime model: how its raw tensors are to be read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kernel = Literal["bell", "flat"]  # opacity falls from a Gaussian's moment on, or from the end of its hold on


@dataclass(frozen=True, slots=True, kw_only=True)
class LifeSettings:
    """Switches of a model, which its files store beside the tensors.

    limit: longest standard deviation of a life in frames, which then is `limit * sigmoid(raw)`; None: `exp(raw)`.
    sharpness: a gate is `sigmoid(sharpness * raw)`. has_gate: False: every Gaussian fades, whatever its gate says.
    still: what the gate holds there does not move.
    """

    limit: float | None = None
    sharpness: float = 1.0
    still: bool = True
    kernel: Kernel = "bell"
    has_gate: bool = True
