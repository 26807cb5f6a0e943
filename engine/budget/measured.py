"""Findings of trials on a machine and a scene: times, memory and sizes, linear in the number of Gaussians."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A quantity that grows with the number of Gaussians: at none of them, and for each."""

    base: float
    each: float

    def at(self, gaussians: float) -> float:
        """The quantity at so many Gaussians."""
        return self.base + self.each * gaussians

    def times(self, factor: float) -> Line:
        """The line of a multiple of the quantity."""
        return Line(base=self.base * factor, each=self.each * factor)

    def where(self, value: float) -> float:
        """The number of Gaussians at which the quantity reaches a value; none where it is above it from the start."""
        if self.base >= value:
            return 0.0
        return float("inf") if self.each <= 0 else (value - self.base) / self.each


def line_through(one: tuple[int, float], other: tuple[int, float]) -> Line:
    """The line through a quantity at two numbers of Gaussians; level where it falls, or where they are the same."""
    (few, low), (many, high) = sorted((one, other))
    each = (high - low) / (many - few) if many > few else 0.0
    if each <= 0:
        return Line(base=max(low, high), each=0.0)
    return Line(base=max(0.0, low - each * few), each=each)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertTrial:
    """An expert on this scene and machine."""

    name: str  # in EXPERTS
    key: str
    models: int  # segments, trained one after the other
    fast: int  # iterations of a model with its preset fast
    published: int  # and with its own preset
    start: int  # Gaussians at the beginning of a training without limit
    grows_until: float  # share of the training at whose end their number stops to grow; 0: it never changes
    pixels: int  # of an image
    usual: int  # the most Gaussians that trainings without a limit had
    iteration: Line  # seconds
    memory: Line | None  # bytes of GPU tensors; None: a CPU
    files: Line  # bytes of a model's files
    overhead: float  # seconds of a model beside its iterations, once its command runs
    opening_on_black: float | None = None  # seconds of these that black images took; None: the scene's take as long

    def opened_in(self, seconds: float) -> ExpertTrial:
        """The trial of a model whose opening on the scene's images takes so long."""
        return replace(self, overhead=self.overhead - (self.opening_on_black or 0.0) + seconds, opening_on_black=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class MixtureTrial:
    """A router over some experts' models."""

    gaussians: int  # of all models that it was tried with
    iteration: float  # seconds
    frame: float  # seconds to score one
    opening: float  # seconds to assemble a run and take its first steps
    first_frame: float  # seconds of the first frame to score
    memory: float | None  # bytes of GPU tensors; None: a CPU
    head_bytes: int  # of the router without Gaussians' weights


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneTrial:
    """The times that all commands of a scene share."""

    command: float  # seconds of every command until the scene is open
    frames: int  # to be scored at the end, of all held-out cameras
