"""The state of one client's view, as values: its picture's kind, its moment, its experts, and its pace."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

MIXTURE, WINNER, DEPTH, ALPHA, ERROR, RECORDED = "mixture", "winner", "depth", "opacity", "error", "recorded"
EXPERT, GATE = "expert ", "gate "  # before an expert's name
OF_TRUTH = (ERROR, RECORDED)  # kinds that need the recorded frame
OF_DEPTH = (DEPTH, ALPHA)
FINEST = 4  # steps between two frames in slow motion: more would fill the memory for kept frames
SLOW = 10.0  # frames per second below which there are such steps
LEAST_SCALE = 0.15  # of a picture's width while it moves


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewState:
    """All that decides a picture, besides the camera."""

    shown: str = MIXTURE
    against: str | None = None  # right of the wipe; None: no wipe
    wipe: float = 0.5  # share of the width that is left of it
    frame: float = 0.0
    enabled: tuple[bool, ...]  # by expert, at least one
    temperature: float

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of picture in it, one or two."""
        return (self.shown,) if self.against is None else (self.shown, self.against)


def kinds_of(names: Sequence[str]) -> tuple[str, ...]:
    """Every kind of picture of a run with these experts; one expert alone has no gates."""
    several = len(names) > 1
    experts = [EXPERT + name for name in names] if several else []
    gates = [*(GATE + name for name in names), WINNER] if several else []
    return (MIXTURE, *experts, *gates, DEPTH, ALPHA, ERROR, RECORDED)


def played_frame(start: float, seconds: float, *, rate: float, num_frames: int, loop: bool) -> float:
    """The frame that is shown so many seconds after `start`; rate: frames per second.

    Whole frames, below 10 frames a second also fractions between two of them. Without a loop the last frame stays.
    """
    frame = math.floor((start + seconds * rate) * _steps(rate)) / _steps(rate)
    return frame % num_frames if loop and frame > num_frames - 1 else min(frame, num_frames - 1)


def seconds_to_next(start: float, seconds: float, *, rate: float) -> float:
    """The seconds until `played_frame` gives another frame than now."""
    following = (math.floor((start + seconds * rate) * _steps(rate)) + 1) / _steps(rate)
    return (following - start) / rate - seconds


def _steps(rate: float) -> int:
    """Steps between two frames at so many frames per second."""
    return FINEST if rate < SLOW else 1


def next_scale(scale: float, seconds: float, *, budget: float) -> float:
    """The share of the full width at which a picture should take `budget` seconds, as one at `scale` took `seconds`.

    Time goes with the pixels. It changes by at most a factor of two at a time: one slow picture is no measure.
    """
    wanted = scale * math.sqrt(budget / max(seconds, 1e-4))
    return min(1.0, max(LEAST_SCALE, min(2 * scale, max(scale / 2, wanted))))
