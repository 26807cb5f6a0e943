"""4DGaussians' published presets by data set, and the models they start from (Wu et al., CVPR 2024)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from experts.canonical.fresh import new_fourdgaussians
from experts.fourdgaussians.deformation import FourDGaussiansOptions, NetworkShape
from experts.fourdgaussians.model import FourDGaussians
from experts.fourdgaussians.plane_regularisers import PlaneWeights
from experts.fourdgaussians.training import LENGTHS, RATES, FourDGaussiansRecipe, as_published
from experts.training.density import Density
from experts.training.points import StartPoints
from experts.training.rates import Rate

_SPACE_CELLS, _FEWEST_TIME_CELLS = 64, 8
_COLOUR_AND_OPACITY_STAY = FourDGaussiansOptions(no_do=True, no_dshs=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """How 4DGaussians trains on a data set, and which network."""

    recipe: FourDGaussiansRecipe
    options: FourDGaussiansOptions = field(default_factory=FourDGaussiansOptions)
    width: int = 128  # of the network
    channels: int = 16  # of a plane
    levels: tuple[int, ...] = (1, 2)  # by which 64 cells along x, y and z are multiplied

    def shape(self, num_frames: int) -> NetworkShape:
        """The network for a clip, with a cell in time for every second frame, as published."""
        time = max(_FEWEST_TIME_CELLS, num_frames // 2)
        resolutions = tuple((*[_SPACE_CELLS * level] * 3, time) for level in self.levels)
        return NetworkShape(width=self.width, channels=self.channels, resolutions=resolutions)


_N3V = FourDGaussiansRecipe()
_SIZES_COUNT = Density(stop=10000, max_gaussians=360_000, reset_every=3000, largest_radius=20.0, largest_scale=0.1)

PRESETS: dict[str, Preset] = {
    "N3V": Preset(recipe=_N3V),
    "N3V_published": Preset(recipe=as_published(_N3V)),
    "multipleview": Preset(recipe=replace(_N3V, iterations=18000, batch=1, density=_SIZES_COUNT)),
    "D-NeRF": Preset(
        recipe=replace(
            _N3V,
            iterations=23000,
            batch=1,
            rates={
                **RATES,
                "deformation": Rate(first=1.6e-4, last=1.6e-6, per_extent=True),
                "deformation.deformation_net.grid": Rate(first=1.6e-3, last=1.6e-5, per_extent=True),
            },
            density=replace(_SIZES_COUNT, stop=15000, prune_every=8000),
            planes=PlaneWeights(space=1e-4, time=0.01),
        ),
        options=_COLOUR_AND_OPACITY_STAY,
        width=64,
        channels=32,
    ),
    "small": Preset(recipe=_N3V, width=64, channels=8, levels=(1,)),  # ours: for small images, a tenth of the size
    "HyperNeRF": Preset(recipe=_N3V, options=_COLOUR_AND_OPACITY_STAY, levels=(1, 2, 4)),
}

BATCHES: dict[str, int] = {  # images an iteration of N3V's scenes
    "coffee_martini": 4,
    "flame_salmon_1": 4,
    "cook_spinach": 2,
    "cut_roasted_beef": 2,
    "flame_steak": 2,
    "sear_steak": 2,
}


def preset_for(scene: str, dataset: str = "N3V") -> Preset:
    """The preset of a data set, with the scene's own batch; raises ValueError for an unknown data set.

    Technicolor and other footage of several cameras, for which nothing is published, is trained as N3V.
    """
    if dataset not in PRESETS:
        raise ValueError(f"4DGaussians has no preset {dataset!r}; there are {', '.join(PRESETS)}")
    preset = PRESETS[dataset]
    if dataset != "N3V" or scene not in BATCHES:
        return preset
    return replace(preset, recipe=replace(preset.recipe, batch=BATCHES[scene]))


def start_model(
    points: StartPoints, preset: Preset, recipe: FourDGaussiansRecipe, *, extent: float, num_frames: int, seed: int
) -> FourDGaussians:
    """The model that training starts from, on the points' device.

    recipe: the preset's, or what became of it. extent: the trainer's.
    """
    device = points.positions.device
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = new_fourdgaussians(
            points.positions.cpu(),
            points.colours.cpu(),
            num_frames=num_frames,
            options=preset.options,
            shape=preset.shape(num_frames),
        )
    model.deformation.deformation_net.grid.aabb = box(points.positions.cpu(), recipe.outliers)
    for parameter in model.get_submodule(LENGTHS).parameters():
        parameter.data.mul_(recipe.relative_extent(extent))
    return model.to(device)


def box(points: Tensor, outliers: float) -> Tensor:
    """Corners [2, 3], the largest first, of points [n, 3] without a share of them at either end of each axis.

    No side is shorter than a thousandth of the longest, so that a plane of points has a box.
    """
    ordered = points.sort(dim=0).values
    left_out = min(int(outliers * len(points)), (len(points) - 1) // 2)
    largest, smallest = ordered[-1 - left_out], ordered[left_out]
    sides = largest - smallest
    missing = ((1e-3 * sides.amax()).clamp_min(1e-6) - sides).clamp_min(0) / 2
    return torch.stack([largest + missing, smallest - missing])
