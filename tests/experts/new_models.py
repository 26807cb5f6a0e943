"""Untrained models with the published initialisation, for tests of the networks and their files."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from experts.canonical import CanonicalGaussians
from experts.ed3dgs import ED3DGS
from experts.ed3dgs_deformation import N3V, ED3DGSDeformation, ED3DGSOptions
from experts.fourdgaussians import FourDGaussians
from experts.fourdgaussians_deformation import (
    FourDGaussiansDeformation,
    FourDGaussiansOptions,
    NetworkShape,
    initialise,
)
from experts.initial import identity_quats, logits, neighbour_log_scales, sh_from_colours

LARGEST_LOG_SCALE = 1.0  # of a first scale, in E-D3DGS's own trainer


def gaussians_at(points: Tensor, colours: Tensor) -> CanonicalGaussians:
    sh = sh_from_colours(colours)
    return CanonicalGaussians(
        means=points.clone(),
        log_scales=neighbour_log_scales(points),
        quats=identity_quats(points.shape[0]),
        opacity_logits=logits(points.shape[0]),
        sh_dc=sh[:, :1].clone(),
        sh_rest=sh[:, 1:].clone(),
    )


def new_ed3dgs(
    points: Tensor,
    colours: Tensor,
    *,
    num_frames: int,
    iteration: int,
    options: ED3DGSOptions = N3V,
    max_embeddings: int = 150,
    cameras: int = 30,
) -> ED3DGS:
    """An untrained model from points [n, 3] and colours [n, 3] in 0 ... 1, initialised as E-D3DGS's trainer does.

    iteration: where training ends, so that annealing and coarse-to-fine do not hold it back; set it per step to follow
    E-D3DGS's schedule.
    """
    gaussians = gaussians_at(points, colours)
    gaussians.log_scales.data.clamp_(max=LARGEST_LOG_SCALE)
    deformation = ED3DGSDeformation(options, max_embeddings=max_embeddings, cameras=cameras)
    nn.init.normal_(deformation.weight, std=0.01 / deformation.weight.shape[1] ** 0.5)
    return ED3DGS(
        gaussians=gaussians,
        embeddings=torch.zeros(points.shape[0], 32),
        deformation=deformation,
        num_frames=num_frames,
        iteration=iteration,
    )


def new_fourdgaussians(
    points: Tensor,
    colours: Tensor,
    *,
    num_frames: int,
    options: FourDGaussiansOptions | None = None,
    shape: NetworkShape | None = None,
) -> FourDGaussians:
    """An untrained model from points [n, 3] and colours [n, 3] in 0 ... 1, initialised as 4DGaussians' trainer does.

    Options and shape default to its N3V preset.
    """
    deformation = FourDGaussiansDeformation(options or FourDGaussiansOptions(), shape or NetworkShape())
    initialise(deformation)
    deformation.deformation_net.grid.aabb = torch.stack([points.amax(0), points.amin(0)])
    return FourDGaussians(
        gaussians=gaussians_at(points, colours),
        deformation=deformation,
        num_frames=num_frames,
    )
