"""Untrained models of the published sizes, initialised as their own trainers do: where stage-1 training starts."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from experts.canonical.gaussians import CanonicalGaussians
from experts.ed3dgs.deformation import N3V, ED3DGSDeformation, ED3DGSOptions
from experts.ed3dgs.model import ED3DGS
from experts.formats.harmonics import split_sh
from experts.fourdgaussians.deformation import (
    FourDGaussiansDeformation,
    FourDGaussiansOptions,
    NetworkShape,
    initialise,
)
from experts.fourdgaussians.model import FourDGaussians
from experts.training.initial import identity_quats, logits, neighbour_log_scales, sh_from_colours

LARGEST_LOG_SCALE = 1.0  # of a first scale, in E-D3DGS's own trainer
EMBEDDING_WIDTH = 32  # of a Gaussian, in all of E-D3DGS's presets
_TABLE_DEVIATION = 0.01  # of E-D3DGS's temporal table, times 1 / sqrt(its width)


def new_gaussians(points: Tensor, colours: Tensor) -> CanonicalGaussians:
    """3DGS's start from points [n, 3], world units, and colours [n, 3] in 0 ... 1 (Kerbl et al. 2023).

    Isotropic scales from the three nearest neighbours, no rotation, opacity 0.1, colour the same from every side.
    """
    return CanonicalGaussians(
        means=points.clone(),
        log_scales=neighbour_log_scales(points),
        quats=identity_quats(points.shape[0]),
        opacity_logits=logits(points.shape[0]),
        **split_sh(sh_from_colours(colours)),
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
    """E-D3DGS's start from points [n, 3] and colours [n, 3] in 0 ... 1 (Bae et al., ECCV 2024): embeddings are zero.

    iteration: where training ends, so that annealing and coarse-to-fine do not hold it back; set it per step to follow
    E-D3DGS's schedule.
    """
    gaussians = new_gaussians(points, colours)
    gaussians.log_scales.data.clamp_(max=LARGEST_LOG_SCALE)
    return ED3DGS(
        gaussians=gaussians,
        embeddings=torch.zeros(points.shape[0], EMBEDDING_WIDTH),
        deformation=new_ed3dgs_deformation(options, max_embeddings=max_embeddings, cameras=cameras),
        num_frames=num_frames,
        iteration=iteration,
    )


def new_ed3dgs_deformation(
    options: ED3DGSOptions = N3V, *, max_embeddings: int = 150, cameras: int = 30
) -> ED3DGSDeformation:
    """E-D3DGS's networks at their start: PyTorch's own for linear layers, a temporal table near zero, no offsets."""
    deformation = ED3DGSDeformation(
        options, max_embeddings=max_embeddings, cameras=cameras, embedding_width=EMBEDDING_WIDTH
    )
    nn.init.normal_(deformation.weight, std=_TABLE_DEVIATION / deformation.weight.shape[1] ** 0.5)
    return deformation


def new_fourdgaussians(
    points: Tensor,
    colours: Tensor,
    *,
    num_frames: int,
    options: FourDGaussiansOptions | None = None,
    shape: NetworkShape | None = None,
) -> FourDGaussians:
    """4DGaussians' start from points [n, 3] and colours [n, 3] in 0 ... 1 (Wu et al., CVPR 2024).

    Options and shape default to its N3V preset.
    """
    return FourDGaussians(
        gaussians=new_gaussians(points, colours),
        deformation=new_fourdgaussians_deformation(points, options=options, shape=shape),
        num_frames=num_frames,
    )


def new_fourdgaussians_deformation(
    points: Tensor, *, options: FourDGaussiansOptions | None = None, shape: NetworkShape | None = None
) -> FourDGaussiansDeformation:
    """4DGaussians' network at its start, its planes spanning the box of points [n, 3]."""
    deformation = FourDGaussiansDeformation(options or FourDGaussiansOptions(), shape or NetworkShape())
    initialise(deformation)
    deformation.deformation_net.grid.aabb = torch.stack([points.amax(0), points.amin(0)])
    return deformation
