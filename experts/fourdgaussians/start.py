"""Start of 4DGaussians' training: Gaussians on points, a network of random weights, planes over the points' box."""

from __future__ import annotations

import torch
from torch import Tensor

from experts.canonical.start import new_gaussians
from experts.fourdgaussians.deformation import FourDGaussiansDeformation, initialise
from experts.fourdgaussians.model import FourDGaussians
from experts.fourdgaussians.presets import PresetNetwork
from experts.fourdgaussians.recipe import LENGTHS, FourDGaussiansOptions, FourDGaussiansRecipe, NetworkShape
from experts.training.start import TrainingStart


def start_model(recipe: FourDGaussiansRecipe, start: TrainingStart) -> FourDGaussians:
    """The model that training starts from, on the points' device; its seed leaves PyTorch's generator alone."""
    network: PresetNetwork = start.network
    points, num_frames = start.points.positions.cpu(), start.views.num_frames
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(start.seed)
        model = FourDGaussians(
            gaussians=new_gaussians(points, start.points.colours.cpu()),
            deformation=new_deformation(points, network.options, network.shape(num_frames)),
            num_frames=num_frames,
        )
    model.deformation.deformation_net.grid.aabb = box(points, recipe.outliers)
    for parameter in model.get_submodule(LENGTHS).parameters():
        parameter.data.mul_(recipe.relative_extent(start.extent))
    return model.to(start.points.positions.device)


def new_deformation(points: Tensor, options: FourDGaussiansOptions, shape: NetworkShape) -> FourDGaussiansDeformation:
    """4DGaussians' network at its start, its planes spanning the box of points [n, 3]."""
    deformation = FourDGaussiansDeformation(options, shape)
    initialise(deformation)
    deformation.deformation_net.grid.aabb = torch.stack([points.amax(0), points.amin(0)])
    return deformation


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
