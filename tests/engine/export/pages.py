"""Pages of a run whose experts and gates differ, for tests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from moegs_rasterizer import Camera
from torch import nn

from engine.export.formats import FORMATS
from engine.export.job import Export
from engine.export.quality import QUALITIES
from engine.export.writing import write_export
from engine.runs.run import Run
from experts.novel_views import novel_view_culling
from router.novel_views import NovelViews
from tests.small_world import camera, small_run

WIDTH, HEIGHT = 192, 128  # of a window


def db(ours: np.ndarray, theirs: np.ndarray) -> float:
    """PSNR of two images with values from 0 to 1."""
    return float(10 * np.log10(1 / np.square(ours - theirs).mean()))


def pixels(image: torch.Tensor) -> np.ndarray:
    """An image [3, h, w] as [h, w, 3]."""
    return image.clamp(0, 1).permute(1, 2, 0).numpy()


def varied_run(folder: Path) -> Run:
    """A run whose gates differ from pixel to pixel, and whose experts have conventions and backgrounds of their own."""
    run = small_run(folder)
    torch.manual_seed(1)
    for parameter in run.router.parameters():
        nn.init.normal_(parameter, std=0.7)
    run.experts[0].settings = replace(run.experts[0].settings, low_pass=0.1, compensate=True, far=50.0, ndc_limit=1.3)
    run.experts[1].background = (0.0, 0.2, 0.4)
    return replace(run, router=run.router.requires_grad_(False))


def exported(run: Run, path: Path, **changes: object) -> Path:
    """The page of a run, at a path."""
    job = Export(**{"run": run, "expert": None, "quality": QUALITIES["high"], "fps": 30, **changes})
    write_export(job, FORMATS[".html"], path, frames=1, facts={})
    return path


def enlarged(small: Camera) -> Camera:
    """The camera as the window shows it."""
    sizes = {name: WIDTH / small.width * getattr(small, name) for name in ("fx", "fy", "cx", "cy")}
    return replace(small, width=WIDTH, height=HEIGHT, **sizes)


def ruled_run(run: Run) -> Run:
    """The run with rules for its held-out camera, which stands so near to the cloud that the culling hides a part."""
    nearer = camera(0).world_to_camera.clone()
    nearer[2, 3] = -1.6
    near = replace(camera(0), world_to_camera=nearer)
    views = (replace(run.scene.views[0], camera=near), *run.scene.views[1:])
    culling = novel_view_culling(1.5, [view.camera for view in views[1:]], device=run.device)
    novel = NovelViews(
        culling=culling, coverage_guard=True, hole_colour=(0.9, 0.1, 0.2), usual_coverage=0.9, towards_mean=0.1
    )
    return replace(run, novel=novel, scene=replace(run.scene, views=views))
