"""Models of random numbers: shared parts of the experts' `random_model`."""

from __future__ import annotations

from typing import TypedDict

from moegs_rasterizer import Gaussians
from torch import Tensor

from experts.formats.harmonics import split_sh

NUM_FRAMES = 300  # of the clip that random models show
MOTION_SCALE = 0.02  # world units or parts of a quaternion: movement that leaves the Gaussians where they are seen


class RawGaussians(TypedDict):
    """3DGS's tensors before activation."""

    means: Tensor  # [n, 3]
    log_scales: Tensor  # [n, 3]
    quats: Tensor  # [n, 4] wxyz
    opacity_logits: Tensor  # [n]
    sh_dc: Tensor  # [n, 1, 3]
    sh_rest: Tensor  # [n, 15, 3]


def raw_tensors(gaussians: Gaussians) -> RawGaussians:
    """The tensors that 3DGS's activations make these Gaussians of; opacities are held within 1e-6 of 0 and 1."""
    assert gaussians.sh is not None
    return RawGaussians(
        means=gaussians.means,
        log_scales=gaussians.scales.log(),
        quats=gaussians.quats,
        opacity_logits=gaussians.opacities.clamp(1e-6, 1 - 1e-6).logit(),
        **split_sh(gaussians.sh),
    )
