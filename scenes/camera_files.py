"""Files of camera paths: a list of cameras of our own, or nerfstudio's camera_path.json."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from moegs_rasterizer import Camera

from common.disk.files import read_json
from scenes.types import SceneError

NUMBERS = ("fx", "fy", "cx", "cy", "width", "height")
ORTHONORMAL = 1e-3  # largest difference of R R^T from 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PathCamera:
    """A camera of a path, and the frame to show; None: the frame is not given."""

    camera: Camera
    frame: float | None = None


def read_cameras(path: Path) -> list[PathCamera]:
    """Read a JSON file of cameras; SceneError that names the file and the key where it cannot be used.

    Ours: a list of objects with `world_to_camera` (4x4, OpenCV axes), `fx fy cx cy width height` (px) and perhaps
    `frame`. nerfstudio's: an object with `render_width`, `render_height` and `camera_path`, whose entries have
    `camera_to_world` (16 numbers or 4x4, OpenGL axes), `fov` (vertical, degrees) and perhaps `aspect`.
    """
    try:
        content = read_json(path)
    except ValueError as error:
        raise SceneError(f"{path}: is no JSON ({error}); give a file of cameras") from None
    if isinstance(content, list):
        cameras = [_own(entry, f"{path}: [{index}]") for index, entry in enumerate(content)]
    elif isinstance(content, Mapping) and isinstance(content.get("camera_path"), list):
        cameras = [
            _nerfstudio(entry, content, f"{path}: camera_path[{index}]", str(path))
            for index, entry in enumerate(content["camera_path"])
        ]
    else:
        raise SceneError(f"{path}: a list of cameras, or an object with the list 'camera_path' expected")
    if not cameras:
        raise SceneError(f"{path}: holds no camera; give one or more")
    sizes = sorted({(each.camera.width, each.camera.height) for each in cameras})
    if len(sizes) > 1:
        raise SceneError(f"{path}: width and height: cameras of sizes {sizes} cannot share a video; give one size")
    return cameras


def _own(entry: Any, where: str) -> PathCamera:
    entry = _object(entry, where)
    pose = _rigid(_matrix(entry, "world_to_camera", where), f"{where}.world_to_camera")
    fx, fy, cx, cy, width, height = (_number(entry, name, where) for name in NUMBERS)
    for name, value in (("fx", fx), ("fy", fy)):
        _check_positive(value, f"{where}.{name}")
    width, height = (_pixels(value, f"{where}.{name}") for name, value in (("width", width), ("height", height)))
    frame = None if entry.get("frame") is None else _number(entry, "frame", where)
    camera = Camera(world_to_camera=pose, fx=fx, fy=fy, cx=cx, cy=cy, width=width, height=height)
    return PathCamera(camera=camera, frame=frame)


def _nerfstudio(entry: Any, content: Mapping[str, Any], where: str, file: str) -> PathCamera:
    entry = _object(entry, where)
    height = _pixels(_number(content, "render_height", file), f"{file}: render_height")
    aspect = _number(entry, "aspect", where) if "aspect" in entry else None
    if "render_width" in content or aspect is None:
        width = _pixels(_number(content, "render_width", file), f"{file}: render_width")
    else:
        _check_positive(aspect, f"{where}.aspect")
        width = round(height * aspect)
    fov = _number(entry, "fov", where)
    if not 0 < fov < 180:
        raise SceneError(f"{where}.fov is {fov:g}: degrees between 0 and 180 expected")
    focal = height / 2 / math.tan(math.radians(fov) / 2)
    pose = _matrix(entry, "camera_to_world", where)
    pose[:3, 1:3] *= -1  # y up, z back to y down, z forward
    to_camera = torch.linalg.inv(_rigid(pose, f"{where}.camera_to_world").double()).float()
    camera = Camera(
        world_to_camera=to_camera, fx=focal, fy=focal, cx=width / 2, cy=height / 2, width=width, height=height
    )
    return PathCamera(camera=camera)


def _object(entry: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(entry, Mapping):
        raise SceneError(f"{where} is {entry!r}: an object expected")
    return entry


def _number(entry: Mapping[str, Any], name: str, where: str) -> float:
    value = entry.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise SceneError(f"{where}: {name} is {'missing' if value is None else repr(value)}: a number expected")
    return float(value)


def _check_positive(value: float, where: str) -> None:
    if value <= 0:
        raise SceneError(f"{where} is {value:g}: more than 0 expected")


def _pixels(value: float, where: str) -> int:
    if value < 1 or value != int(value):
        raise SceneError(f"{where} is {value:g}: a whole number of pixels expected")
    return int(value)


def _matrix(entry: Mapping[str, Any], name: str, where: str) -> torch.Tensor:
    value = entry.get(name)
    rows = _flat(value) if isinstance(value, Sequence) and not isinstance(value, str) else []
    good = len(rows) == 16 and all(isinstance(each, (int, float)) and math.isfinite(each) for each in rows)
    if not good:
        raise SceneError(
            f"{where}: {name} is {'missing' if value is None else 'something else'}: 4 x 4 numbers expected"
        )
    return torch.tensor(rows, dtype=torch.float64).reshape(4, 4)


def _flat(value: Sequence[Any]) -> list[Any]:
    return [each for row in value for each in (row if isinstance(row, list) else [row])]


def _rigid(pose: torch.Tensor, where: str) -> torch.Tensor:
    rotation = pose[:3, :3]
    off = (rotation @ rotation.T - torch.eye(3, dtype=pose.dtype)).abs().max().item()
    last = pose[3].tolist()
    if off > ORTHONORMAL or torch.linalg.det(rotation) < 0 or last != [0, 0, 0, 1]:
        raise SceneError(f"{where}: a rotation and a translation expected, last row 0 0 0 1; found another matrix")
    return pose.float()
