"""A run without data: experts of about fifty Gaussians each, a rig of three cameras, and images in memory.

Its experts carry the names of the ensemble E3, so that the training script itself can be run on it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from moegs_rasterizer import Camera, Gaussians, RasterSettings
from torch import nn

import engine.runs.device
import engine.runs.experts.loading
import engine.runs.scene
from engine.runs.device import CPU, ComputeDevice
from engine.runs.run import Run
from experts.base import Provenance
from router import ENSEMBLES, Router, folder_flags
from scenes.types import FrameStore, Scene, View

WIDTH, HEIGHT, FRAMES, GAUSSIANS = 24, 16, 4, 50
ENSEMBLE = ENSEMBLES["E3"]
NAMES = ENSEMBLE.experts


class CloudExpert(nn.Module):
    """A random cloud that drifts; `segments` > 1 gives each part of the clip Gaussians of its own, as STG does."""

    background = (1.0, 1.0, 1.0)

    def __init__(
        self, name: str, seed: int, *, segments: int = 1, colour: float | None = None, file: Path | None = None
    ):
        super().__init__()
        self.name = name
        self.segments = segments
        self.num_gaussians = GAUSSIANS * segments
        self.settings = RasterSettings(near=0.2)
        self.provenance = Provenance(files=() if file is None else (file,), iteration=seed)
        self.cameras: list[int | None] = []
        generator = torch.Generator().manual_seed(seed)

        def uniform(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.rand(self.num_gaussians, *shape, generator=generator))

        self.means, self.drift, self.scales, self.quats = uniform(3), uniform(3), uniform(3), uniform(4)
        self.opacities, self.colours = uniform(), uniform(3)
        if colour is not None:
            nn.init.constant_(self.colours, colour)
        self.register_buffer("spread", torch.tensor([3.0, 2.0, 1.0]))
        self.register_buffer("place", torch.tensor([0.0, 0.0, 3.0]))

    def rows(self, frame: float) -> slice:
        segment = int(frame * self.segments / FRAMES)
        if not 0 <= segment < self.segments:
            raise ValueError(f"{self.name}: frame {frame} lies outside the clip")
        return slice(segment * GAUSSIANS, (segment + 1) * GAUSSIANS)

    def at(self, frame: float, *, camera: int | None = None) -> Gaussians:
        self.cameras.append(camera)
        rows = self.rows(frame)
        means = (self.means[rows] - 0.5) * self.spread + (self.drift[rows] - 0.5) * 0.1 * frame
        means = means + 0.01 * (camera or 0)
        return Gaussians(
            means=means + self.place,
            scales=0.05 + 0.2 * self.scales[rows],
            quats=self.quats[rows] + 0.1,
            opacities=0.5 + 0.4 * self.opacities[rows],
            colours=self.colours[rows],
        )

    def colour(self, splat, camera: Camera, *, frame: float) -> torch.Tensor:
        return splat.colour


class FaultyExpert(CloudExpert):
    """One Gaussian of its last frame has no opacity."""

    def at(self, frame: float, *, camera: int | None = None):
        gaussians = super().at(frame, camera=camera)
        if frame == FRAMES - 1:
            gaussians.opacities[3] = float("nan")
        return gaussians


@dataclass
class Images(FrameStore):
    """Frames in memory: [views, frames, h, w, 3] uint8."""

    pixels: np.ndarray

    def read(self, view: int, frame: int) -> np.ndarray:
        return self.pixels[view, frame]


def camera(number: int, *, width: int = WIDTH, height: int = HEIGHT) -> Camera:
    world_to_camera = torch.eye(4)
    world_to_camera[0, 3] = 0.2 * (number - 1)
    return Camera(
        world_to_camera=world_to_camera, fx=width, fy=width, cx=width / 2, cy=height / 2, width=width, height=height
    )


def random_scene(root: Path, seed: int = 0, *, cameras: int = 3) -> Scene:
    """Cameras in a row, cam00 held out; images of smooth noise."""
    views = tuple(View(name=f"cam{number:02d}", number=number, camera=camera(number)) for number in range(cameras))
    pixels = np.random.default_rng(seed).integers(40, 216, size=(cameras, FRAMES, HEIGHT, WIDTH, 3), dtype=np.uint8)
    return Scene(
        name="small",
        layout="n3v",
        root=root,
        views=views,
        train=tuple(range(1, cameras)),
        test=(0,),
        start=0,
        num_frames=FRAMES,
        footage_frames=FRAMES,
        frames=Images(pixels),
        rig_radius=1.0,
        notes=(),
    )


def open_expert(name: str, folder: Path | None = None) -> CloudExpert:
    """One of the three experts, the second with two segments; with a folder, read from a file of its own there."""
    index = NAMES.index(name)
    file = None if folder is None else folder / "point_cloud" / f"iteration_{index + 1}" / "point_cloud.ply"
    return CloudExpert(name, index + 1, segments=2 if index == 1 else 1, file=file).requires_grad_(False)


def small_experts() -> tuple[CloudExpert, ...]:
    return tuple(open_expert(name) for name in NAMES)


def small_run(root: Path, compute: ComputeDevice = ComputeDevice(device=CPU, backend="auto")) -> Run:  # noqa: B008, it is frozen
    """A fresh run of the three experts, without files."""
    torch.manual_seed(0)
    experts = tuple(expert.to(compute.device) for expert in small_experts())
    router = Router([e.name for e in experts], [e.num_gaussians for e in experts]).to(compute.device)
    return Run(ensemble=ENSEMBLE, scene=random_scene(root), experts=experts, router=router, backend=compute.backend)


def without_verdict(messages: str) -> str:
    """Messages of a command without the one that the random experts here do not show the noise of the scene."""
    verdict, *others = messages.splitlines(keepends=True)
    assert "no expert fits the frames (Ex4DGS " in verdict
    return "".join(others)


def use_small_world(monkeypatch: pytest.MonkeyPatch, root: Path, *, cameras: int = 3) -> list[str]:
    """Lets the training script read this world instead of files; returns its flags, without --save_path."""
    arguments = ["--quiet", f"--source_path={root}"]
    for name, flag in folder_flags(ENSEMBLE).items():
        file = root / "models" / name / "point_cloud" / f"iteration_{NAMES.index(name) + 1}" / "point_cloud.ply"
        file.parent.mkdir(parents=True)
        file.write_text(f"Gaussians of {name}")
        (root / "models" / name / "cfg_args").write_text("Namespace(source_path='data/small')")
        arguments.append(f"--{flag}={root / 'models' / name}")
    show_small_world(monkeypatch, root, cameras=cameras)
    return arguments


def show_small_world(monkeypatch: pytest.MonkeyPatch, root: Path, *, cameras: int = 3) -> None:
    """Lets commands read this world instead of the files that use_small_world made."""
    monkeypatch.setattr(engine.runs.scene, "load_scene", lambda source, options: random_scene(root, cameras=cameras))
    monkeypatch.setattr(
        engine.runs.experts.loading, "load_expert", lambda name, folder, options, **_: open_expert(name, folder)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoredWorld:
    """A folder with runs of this world that is made once: each test gets it back, at its path, as it was made."""

    root: Path
    kept: Path

    @classmethod
    def made(cls, folder: Path, make: Callable[[Path, list[str]], None]) -> RestoredWorld:
        """Makes it below a folder; make gets its root and the training's flags."""
        root, kept = folder / "world", folder / "kept"
        root.mkdir()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(engine.runs.device, "gpu_here", lambda: False)  # as the fixture no_gpu, of each test
            make(root, use_small_world(patch, root))
        shutil.copytree(root, kept)
        return cls(root=root, kept=kept)

    def restored(self, monkeypatch: pytest.MonkeyPatch) -> Path:
        """The root, as it was made; commands read its world."""
        shutil.rmtree(self.root)
        shutil.copytree(self.kept, self.root)
        show_small_world(monkeypatch, self.root)
        return self.root
