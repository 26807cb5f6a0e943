"""STG's recipe, in MoE-GS's SH variant: rates, thinning of start points, density by modes, guided sampling.

Values are those of STG's code for N3V where nothing else is said (Li et al., CVPR 2024, `SpacetimeGaussians`); what
concerns SH is 3DGS's, since MoE-GS publishes no recipe for its variant.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from experts.training.recipes.recipe import Density, Rate, Recipe
from experts.training.recipes.recipe_fields import ANY_SIGN, COUNT, INTERVAL, ITERATIONS, N3V_EXTENT, PERIOD


@dataclass(frozen=True, slots=True, kw_only=True)
class Thinning:
    """Choice of the points of a cloud of many moments; the first moment's always stay."""

    whole: int  # every so many-th moment keeps all its points; 0: the first moment alone
    share: float  # of the points of other moments that is kept: those farthest from their nearest neighbour


# by STG's number `preprocesspoints`; its numbers from 3 to 7 mean the same
THINNINGS: Mapping[int, Thinning] = MappingProxyType(
    {
        0: Thinning(whole=1, share=1.0),
        3: Thinning(whole=0, share=0.25),
        8: Thinning(whole=4, share=0.25),
        14: Thinning(whole=2, share=0.0),
        15: Thinning(whole=4, share=0.0),
        16: Thinning(whole=8, share=0.0),
        17: Thinning(whole=16, share=0.0),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Guidance:
    """Guided sampling: where and when new Gaussians are set along the rays of badly shown pixels (STG, section 4.3)."""

    start: int = field(default=1600, metadata=ITERATIONS)  # SSIM of views are compared from here on
    stop: int = field(default=9000, metadata=ITERATIONS)  # not after this; STG has no end
    apart: int = field(default=100, metadata=ITERATIONS)  # iterations between two views' samplings
    views: int = 2  # the worst so many, once each; 0: no guided sampling
    choose_below: float = 0.91  # SSIM of views that may be chosen
    sample_below: float = 0.88  # SSIM of a chosen view below which it is sampled
    quantile: float = 0.6  # of an image's errors above which a pixel is bad
    patch: int = field(default=16, metadata=COUNT)  # side of a patch, px
    bad_share: float = 0.85  # of a patch's pixels above which the patch is bad
    border: float = 0.1  # of width and height that is left out at each side
    first: float = 0.7  # depth of a ray's first new Gaussian over the view's largest depth
    last: float = 7.5  # and of its last
    per_ray: int = 2
    jitter: float = 0.05  # of a depth, up and down


def stg_rates(*, scales: float = 1.5e-3) -> Mapping[str, Rate]:
    """Learning rates by parameter; SH above degree 0 learn at 1/20 of the constant's rate (3DGS)."""
    rates = {
        "means": Rate(first=1.6e-4, last=1.6e-6, per_extent=True),
        "motion": Rate(first=1.6e-4 * 0.5 * 3.5, per_extent=True),
        "sh_dc": Rate(first=2.5e-3),
        "sh_rest": Rate(first=2.5e-3 / 20),
        "opacity_logits": Rate(first=0.05),
        "log_scales": Rate(first=scales),
        "quats": Rate(first=1e-3),
        "omegas": Rate(first=1e-4),
        "trbf_centres": Rate(first=1e-4),
        "trbf_log_widths": Rate(first=0.03),
    }
    return MappingProxyType({f"segments.0.{name}": rate for name, rate in rates.items()})


@dataclass(frozen=True, kw_only=True)
class STGRecipe(Recipe):
    """The training of one segment of STG: by default N3V's easier scenes in densification mode 1."""

    iterations: int = field(default=30000, metadata=ITERATIONS)
    rates: Mapping[str, Rate] = field(default_factory=stg_rates)
    rate_iterations: int = field(default=30000, metadata=PERIOD)
    batch: int = field(default=2, metadata=COUNT)  # different cameras at one frame
    density: Density = field(default_factory=lambda: Density(stop=9000, reset_every=3000))
    densifications: int = 6  # first so many density steps clone and split; later ones prune
    prune_stop: int = field(default=7000, metadata=ITERATIONS)  # before this iteration
    # Also prune the faint at the steps that clone and split. STG's code computes that mask and does not apply it.
    prune_when_densifying: bool = True
    # Statistics of all images of a batch count. STG's code takes those of the last one alone.
    statistics_of_all: bool = True
    thinning: Thinning = THINNINGS[3]
    # Of new Gaussians' temporal windows: 0 is the segment's length.
    trbf_log_width: float = field(default=0.0, metadata=ANY_SIGN)
    guidance: Guidance = field(default_factory=Guidance)
    near_cull: bool = True  # at the start, what stands close before all training cameras that show it is removed
    near_cull_again: int | None = field(default=9500, metadata=ITERATIONS)  # and from here on; None: not again
    near_cull_every: int = field(default=1000, metadata=INTERVAL)
    near_share: float = 1 / 3  # of a camera's median depth of start points up to which "close" is; N3V: 4.5 of about 13
    turning_start: int | None = field(default=8001, metadata=ITERATIONS)  # after it either quats or omegas learn
    turning_stop: int | None = field(default=None, metadata=ITERATIONS)  # after it both again; None: never
    turning_speed: float = 0.3 / N3V_EXTENT  # what turns moves by more than this a segment (sum of |xyz|, over extent)
    turning_smallest: float = 0.2 / N3V_EXTENT  # its largest scale is between these, over extent
    turning_largest: float = 0.6 / N3V_EXTENT
    turning_opacity: float = 0.7  # it is more opaque than this
    box_cull: int | None = field(default=10000, metadata=ITERATIONS)  # removes what lies outside the first points' box
    # Share of its size by which the box grows at each side. STG's code has 0 and cuts into walls that bound a cloud.
    box_margin: float = 0.1


# Densification modes of STG's code, as changes of the recipe.
MODES: Mapping[int, Mapping[str, Any]] = MappingProxyType(
    {
        1: {
            "prune_stop": 7000,
            "near_cull": True,
            "near_cull_again": 9500,
            "turning_start": 8001,
            "turning_stop": None,
            "box_cull": 10000,
        },
        2: {
            "prune_stop": 9000,
            "near_cull": True,
            "near_cull_again": None,
            "turning_start": 8001,
            "turning_stop": 9000,
            "box_cull": None,
        },
        3: {
            "prune_stop": 7000,
            "near_cull": False,
            "near_cull_again": None,
            "turning_start": None,
            "turning_stop": None,
            "box_cull": 10000,
        },
    }
)


def in_mode(recipe: STGRecipe, mode: int) -> STGRecipe:
    """A recipe of 30,000 iterations in one of STG's three densification modes."""
    return replace(recipe, **MODES[mode])
