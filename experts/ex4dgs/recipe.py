"""Ex4DGS's recipe: settings of its training beside those of all recipes (Lee et al., NeurIPS 2024)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from experts.training.recipes.recipe import BackgroundKind, Density, OptimiserKind, Rate, Recipe
from experts.training.recipes.recipe_fields import COUNT, INTERVAL, ITERATIONS, PERIOD


def ex4dgs_rates(
    *, opacity: float = 0.05, centres: float = 1e-3, widths: float = 5e-4, colours: float = 2.5e-3
) -> dict[str, Rate]:
    """Ex4DGS's learning rates; those given are of dynamic Gaussians, which differ from scene to scene.

    Displacements move in units of the extent here, as means do, and in those of the scene in Ex4DGS: the same on
    Technicolor, whose extent is 1 there.
    """
    return {
        "static.means": Rate(first=1.6e-4, last=1.6e-6, per_extent=True),
        "static.displacements": Rate(first=1e-4, per_extent=True),
        "static.log_scales": Rate(first=5e-3),
        "static.quats": Rate(first=1e-5),
        "static.opacity_logits": Rate(first=0.05),
        "static.sh_dc": Rate(first=2.5e-3),
        "static.sh_rest": Rate(first=2.5e-3 / 20),
        "dynamic.means": Rate(first=1.6e-4, last=1.6e-5, per_extent=True),
        "dynamic.quats": Rate(first=1e-3),
        "dynamic.log_scales": Rate(first=5e-3),
        "dynamic.opacity_logits": Rate(first=opacity),
        "dynamic.opacity_centres": Rate(first=centres),
        "dynamic.opacity_log_widths": Rate(first=widths),
        "dynamic.sh_dc": Rate(first=colours),
        "dynamic.sh_rest": Rate(first=colours / 20),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """Schedule of the growth of the clip in training, and of the extraction of dynamic Gaussians from static ones."""

    start: int = field(default=500, metadata=ITERATIONS)  # nothing of it up to this iteration
    frames: int = field(default=10, metadata=COUNT)  # in training at first, and how many more each time
    every: int = field(default=400, metadata=PERIOD)
    extract_after: int = field(default=100, metadata=ITERATIONS)  # iterations from growing to extraction, if one is due
    extract_every: int = field(default=3980, metadata=PERIOD)  # extractions beside those
    percentile: float = 0.98  # of the scores of the static Gaussians in the image, above which they are extracted


@dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
    """Limits on the errors of the pixels that a Gaussian shows."""

    start: int = field(default=20000, metadata=ITERATIONS)
    every: int = field(default=5, metadata=COUNT)  # densifications
    l1: float = 0.08  # largest mean L1
    dissimilarity: float = 0.6  # largest mean 1 - SSIM


@dataclass(frozen=True, kw_only=True)
class Ex4DGSRecipe(Recipe):
    """Ex4DGS's training; the defaults are its six N3V scenes'."""

    iterations: int = field(default=40000, metadata=ITERATIONS)
    rates: Mapping[str, Rate] = field(
        default_factory=lambda: ex4dgs_rates(opacity=0.01, centres=0.01, widths=1e-4)
    )  # by parameter name
    rate_iterations: int = field(default=30000, metadata=PERIOD)
    optimiser: OptimiserKind = "radam"
    background: BackgroundKind = "random"
    density: Density = field(
        default_factory=lambda: Density(stop=30000, every=300, prune_every=300, smallest_opacity=0.01)
    )  # max_gaussians counts static and dynamic ones together
    dynamic_gradient: float = 1e-4  # density.gradient of dynamic Gaussians
    growth: Growth = field(default_factory=Growth)
    near: float = 4.0  # published culling planes, model units
    far: float = 300.0
    time_pad: int = 2  # frames before frame 0 that belong to the first interpolated interval
    static_weight: float = 1e-4  # of the mean log of the displacements' lengths
    motion_weight: float = 1e-4  # of the mean distance of the keyframes from the first
    windows_every: int = field(default=1200, metadata=INTERVAL)  # iterations between adjustments of opacity windows
    windows_stop: int = field(default=27000, metadata=ITERATIONS)
    prune_start: int = field(default=6000, metadata=ITERATIONS)  # of the prunings that follow a pass over all images
    prune_invisible: bool = True  # what contributed to no image of the pass
    prune_small: bool = True  # what was, since the last densification, smaller in some image than
    smallest_radius: float = 5.0  # px at the published width; at another width in proportion
    published_width: int = 1352  # px
    errors: Errors = field(default_factory=Errors)
    # Apply `errors`, as the paper says. Ex4DGS's code compared sums that it had just cleared, and pruned nothing by
    # error.
    prune_by_error: bool = False
    # Let the rate of the keyframes' means fall as the table says. In Ex4DGS's code it stays constant.
    decay_motion_rate: bool = False
    # Measure distances in extraction from the camera's centre. Ex4DGS's code takes the camera's translation.
    extract_by_camera_centre: bool = True
    # Lay a new dynamic Gaussian's keyframes where the static one was at their frames. Ex4DGS's code spreads its path
    # over all keyframes, so that it starts late and moves at another speed.
    extract_along_path: bool = True
