"""Removal of Gaussians that explain one training camera alone: close to it, or in its image only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from moegs_rasterizer import Camera, Gaussians, Layer, RasterSettings, rasterize
from moegs_rasterizer.types import Backend
from torch import Tensor

from experts.training.gaussians.visibility import in_image

FRAMES = 8  # evenly spread, in which blending weights are measured


def centres(means: Tensor) -> Tensor:
    """Places [n, 3] of Gaussians of means [n, 3], or of means [n, k, 3] at keyframes, which are averaged."""
    return means if means.dim() == 2 else means.mean(1)


def close_to_a_camera(means: Tensor, cameras: Sequence[Camera], limits: Tensor) -> Tensor:
    """Mask [n] of means [n, 3] that some camera has in its image at a depth below its limit [cameras].

    Walls beside a camera, which others see from afar, are in no image of it and stay.
    """
    near = torch.zeros(len(means), dtype=torch.bool, device=means.device)
    for camera, limit in zip(cameras, limits, strict=True):
        depths, _, shown = in_image(means, camera)
        near |= shown & (depths < limit)
    return near


def of_one_view(weights: Tensor, share: float) -> Tensor:
    """Mask [n] of what has more than a share of its blending weights [views, n] in one view."""
    return weights.amax(0) > share * weights.sum(0)


def spread(frames: range) -> list[int]:
    """At most FRAMES of the frames, the first and the last among them."""
    last, count = len(frames) - 1, min(FRAMES, len(frames))
    return [frames[round(last * index / max(1, count - 1))] for index in range(count)]


def blending_weights(
    moments: Callable[[int], Iterable[Gaussians]],
    cameras: Sequence[Camera],
    settings: RasterSettings,
    *,
    backend: Backend,
) -> Tensor:
    """Sums [cameras, n] of each Gaussian's alpha times transmittance over a camera's pixels and over moments.

    moments: gives a camera's Gaussians, by its index, at every moment.
    """
    return torch.stack(
        [
            torch.stack([image_weights(each, camera, settings, backend=backend) for each in moments(index)]).sum(0)
            for index, camera in enumerate(cameras)
        ]
    )


def image_weights(gaussians: Gaussians, camera: Camera, settings: RasterSettings, *, backend: Backend) -> Tensor:
    """Sums [n] of each Gaussian's alpha times transmittance over a camera's pixels.

    They are the gradient of the sum of a feature that is carried to them.
    """
    feature = gaussians.means.new_zeros(gaussians.count, 1).requires_grad_()
    background = gaussians.means.new_zeros(gaussians.colour_channels + 1)
    layer = Layer(gaussians=gaussians, settings=settings, background=background, features=feature)
    with torch.enable_grad():
        carried = rasterize([layer], camera, grad="features", backend=backend, deterministic=True)[0].features
        assert carried is not None
        (weights,) = torch.autograd.grad(carried.sum(), feature)
    return weights.squeeze(1)
