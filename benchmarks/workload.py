"""A run of random numbers that costs what a trained one does: experts, router, cameras and images in memory."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from moegs_rasterizer import Camera
from torch import nn

from benchmarks.trained_scenes import trained_like_scene
from engine.runs.device import ComputeDevice
from engine.runs.run import Run
from experts import EXPERTS
from experts.random_models import NUM_FRAMES
from router import Ensemble, Router
from scenes import FrameStore, Scene
from scenes.options import DEFAULT_LAYOUT
from scenes.types import View

CAMERAS = 4
CAMERA_STEP = 0.2  # world units between neighbouring cameras


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Size of one iteration's work."""

    gaussians: int  # of each expert
    width: int  # pixels
    height: int
    seed: int


def add_size_flags(
    parser: argparse.ArgumentParser, *, gaussians: int = 200_000, width: int = 1352, height: int = 1014
) -> None:
    """Adds the flags of a workload's size to a parser, with these defaults; `workload_of` reads them."""
    for flag, default, about in (
        ("--gaussians", gaussians, "Gaussians of each expert"),
        ("--width", width, "width of the images, in px"),
        ("--height", height, "height of the images, in px"),
    ):
        parser.add_argument(flag, type=int, default=default, help=f"{about} (default: {default})")


def workload_of(given: argparse.Namespace) -> Workload:
    """The workload of flags that `add_size_flags` added."""
    return Workload(gaussians=given.gaussians, width=given.width, height=given.height, seed=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class _OneImage(FrameStore):
    """A frame store that hands out copies of the same image, as the cache on disk hands out its own."""

    pixels: np.ndarray  # uint8 [h, w, 3]

    def read(self, view: int, frame: int) -> np.ndarray:
        return self.pixels.copy()


def random_run(workload: Workload, ensemble: Ensemble, compute: ComputeDevice) -> Run:
    """A run at iteration 0: `trained_like_scene`'s Gaussians in networks of the published N3V sizes.

    The networks keep their initial weights, which move Gaussians little. A pinhole rig of four cameras looks at them,
    at 300 frames of one image of noise.
    """
    torch.manual_seed(workload.seed)
    experts = []
    for index, name in enumerate(ensemble.experts):
        gaussians, camera = trained_like_scene(
            count=workload.gaussians, width=workload.width, height=workload.height, seed=workload.seed + index
        )
        expert = EXPERTS[name].random_model(gaussians)
        assert isinstance(expert, nn.Module)
        experts.append(expert.eval().requires_grad_(False).to(compute.device))
    router = Router([expert.name for expert in experts], [expert.num_gaussians for expert in experts])
    vary_weights(router)
    return Run(
        ensemble=ensemble,
        scene=_scene(camera, workload.seed, ensemble),
        experts=tuple(experts),
        router=router.to(compute.device),
        backend=compute.backend,
    )


def vary_weights(router: Router) -> None:
    """Adds noise to the weights of a new router's Gaussians, so that its gates differ from pixel to pixel."""
    for table in (*router.features.static, *router.features.temporal):
        table.data += 0.3 * torch.randn_like(table)


def _scene(camera: Camera, seed: int, ensemble: Ensemble) -> Scene:
    shape = (camera.height, camera.width, 3)
    views = tuple(
        View(name=f"cam{number:02d}", number=number, camera=_moved(camera, number * CAMERA_STEP))
        for number in range(1, CAMERAS + 1)
    )
    return Scene(
        name="profile",
        layout=ensemble.layout or DEFAULT_LAYOUT,
        root=Path(),
        views=views,
        train=tuple(range(CAMERAS)),
        test=(),
        start=0,
        num_frames=NUM_FRAMES,
        footage_frames=NUM_FRAMES,
        frames=_OneImage(pixels=np.random.default_rng(seed).integers(0, 256, size=shape, dtype=np.uint8)),
        rig_radius=CAMERAS * CAMERA_STEP,
        notes=(),
    )


def _moved(camera: Camera, right: float) -> Camera:
    matrix = camera.world_to_camera.clone()
    matrix[0, 3] -= right
    return replace(camera, world_to_camera=matrix)
