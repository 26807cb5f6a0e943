"""Blending weights of Gaussians in images that are small enough to be fast."""

from __future__ import annotations

from dataclasses import replace

from moegs_rasterizer import Camera, Gaussians, RasterSettings
from torch import Tensor

from engine.checks.probes import shrunk
from engine.runs.device import ComputeDevice
from experts.training.generalisation.removal import image_weights

WIDTH = 640  # px, of the widest images that weights are summed over


def pixel_weights(gaussians: Gaussians, camera: Camera, settings: RasterSettings, compute: ComputeDevice) -> Tensor:
    """Blending weights [n] of Gaussians summed over a camera's pixels, from an image of at most WIDTH.

    The low-pass shrinks with the image, so that every Gaussian has its own size there.
    """
    small = shrunk(camera, WIDTH)
    scale = small.width / camera.width
    settings = replace(settings, low_pass=settings.low_pass * scale**2)
    return image_weights(gaussians, small, settings, backend=compute.backend) / scale**2
