"""Start of E-D3DGS's training: Gaussians on points, embeddings of zeros, networks of random weights."""

from __future__ import annotations

import math

import torch
from torch import nn

from experts.canonical.start import new_gaussians
from experts.ed3dgs.deformation import ED3DGSDeformation
from experts.ed3dgs.model import ED3DGS
from experts.ed3dgs.recipe import LENGTHS, NETWORK, ED3DGSOptions, ED3DGSRecipe
from experts.training.start import TrainingStart

EMBEDDING_WIDTH = 32  # of a Gaussian, in all of E-D3DGS's presets
LARGEST_LOG_SCALE = 1.0  # of a first scale, in E-D3DGS's own trainer
_CAMERAS = 30  # rows of E-D3DGS's table of time offsets, where no camera has a larger number
_TABLE_DEVIATION = 0.01  # of the temporal table, times 1 / sqrt(its width)


def start_model(recipe: ED3DGSRecipe, start: TrainingStart) -> ED3DGS:
    """The model that training starts from, on the points' device; its seed leaves PyTorch's generator alone.

    The largest first scale and the networks' first shifts are lengths, in units that recipe.scale_free decides.
    """
    points, num_frames = start.points, start.views.num_frames
    unit = recipe.relative_extent(start.extent)
    gaussians = new_gaussians(points.positions.cpu(), points.colours.cpu())
    gaussians.log_scales.data.clamp_(max=LARGEST_LOG_SCALE + math.log(unit))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(start.seed)
        deformation = new_deformation(
            recipe.options(num_frames),
            max_embeddings=recipe.rows(num_frames),
            cameras=max([_CAMERAS, *(number + 1 for number in start.views.numbers if number is not None)]),
        )
    if recipe.zero_table:
        nn.init.zeros_(deformation.weight)
    for name in LENGTHS:
        for parameter in deformation.get_submodule(name.removeprefix(f"{NETWORK}.")).parameters():
            parameter.data.mul_(unit)
    return ED3DGS(
        gaussians=gaussians,
        embeddings=torch.zeros(points.count, EMBEDDING_WIDTH),
        deformation=deformation,
        num_frames=num_frames,
        iteration=0,
    ).to(points.positions.device)


def new_deformation(options: ED3DGSOptions, *, max_embeddings: int = 150, cameras: int = _CAMERAS) -> ED3DGSDeformation:
    """E-D3DGS's networks at their start: PyTorch's own for linear layers, a temporal table near zero, no offsets."""
    deformation = ED3DGSDeformation(
        options, max_embeddings=max_embeddings, cameras=cameras, embedding_width=EMBEDDING_WIDTH
    )
    nn.init.normal_(deformation.weight, std=_TABLE_DEVIATION / deformation.weight.shape[1] ** 0.5)
    return deformation
