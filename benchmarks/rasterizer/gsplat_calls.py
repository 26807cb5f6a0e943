"""gsplat beside our rasterizer, where it is installed: one layer, colours from spherical harmonics."""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from typing import Any

import torch
from moegs_rasterizer.types import Gaussians, Grad
from torch import Tensor

from benchmarks.rasterizer.measurement import Work
from benchmarks.rasterizer.plans import Frame, recording


def version() -> str | None:
    """Version of the installed gsplat, or None without one."""
    try:
        return str(importlib.import_module("gsplat").__version__)
    except (ImportError, OSError):  # OSError: a library of its that does not load
        return None


def gsplat_image(frame: Frame, gaussians: Gaussians) -> tuple[Tensor, dict[str, Any]]:
    """Image [h, w, 3] of one layer's Gaussians by `gsplat.rasterization`, and its facts about the pass."""
    assert gaussians.sh is not None
    camera = frame.camera
    device = gaussians.means.device
    intrinsics = [[camera.fx, 0.0, camera.cx], [0.0, camera.fy, camera.cy], [0.0, 0.0, 1.0]]
    images, _, facts = importlib.import_module("gsplat").rasterization(
        gaussians.means,
        gaussians.quats,
        gaussians.scales,
        gaussians.opacities,
        gaussians.sh,
        camera.world_to_camera.to(device).unsqueeze(0),
        torch.tensor(intrinsics).to(device).unsqueeze(0),
        camera.width,
        camera.height,
        sh_degree=math.isqrt(gaussians.sh.shape[1]) - 1,
        packed=False,
        near_plane=frame.layers[0].settings.near,
        eps2d=frame.layers[0].settings.low_pass,
        render_mode="RGB",
    )
    return images[0], facts


def gsplat_work(frames: Sequence[Frame], grad: Grad) -> Work:
    """The forward pass, and for grad="full" the backward pass, of each frame's one layer."""
    layers = [recording(frame.layers[0], grad).gaussians for frame in frames]
    upstream = [frame.upstream[0].permute(1, 2, 0).contiguous() for frame in frames]

    def forward(index: int) -> Tensor:
        with torch.set_grad_enabled(grad != "none"):
            return gsplat_image(frames[index], layers[index])[0]

    def backward(index: int, image: Tensor) -> None:
        given = layers[index]
        assert given.sh is not None
        leaves = (given.means, given.quats, given.scales, given.opacities, given.sh)
        torch.autograd.grad(image, leaves, upstream[index])

    return Work(forward=forward, backward=backward if grad == "full" else None)


def agreement(image: Tensor, other: Tensor) -> float:
    """PSNR in dB between two images whose values lie in [0, 1] or a little beyond."""
    error = float((image - other).square().mean())
    return math.inf if error == 0 else -10 * math.log10(error)
