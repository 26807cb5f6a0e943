"""The files transforms_train.json and transforms_test.json, which MoE-GS's released scripts want in an N3V scene."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from moegs_rasterizer import Camera

from scenes.frames.clip import Clip
from scenes.layouts.n3v.frames import TEST_CAMERA
from scenes.preparation.sfm.models import camera_numbers
from scenes.preparation.steps import PreparationStep, Workbench

_VERSION = 1
TRANSFORMS = ("transforms_train.json", "transforms_test.json")
OPENGL_FROM_OPENCV = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=torch.float64))


def written_transforms(bench: Workbench, cameras: Mapping[str, Camera], clip: Clip) -> list[str]:
    """Write both files, the held-out camera in one and the others in the other; returns remarks."""

    def make(scratch: Path) -> Any:
        for name, content in transforms(cameras, clip).items():
            (scratch / name).write_text(json.dumps(content) + "\n", encoding="utf-8")

    settings = {"cameras": {name: camera_numbers(camera) for name, camera in cameras.items()}, "frames": clip.count}
    bench.run(
        PreparationStep(name="transforms", version=_VERSION, inputs=[], options=settings, outputs=TRANSFORMS, make=make)
    )
    notes = [f"{TRANSFORMS[0]} is there: 4DGaussians' own trainer takes such a folder for another layout"]
    if len({(camera.fx, camera.fy, camera.cx, camera.cy) for camera in cameras.values()}) > 1:
        notes.append(f"{TRANSFORMS[0]} holds the focal length of the first camera alone, though they differ")
    return notes


def transforms(cameras: Mapping[str, Camera], clip: Clip) -> dict[str, dict[str, Any]]:
    """Compose the content of both files.

    fl_x, fl_y, cx, cy in px; a row for every frame of every camera: file_path camXX_<frame>, time in 0 ... 1, and
    transform_matrix, camera to world with OpenGL's axes (x right, y up, z back).
    """
    held_out = TEST_CAMERA if TEST_CAMERA in cameras else next(iter(cameras))
    first = next(iter(cameras.values()))
    lens = {"fl_x": first.fx, "fl_y": first.fy, "cx": first.cx, "cy": first.cy, "w": first.width, "h": first.height}
    split = {TRANSFORMS[0]: [name for name in cameras if name != held_out], TRANSFORMS[1]: [held_out]}
    return {
        file: {**lens, "frames": [row for name in names for row in _rows(name, cameras[name], clip)]}
        for file, names in split.items()
    }


def _rows(name: str, camera: Camera, clip: Clip) -> list[dict[str, Any]]:
    matrix = (camera.camera_to_world.double() @ OPENGL_FROM_OPENCV).tolist()
    return [
        {"file_path": f"images/{name}_{frame:04d}", "time": frame / clip.count, "transform_matrix": matrix}
        for frame in range(clip.count)
    ]
