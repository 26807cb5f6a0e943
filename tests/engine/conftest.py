"""A run without data: flat-coloured experts, a scene in memory, and an untrained router that weighs all alike."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from moegs_rasterizer import Camera, Gaussians, RasterSettings

from engine.runs.run import Run
from experts.base import Provenance
from router import Ensemble, Router
from scenes.types import FrameStore, Scene, View

WIDTH, HEIGHT, FRAMES = 36, 34, 3
TRUTH = 100  # grey level of every true frame


class FlatExpert:
    """One Gaussian out of sight, and a flat image whose level grows by one 8-bit step a frame."""

    background = (0.0, 0.0, 0.0)
    num_gaussians = 1
    settings = RasterSettings()

    def __init__(self, name: str, level: int, file: Path) -> None:
        self.name = name
        self.level = level
        self.provenance = Provenance(files=(file,), iteration=1)
        self.frame = 0.0
        self.cameras: list[int | None] = []

    def rows(self, frame: float) -> slice:
        return slice(0, 1)

    def at(self, frame: float, *, camera: int | None = None) -> Gaussians:
        self.frame = frame
        self.cameras.append(camera)
        return Gaussians(
            means=torch.tensor([[0.0, 0.0, -5.0]]),
            scales=torch.ones(1, 3),
            quats=torch.tensor([[1.0, 0, 0, 0]]),
            opacities=torch.ones(1),
            colours=torch.zeros(1, 3),
        )

    def colour(self, splat, camera: Camera, *, frame: float) -> torch.Tensor:
        return torch.full((3, camera.height, camera.width), (self.level + self.frame) / 255)


@dataclass
class FlatFrames(FrameStore):
    """True frames of one grey level."""

    def read(self, view: int, frame: int) -> np.ndarray:
        pixels = np.full((HEIGHT, WIDTH, 3), TRUTH, dtype=np.uint8)
        pixels.flags.writeable = False
        return pixels


def view(number: int) -> View:
    pose = torch.eye(4)
    pose[0, 3] = number
    camera = Camera(world_to_camera=pose, fx=30, fy=30, cx=WIDTH / 2, cy=HEIGHT / 2, width=WIDTH, height=HEIGHT)
    return View(name=f"cam{number:02d}", number=number, camera=camera)


@pytest.fixture
def flat_run(tmp_path: Path) -> Run:
    """Experts "low" (level 80 + frame) and "high" (110 + frame) on truth 100: three frames, cam00 held out."""
    experts = []
    for name, level in (("low", 80), ("high", 110)):
        file = tmp_path / f"{name}.ply"
        file.write_text(name)
        experts.append(FlatExpert(name, level, file))
    scene = Scene(
        name="flat",
        layout="n3v",
        root=tmp_path,
        views=tuple(view(number) for number in range(3)),
        train=(1, 2),
        test=(0,),
        start=0,
        num_frames=FRAMES,
        footage_frames=FRAMES,
        frames=FlatFrames(),
        rig_radius=1.0,
        notes=(),
    )
    ensemble = Ensemble(name="flat", layout="n3v", experts=("low", "high"))
    router = Router([expert.name for expert in experts], [1, 1], temperature=1.0)
    return Run(ensemble=ensemble, scene=scene, experts=tuple(experts), router=router, backend="torch")
