"""Points as cameras see them: how many do, at which depth and in which colour."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from moegs_rasterizer import Camera
from torch import Tensor

from common.maths.geometry import onto_image, transformed
from common.maths.tensors import from_uint8
from scenes.points.cloud import PointCloud
from scenes.types import Scene


def project(positions: Tensor, camera: Camera) -> tuple[Tensor, Tensor, Tensor]:
    """Project points [n, 3]: pixels [n, 2], depths [n] (world units, float64), and a mask [n] of those in the image.

    These lie before the camera and inside its image; pixels of other points mean nothing.
    """
    local = transformed(positions.double(), camera.world_to_camera.double())
    depths = local[:, 2]
    pixels = onto_image(local, (camera.fx, camera.fy), (camera.cx, camera.cy))
    size = torch.tensor([camera.width, camera.height], dtype=torch.float64)
    return pixels, depths, (depths > 0) & (pixels >= 0).all(1) & (pixels < size).all(1)


def views_of(positions: Tensor, cameras: Sequence[Camera], *, near: float = 0.0, far: float = float("inf")) -> Tensor:
    """Count the cameras [n] that have each point [n, 3] in their image at a depth in [near, far]."""
    seen = torch.zeros(positions.shape[0], dtype=torch.int64)
    for camera in cameras:
        _, depths, inside = project(positions, camera)
        seen += inside & (depths >= near) & (depths <= far)
    return seen


def visible_depths(positions: Tensor, cameras: Sequence[Camera]) -> Tensor:
    """Measure depths [m] of points [n, 3] in all images that they lie in, camera after camera, in world units."""
    depths_of_all = []
    for camera in cameras:
        _, depths, inside = project(positions, camera)
        depths_of_all.append(depths[inside].float())
    return torch.cat(depths_of_all)


def suggest_near(cloud: PointCloud, cameras: Sequence[Camera]) -> float:
    """Suggest a near plane for any scale: half of the depth that 1 % of what the cameras see of the cloud is below.

    0 where they see nothing of it.
    """
    depths = visible_depths(cloud.positions, cameras)
    if len(depths) == 0:
        return 0.0
    return 0.5 * float(depths.kthvalue(1 + len(depths) // 100).values)


def shown_colours(positions: Tensor, scene: Scene, frame: int) -> Tensor:
    """Average the colours [n, 3] in [0, 1] that training cameras show of points [n, 3] at a frame; grey if none do."""
    total, seen = torch.zeros(positions.shape[0], 3), torch.zeros(positions.shape[0], 1)
    for index in scene.train:
        pixels, _, inside = project(positions, scene.views[index].camera)
        x, y = pixels[inside].long().T
        total[inside] += from_uint8(torch.from_numpy(scene.frames.read(index, frame))[y, x])
        seen[inside] += 1
    return torch.where(seen > 0, total / seen.clamp_min(1), 0.5)
