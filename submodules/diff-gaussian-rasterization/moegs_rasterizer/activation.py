"""The activations of raw Gaussians in PyTorch: what csrc/cuda/activated.cuh does inside the kernels."""

from __future__ import annotations

import torch

from .types import Gaussians, Layer, RawGaussians, RawLayer


def activated(raw: RawGaussians) -> Gaussians:
    """The same Gaussians with scales exp(log_scales), opacities sigmoid(opacity_logits), sh_dc and sh_rest joined."""
    return Gaussians(
        means=raw.means,
        scales=raw.log_scales.exp(),
        quats=raw.quats,
        opacities=raw.opacity_logits.sigmoid(),
        sh=torch.cat((raw.sh_dc, raw.sh_rest), dim=1),
    )


def activated_layer(layer: Layer | RawLayer) -> Layer:
    """The layer with activated Gaussians; itself where they are so already."""
    if isinstance(layer, Layer):
        return layer
    return Layer(
        gaussians=activated(layer.gaussians),
        settings=layer.settings,
        background=layer.background,
        features=layer.features,
    )
