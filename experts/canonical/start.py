"""3DGS's first Gaussians, which E-D3DGS and 4DGaussians start from."""

from __future__ import annotations

from torch import Tensor

from experts.canonical.gaussians import CanonicalGaussians
from experts.formats.harmonics import split_sh
from experts.training.gaussians.initial import identity_quats, logits, neighbour_log_scales, sh_from_colours


def new_gaussians(points: Tensor, colours: Tensor) -> CanonicalGaussians:
    """Gaussians on points [n, 3], world units, of colours [n, 3] in 0 ... 1 (3DGS, Kerbl et al. 2023).

    Isotropic scales from the three nearest neighbours, no rotation, opacity 0.1, colour the same from every side.
    """
    return CanonicalGaussians(
        means=points.clone(),
        log_scales=neighbour_log_scales(points),
        quats=identity_quats(points.shape[0]),
        opacity_logits=logits(points.shape[0]),
        **split_sh(sh_from_colours(colours)),
    )
