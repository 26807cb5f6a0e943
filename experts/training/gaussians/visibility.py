"""Points as training cameras see them: their depths, which of them an image shows, how near to a camera they lie."""

from __future__ import annotations

from collections.abc import Sequence

from moegs_rasterizer import Camera
from torch import Tensor

from common.maths.geometry import onto_image, transformed


def near_limits(means: Tensor, cameras: Sequence[Camera], share: float) -> Tensor:
    """Depth [cameras] below which a camera's view should be free: a share of the median depth of what it shows.

    means [n, 3]: the first Gaussians'. 0 for a camera that shows none. STG's code has one limit, world z of 4.5, which
    is a third of the median depth of N3V's points and means nothing in other scenes.
    """
    limits = means.new_zeros(len(cameras))
    for index, camera in enumerate(cameras):
        depths, _, shown = in_image(means, camera)
        if bool(shown.any()):
            limits[index] = share * depths[shown].median()
    return limits


def in_image(means: Tensor, camera: Camera) -> tuple[Tensor, Tensor, Tensor]:
    """Depths [n] and pixels [n, 2] (x, y), and the mask [n] of means that a camera has before it within its image."""
    local = transformed(means, camera.world_to_camera.to(means))
    focal, centre = (camera.fx, camera.fy), (camera.cx, camera.cy)
    pixels = onto_image(local, focal, centre, focal_first=True)
    column, row = pixels.unbind(1)
    z = local[:, 2]
    return z, pixels, (z > 0) & (column >= 0) & (column < camera.width) & (row >= 0) & (row < camera.height)
