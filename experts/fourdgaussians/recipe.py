"""4DGaussians' recipe: the settings of its training (Wu et al., CVPR 2024)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from experts.training.recipes.recipe import Density, NetworkPrecision, Rate, Recipe
from experts.training.recipes.recipe_fields import COUNT, ITERATIONS, N3V_EXTENT, PERIOD, SHARE


@dataclass(frozen=True, slots=True, kw_only=True)
class FourDGaussiansOptions:
    """Switches that the tensors do not tell, under 4DGaussians' own names; the defaults are its N3V preset."""

    no_dx: bool = False
    no_ds: bool = False
    no_dr: bool = False
    no_do: bool = False
    no_dshs: bool = False
    apply_rotation: bool = False  # compose rotations instead of adding quaternions

    def enabled(self) -> dict[str, bool]:
        """Raw tensors by name: True for those that are deformed."""
        return {
            "means": not self.no_dx,
            "log_scales": not self.no_ds,
            "quats": not self.no_dr,
            "opacity_logits": not self.no_do,
            "sh": not self.no_dshs,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkShape:
    """Sizes of a deformation network, all of which its tensors tell; the defaults are 4DGaussians' N3V preset."""

    width: int = 128
    depth: int = 1
    channels: int = 16
    resolutions: tuple[tuple[int, ...], ...] = ((64, 64, 64, 150), (128, 128, 128, 150))
    colour_head: bool = True  # absent from early files
    static_mlp: bool = False
    empty_voxel: tuple[int, ...] | None = None
    encodings: tuple[int, ...] = (4, 10, 2, 2)  # of time, means, rotation and scale, opacity: never used
    timenet: tuple[int, ...] = (64, 32)  # never used


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaneWeights:
    """Weights of the plane regularisers; the defaults are 4DGaussians' for N3V.

    smooth_both_axes: planes of space are smoothed along both of their axes. Upstream does it along the height alone: y
    of the plane xy, z of xz and yz, never x.
    """

    space: float = 2e-4  # roughness of planes without time
    time: float = 1e-3  # roughness of planes with time, along time
    still: float = 1e-4  # distance of planes with time from one, where they change nothing
    smooth_both_axes: bool = False


LENGTHS = "deformation.deformation_net.pos_deform.3"  # the network's last layer for places: its outputs are lengths
_NETWORK = "deformation"

RATES: Mapping[str, Rate] = {
    "gaussians.means": Rate(first=1.6e-4, last=1.6e-6, per_extent=True),
    "gaussians.log_scales": Rate(first=5e-3),
    "gaussians.quats": Rate(first=1e-3),
    "gaussians.opacity_logits": Rate(first=0.05),
    "gaussians.sh_dc": Rate(first=2.5e-3),
    "gaussians.sh_rest": Rate(first=1.25e-4),
    "deformation": Rate(first=1.6e-4, last=1.6e-5, per_extent=True),
    "deformation.deformation_net.grid": Rate(first=1.6e-3, last=1.6e-4, per_extent=True),
}


@dataclass(frozen=True, kw_only=True)
class FourDGaussiansRecipe(Recipe):
    """4DGaussians' training table; the defaults are its N3V preset, but for the switches below.

    iterations: of both stages. Schedules and the density table count from 1 in each stage, with a fresh optimiser.
    Published results come from the values that `as_published` sets; each switch says what they do.

    sum_batch_gradients: an iteration's images count as one: their screen-space gradients are added, then measured.
        False: every image counts by itself (3DGS).
    scale_free: the network's rates do not grow with the scene, but for its last layer for places, whose outputs are
        lengths and which starts in proportion to the extent: a scene in other units is trained in the same way.
        Upstream multiplies all rates by the extent, and starts with offsets of one size whatever the scene's; at an
        extent of N3V_EXTENT both are the same.
    outliers: share of the start points left out at either end of an axis of the planes' box, outside of which planes
        go on as at their edge. Upstream: 0, so that one stray point makes all cells larger.
    faint_at_every_frame: pruned is what is faint at all of eight frames of the clip. Upstream looks at the opacity
        before deformation, also of Gaussians that appear in a part of the clip only.
    """

    iterations: int = field(default=17000, metadata=ITERATIONS)
    coarse_iterations: int = field(default=3000, metadata=ITERATIONS)
    rate_iterations: int = field(default=20000, metadata=PERIOD)
    rates: Mapping[str, Rate] = field(default_factory=lambda: dict(RATES))
    batch: int = field(default=2, metadata=COUNT)
    l1: float = 1.0
    dssim: float = field(default=0.0, metadata=SHARE)
    density: Density = field(default_factory=lambda: Density(stop=10000, max_gaussians=360_000))
    planes: PlaneWeights = field(default_factory=PlaneWeights)
    sum_batch_gradients: bool = True
    scale_free: bool = True
    outliers: float = 0.005
    faint_at_every_frame: bool = True
    networks: NetworkPrecision = "float32"  # in which they learn on a GPU; rendering chooses its own

    def stage(self, iteration: int) -> tuple[bool, int]:
        """True for an iteration of the fine stage, and its number in its stage; iterations count from 1."""
        fine = iteration > self.coarse_iterations
        return fine, iteration - self.coarse_iterations if fine else iteration

    def active_degree(self, iteration: int) -> int:
        """Degree of spherical harmonics at an iteration: each stage adds one every sh_every iterations of its own."""
        fine, own = self.stage(iteration)
        earlier = self.coarse_iterations // self.sh_every if fine else 0
        return min(self.sh_degree, earlier + own // self.sh_every)

    def relative_extent(self, extent: float) -> float:
        """Factor from the published first offsets of the network to this one's."""
        return extent / N3V_EXTENT if self.scale_free else 1.0

    def network_rates(self) -> Mapping[str, Rate]:
        """Rates by parameter; `scale_free` changes the network's."""
        if not self.scale_free:
            return self.rates
        network = {name: _fixed(rate) for name, rate in self.rates.items() if name.split(".")[0] == _NETWORK}
        return {**self.rates, **network, LENGTHS: self.rates[_NETWORK]}


def _fixed(rate: Rate) -> Rate:
    """A rate as it is at N3V_EXTENT."""
    last = None if rate.last is None else rate.last * N3V_EXTENT
    return Rate(first=rate.first * N3V_EXTENT, last=last)


def as_published(recipe: FourDGaussiansRecipe) -> FourDGaussiansRecipe:
    """The recipe with all switches as in 4DGaussians' own trainer, which prunes only above 200,000 Gaussians."""
    return replace(
        recipe,
        scale_free=False,
        outliers=0.0,
        faint_at_every_frame=False,
        sum_batch_gradients=True,
        planes=replace(recipe.planes, smooth_both_axes=False),
        density=replace(recipe.density, prune_above=200_000),
    )
