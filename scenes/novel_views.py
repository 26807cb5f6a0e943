"""Views that were not filmed: the rig shifted along its up direction, and other focal lengths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from moegs_rasterizer import Camera

from common.deferred import deferred
from scenes.types import SceneError, View

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = deferred("torch")

FILM_WIDTH_MM = 36.0  # of a 35 mm film frame
LEAST_AGREEMENT = 0.1  # length of the mean of the cameras' unit up vectors below which a rig has no up


def rig_up(views: Sequence[View]) -> Tensor:
    """Find the unit vector [3] that points up for a rig: the mean of its cameras' -y axes, in world space.

    Raises SceneError where the cameras' own up directions cancel out.
    """
    ups = torch.stack([-view.camera.camera_to_world[:3, 1] for view in views])
    mean = ups.mean(dim=0)
    length = float(mean.norm())
    if length < LEAST_AGREEMENT:
        raise SceneError(
            f'the up directions of {len(views)} cameras cancel out (mean length {length:.2f}): "up" has no meaning here'
        )
    return mean / length


def shifted(camera: Camera, offset: Tensor) -> Camera:
    """Move a camera's centre by `offset` [3], world units; rotation and intrinsics stay."""
    pose = camera.world_to_camera.clone()
    pose[:3, 3] -= pose[:3, :3] @ offset.to(pose)
    return replace(camera, world_to_camera=pose)


def moved(camera: Camera, *, right: float = 0.0, down: float = 0.0, forward: float = 0.0) -> Camera:
    """Move a camera along its own axes, in world units; rotation and intrinsics stay."""
    pose = camera.world_to_camera.clone()
    pose[:3, 3] -= torch.tensor([right, down, forward]).to(pose)
    return replace(camera, world_to_camera=pose)


def with_focal_mm(camera: Camera, focal_mm: float) -> Camera:
    """Give a camera fx = fy = focal_mm / 36 x width (35 mm equivalent by width); its principal point stays."""
    if focal_mm <= 0:
        raise SceneError(f"a focal length is positive, found {focal_mm} mm: give millimetres of the 35 mm equivalent")
    focal = focal_mm / FILM_WIDTH_MM * camera.width
    return replace(camera, fx=focal, fy=focal)
