"""Small rigs that film plain colours, and writers of point files."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from moegs_rasterizer import Camera

from scenes import FrameStore, Scene, View
from scenes.calibration.cameras import rig_radius
from scenes.points.cloud import PointCloud
from scenes.points.start import load_start_points

FORWARD = "a rig that looks along z"
AROUND = "a ring of cameras that look at its centre"


class Plain(FrameStore):
    """Frames of one colour, another one for every view."""

    def read(self, view: int, frame: int) -> np.ndarray:
        return np.full((48, 64, 3), 20 * view + frame, np.uint8)


def rig(kind: str, scale: float) -> list[Camera]:
    cameras = []
    for index in range(8):
        camera_to_world = torch.eye(4, dtype=torch.float64)
        if kind == FORWARD:
            camera_to_world[0, 3] = scale * (index / 7 - 0.5)
        else:
            angle = 2 * math.pi * index / 8
            camera_to_world[0, 0] = camera_to_world[2, 2] = math.cos(angle)
            camera_to_world[0, 2], camera_to_world[2, 0] = math.sin(angle), -math.sin(angle)
            camera_to_world[:3, 3] = -scale * camera_to_world[:3, 2]
        matrix = torch.linalg.inv(camera_to_world).float()
        cameras.append(Camera(world_to_camera=matrix, fx=60, fy=60, cx=32, cy=24, width=64, height=48))
    return cameras


def scene_of(root: Path, kind: str = FORWARD, *, scale: float = 1.0, start: int = 0) -> Scene:
    """A scene of eight cameras, the first held out, and ten frames."""
    cameras = rig(kind, scale)
    root.mkdir(parents=True, exist_ok=True)
    return Scene(
        name=root.name,
        layout="n3v",
        root=root,
        views=tuple(View(name=f"cam{i:02d}", number=i, camera=camera) for i, camera in enumerate(cameras)),
        train=tuple(range(1, 8)),
        test=(0,),
        start=start,
        num_frames=10,
        footage_frames=10,
        frames=Plain(),
        rig_radius=rig_radius(cameras[1:]),
        notes=(),
    )


def trained(scene: Scene) -> list[Camera]:
    return [scene.views[index].camera for index in scene.train]


def load(
    scene: Scene,
    source: Path | None = None,
    *,
    frames: Sequence[int] = (0,),
    limit: int | None = None,
    seed: int = 0,
) -> PointCloud:
    return load_start_points(scene, source=source, frames=frames, limit=limit, seed=seed)


def places(count: int, *, seed: int = 0) -> np.ndarray:
    """Points before the forward-facing rig, at depths of 2.5 to 3.5."""
    rng = np.random.default_rng(seed)
    return (rng.uniform(-0.5, 0.5, (count, 3)) + np.array([0, 0, 3])).astype(np.float32)


def write_ply(path: Path, columns: Sequence[tuple[str, str, np.ndarray]], *, order: str = "<", after: str = "") -> Path:
    kinds = {"f4": "float", "f8": "double", "u1": "uchar", "u2": "ushort"}
    formats = {"<": "binary_little_endian", ">": "binary_big_endian", "text": "ascii"}
    header = ["ply", f"format {formats[order]} 1.0", "comment made for a test", f"element vertex {len(columns[0][2])}"]
    header += [f"property {kinds[kind]} {name}" for name, kind, _ in columns]
    header += ["element face 1", "property list uchar int vertex_indices"] if after else []
    table = np.empty(
        len(columns[0][2]), [(name, ("<" if order == "text" else order) + kind) for name, kind, _ in columns]
    )
    for name, _, values in columns:
        table[name] = values
    body = table.tobytes()
    if order == "text":
        body = "".join(" ".join(map(repr, row)) + "\n" for row in table.tolist()).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("\n".join([*header, "end_header\n"]).encode() + body + after.encode())
    return path


def coloured(positions: np.ndarray, colour: int = 51) -> list[tuple[str, str, np.ndarray]]:
    columns = [(name, "f4", positions[:, axis]) for axis, name in enumerate("xyz")]
    return columns + [(name, "u1", np.full(len(positions), colour)) for name in ("red", "green", "blue")]


def write_points3d(folder: Path, positions: np.ndarray, colour: int = 51) -> None:
    """points3D.bin by COLMAP's byte layout, with tracks of different lengths to images that are not there."""
    folder.mkdir(parents=True)
    data = struct.pack("<Q", len(positions))
    for number, place in enumerate(positions.tolist()):
        track = [5, 7] * (number % 3)
        data += struct.pack("<Q3d3BdQ", number, *place, colour, 0, 255, 0.5, len(track) // 2)
        data += struct.pack(f"<{len(track)}i", *track)
    (folder / "points3D.bin").write_bytes(data)
