"""Untrained models of E-D3DGS and 4DGaussians around given points, for tests."""

from __future__ import annotations

import torch
from torch import Tensor

from experts.canonical.start import new_gaussians
from experts.ed3dgs.model import ED3DGS
from experts.ed3dgs.recipe import N3V_OPTIONS, ED3DGSOptions
from experts.ed3dgs.start import EMBEDDING_WIDTH
from experts.ed3dgs.start import new_deformation as new_embedding_networks
from experts.fourdgaussians.model import FourDGaussians
from experts.fourdgaussians.recipe import FourDGaussiansOptions, NetworkShape
from experts.fourdgaussians.start import new_deformation as new_plane_network


def new_ed3dgs(
    points: Tensor,
    colours: Tensor,
    *,
    num_frames: int,
    iteration: int,
    options: ED3DGSOptions = N3V_OPTIONS,
    max_embeddings: int = 150,
    cameras: int = 30,
) -> ED3DGS:
    """E-D3DGS on points [n, 3] of colours [n, 3], embeddings zero; networks of N3V's sizes unless told otherwise."""
    return ED3DGS(
        gaussians=new_gaussians(points, colours),
        embeddings=torch.zeros(points.shape[0], EMBEDDING_WIDTH),
        deformation=new_embedding_networks(options, max_embeddings=max_embeddings, cameras=cameras),
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
    """4DGaussians on points [n, 3] of colours [n, 3], of N3V's preset unless told otherwise."""
    return FourDGaussians(
        gaussians=new_gaussians(points, colours),
        deformation=new_plane_network(points, options or FourDGaussiansOptions(), shape or NetworkShape()),
        num_frames=num_frames,
    )
