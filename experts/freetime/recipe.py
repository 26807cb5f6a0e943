"""FreeTime's recipe: the settings of its training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from experts.training.recipes.recipe import Density, Rate, Recipe
from experts.training.recipes.recipe_fields import INTERVAL, ITERATIONS, MOMENTS, PERIOD, POSITIVE, SHARE

Kernel = Literal["bell", "flat"]  # opacity falls from a Gaussian's moment on, or from the end of its hold on
Gate = Literal["ours", "published", "none"]
Velocities = Literal["neighbours", "zero", "fixed"]
Still = bool | Literal["lasting"]  # True: what the gate holds there does not move; "lasting": what lasts moves slowly
MovingSource = Literal["auto", "clouds", "sweep", "rays", "none"]
RelocationKind = Literal["mcmc", "copy", "copies_in_time", "none"]

PUBLISHED_SHARPNESS = 20.0  # of FreeTimeGS++'s gates
PUBLISHED_RAW_GATE = -1.0  # with which all of them begin

# Those of FreeTimeGS++'s code in frames at 30 a second, and for our extent, which is 1.1 times theirs.
RATES: Mapping[str, Rate] = MappingProxyType(
    {
        "gaussians.means": Rate(first=1.45e-4, last=1.45e-6, per_extent=True),
        "gaussians.log_scales": Rate(first=5e-3),
        "gaussians.quats": Rate(first=1e-3),
        "gaussians.opacity_logits": Rate(first=0.05),
        "gaussians.sh_dc": Rate(first=2.5e-3),
        "gaussians.sh_rest": Rate(first=1.25e-4),
        "times": Rate(first=4.8e-3),
        "widths": Rate(first=5e-3),
        "velocities": Rate(first=4.85e-5, last=4.85e-7, per_extent=True),
        "gates": Rate(first=2e-2),
        "log_holds": Rate(first=5e-3),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LifeSettings:
    """Switches of a model, which its files store beside the tensors.

    limit: longest standard deviation of a life in frames, which then is `limit * sigmoid(raw)`; None: `exp(raw)`.
    sharpness: a gate is `sigmoid(sharpness * raw)`. has_gate: False: every Gaussian fades, whatever its gate says.
    still: True: what the gate holds there does not move. "lasting": the longer a life, the slower (SharpTimeGS). False:
    velocities are what they say.
    """

    limit: float | None = None
    sharpness: float = 1.0
    still: Still = True
    kernel: Kernel = "bell"
    has_gate: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Relocation:
    """Schedule and thresholds by which dead Gaussians become copies of living ones.

    kind: "mcmc": source and copies together look as the source did. "copy": exact copies. "copies_in_time": copies
    live a little earlier or later. "none": nothing is moved.
    """

    kind: RelocationKind = "mcmc"
    start: int = field(default=500, metadata=ITERATIONS)  # after this iteration
    stop: int = field(default=25000, metadata=ITERATIONS)  # before this one
    every: int = field(default=100, metadata=INTERVAL)
    dead_below: float = 0.005  # opacity, at the Gaussian's moment and in the frame that shows most of it
    most_share: float = 0.05  # of all Gaussians that are moved at a time

    def happens(self, iteration: int) -> bool:
        """True for an iteration that ends with relocation, unless the kind is none."""
        return self.start < iteration < self.stop and iteration % self.every == 0


@dataclass(frozen=True, kw_only=True)
class FreeTimeRecipe(Recipe):
    """FreeTimeGS++'s recipe with a gate of our own, relocation, and no opacity resets.

    same_frame: the images of an iteration are of different cameras at one random frame.
    rates_by_batch: rates grow by the root of the images of an iteration, and moments forget as after so many iterations
        of one (FreeTimeGS++).
    density: its max_gaussians alone is used: their number does not change during the training.
    gate: "ours" has sharpness 1 and begins as the start says; "published" is FreeTimeGS++'s, of sharpness 20, and
        begins shut; "none" has none, and no longest life (FreeTimeGS).
    still: what the gate holds there does not move. False: it does, as in published models. "lasting": what lasts moves
        slowly, by SharpTimeGS's rule, with or without gates.
    kernel: "bell", or "flat" with a top that is held (SharpTimeGS).
    velocities: "zero" begin at zero; "neighbours" as the start says, whose matches in swept points are mostly chance;
        "fixed" are zero and stay so.
    moving: where the start looks for what moves: start points of several frames, plane sweeps of the images, nowhere;
        "auto" is the first of these that the scene allows. "rays": nowhere at the start; after the iterations
        `rays_at`, Gaussians along the rays of badly shown moving pixels replace the dead and the faintest, half of all.
    """

    iterations: int = field(default=30000, metadata=ITERATIONS)
    same_frame: bool = False
    rates_by_batch: bool = False
    rates: Mapping[str, Rate] = field(default_factory=lambda: RATES)
    rate_iterations: int = field(default=30000, metadata=PERIOD)
    density: Density = field(default_factory=lambda: Density(max_gaussians=500_000))
    gaussians_per_pixel: float = 0.65  # of a training image, up to density.max_gaussians: 150,000 at 640 x 360
    gate: Gate = "ours"
    still: Still = True
    kernel: Kernel = "bell"
    first_hold: float = field(default=0.1, metadata=POSITIVE)  # frames, of the kernel "flat"
    moving: MovingSource = "auto"
    rays_at: tuple[int, ...] = field(default=(3000, 6000), metadata=MOMENTS)  # of moving="rays"; after these
    keyframe_every: int = 10  # frames from one moment at which the start looks for what moves to the next
    longest_width: float = field(default=5.0, metadata=POSITIVE)  # frames, of gates: a sixth of a second at 30 a second
    velocities: Velocities = "zero"
    regularise_4d: float = 1e-2  # weight of the mean opacity at an image's moment, without gradient to lifespans
    scale_penalty: float = 1e-2  # weight of the mean scale, in units of which N3V's extent has 6.5
    gate_penalty: float = 1e-3  # weight of the mean of 1 - gate over what an image has shown
    gate_penalty_from: int = field(default=1000, metadata=ITERATIONS)
    life_penalty: float = 0.0  # weight of the mean of 1 / half-life in frames (SharpTimeGS)
    lpips: float = 0.0  # weight of LPIPS(alex), which is fed -1 ... 1 as it was trained
    l2: float = field(default=0.0, metadata=SHARE)  # share of l1 that weighs squared differences instead
    relocation: Relocation = field(default_factory=Relocation)

    def life(self) -> LifeSettings:
        """Give the switches of its models."""
        gated = self.gate != "none"
        return LifeSettings(
            limit=self.longest_width if gated else None,
            sharpness=PUBLISHED_SHARPNESS if self.gate == "published" else 1.0,
            still=self.still if self.still == "lasting" else self.still and gated,
            kernel=self.kernel,
            has_gate=gated,
        )

    def rates_for(self, times: int) -> float:
        """1 where rates grow with the batch anyway, as `rates_by_batch` says."""
        return 1.0 if self.rates_by_batch else super().rates_for(times)

    def own_rates(self) -> Mapping[str, Rate]:
        """Rates of the parameters that its models have, as far as settings leave them to learn."""
        rates = dict(self.rates)
        if self.kernel == "bell":
            rates.pop("log_holds", None)
        if self.velocities == "fixed":
            rates["velocities"] = Rate(first=0.0)
        sharpness = self.life().sharpness
        gates = rates.get("gates")
        if gates is not None and sharpness != 1:
            last = None if gates.last is None else gates.last / sharpness
            rates["gates"] = Rate(first=gates.first / sharpness, last=last)
        return rates

    def budget(self, pixels: int) -> int:
        """Gaussians of a training whose images have so many pixels."""
        limit, wanted = self.density.max_gaussians, max(1, round(self.gaussians_per_pixel * pixels))
        return wanted if limit is None else min(limit, wanted)
