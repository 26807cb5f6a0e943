"""Calibrated cameras: fitted to the images' size, and compared with another calibration of the rig."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from moegs_rasterizer import Camera
from torch import Tensor

from scenes.types import SceneError

LARGEST = 1e9  # of a coordinate, in world units: squares of larger ones leave single precision behind
_SIDES = 65_535  # px, the largest image that is rendered
_FOCAL = (1e-3, 1e4)  # image sizes
_CENTRE = (-10.0, 11.0)  # image sizes
_ORTHONORMAL = 1e-3
SAME_POSE = 1e-5  # of the rig's radius between centres, and of a rotation's entries: what rounding in files makes


def checked(camera: Camera, place: str) -> Camera:
    """Give back a camera that was read from a file; SceneError where its numbers are no pinhole camera.

    Whatever the file: they are finite, the pose is a rotation and a translation, the focal lengths and the principal
    point are possible ones for the size. place: "file: camera".
    """
    pose, width, height = camera.world_to_camera.double(), camera.width, camera.height
    rotation, eye = pose[:3, :3], torch.eye(3, dtype=torch.float64)
    sides = ((width, camera.fx, camera.cx), (height, camera.fy, camera.cy))
    if not (1 <= width <= _SIDES and 1 <= height <= _SIDES):
        fault = f"its images have {width}x{height} px, 1 to {_SIDES} are possible"
    elif not bool(pose.isfinite().all()) or float(pose.abs().max()) > LARGEST:
        fault = f"its pose has NaN or numbers above {LARGEST:g}"
    elif float((rotation @ rotation.T - eye).abs().max()) > _ORTHONORMAL or float(torch.linalg.det(rotation)) < 0:
        fault = "its pose has no rotation"
    elif not all(_FOCAL[0] <= focal / side <= _FOCAL[1] for side, focal, _ in sides):
        fault = f"its focal lengths are {camera.fx:g} and {camera.fy:g} px for images of {width}x{height}"
    elif not all(_CENTRE[0] <= centre / side <= _CENTRE[1] for side, _, centre in sides):
        fault = f"its principal point is ({camera.cx:g}, {camera.cy:g}) px in images of {width}x{height}"
    else:
        return camera
    raise SceneError(f"{place}: is no camera: {fault}; calibrate again, or copy the file again")


def scaled(camera: Camera, width: int, height: int) -> Camera:
    """Scale a camera to another size of its image in px, each axis by its own ratio."""
    x, y = width / camera.width, height / camera.height
    return replace(
        camera, fx=camera.fx * x, fy=camera.fy * y, cx=camera.cx * x, cy=camera.cy * y, width=width, height=height
    )


def fitted(name: str, camera: Camera, width: int, height: int) -> Camera:
    """Scale a camera to the size of its frames; SceneError where aspect ratios differ by more than rounding to px."""
    ratio = width / camera.width
    if abs(height - camera.height * ratio) > max(1, ratio):
        raise SceneError(
            f"{name}: frames of {width}x{height} px do not have the aspect ratio of the calibration's "
            f"{camera.width}x{camera.height}; use the frames that were calibrated"
        )
    return scaled(camera, width, height)


def centred(camera: Camera) -> Camera:
    """Move a camera's principal point to the image centre."""
    return replace(camera, cx=camera.width / 2, cy=camera.height / 2)


def off_centre(camera: Camera) -> float:
    """Measure how far a principal point is from the image centre, in px, along the worse axis."""
    return max(abs(camera.cx - camera.width / 2), abs(camera.cy - camera.height / 2))


def rig_radius(cameras: Sequence[Camera]) -> float:
    """Measure 1.1 x the largest distance of a camera centre from their mean (3DGS's extent; Ex4DGS's world scale)."""
    centres = torch.stack([camera.centre.double() for camera in cameras])
    return 1.1 * float((centres - centres.mean(dim=0)).norm(dim=1).max())


def same_poses(cameras: Mapping[str, Camera]) -> list[tuple[str, str]]:
    """Pair each camera that has an earlier one's pose with the first of that pose, which comes first in the pair."""
    nearest = SAME_POSE * rig_radius(list(cameras.values()))
    first: list[str] = []
    pairs = []
    for name, camera in cameras.items():
        other = next((known for known in first if _is_same_pose(cameras[known], camera, nearest)), None)
        if other is None:
            first.append(name)
        else:
            pairs.append((other, name))
    return pairs


def _is_same_pose(a: Camera, b: Camera, nearest: float) -> bool:
    turned = (a.world_to_camera[:3, :3] - b.world_to_camera[:3, :3]).abs().max()
    return bool(turned <= SAME_POSE) and float((a.centre - b.centre).norm()) <= nearest


def largest_difference(ours: Mapping[str, Camera], theirs: Mapping[str, Camera]) -> tuple[str, float]:
    """Find the camera on which two calibrations of one rig differ most, and by how much, relative.

    The largest of: angle between the rotations (rad), distance of the centres over the rig's radius, change of focal
    length in image widths. Both must name the same cameras.
    """
    radius = rig_radius(list(ours.values())) or 1.0
    differences = {}
    for name, a in ours.items():
        b = theirs[name]
        angle = _angle(a.world_to_camera[:3, :3].double(), b.world_to_camera[:3, :3].double())
        distance = float((a.centre.double() - b.centre.double()).norm()) / radius
        focal = abs(a.fx / a.width * b.width / b.fx - 1)
        differences[name] = max(angle, distance, focal)
    worst = max(differences, key=lambda name: differences[name])
    return worst, differences[worst]


def _angle(a: Tensor, b: Tensor) -> float:
    # From the chord |A - B| = 2 sqrt(2) sin(angle / 2), which unlike the trace keeps small angles.
    return 2 * float(torch.asin(((a - b).norm() / 8**0.5).clamp(max=1)))
