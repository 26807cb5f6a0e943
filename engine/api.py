"""The Python API: a trained run opened in a notebook, and images, gates and depth of any camera at any time.

`import moegs` gives the same names; docs/reference/python_api.md explains them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from moegs_rasterizer import Camera
from torch import Tensor

from common.maths.tensors import image_from_uint8, to_uint8
from common.text.suggestions import hint
from engine.errors import ConfigError
from engine.outputs.files import write_png
from engine.runs.device import wait
from engine.runs.run import Run, alpha_and_depth, mix_camera
from engine.runs.saved import loading
from engine.settings.training.run import DeviceChoice, OnOff
from scenes.novel_views import moved, with_focal_mm

__all__ = [
    "Camera",
    "Rendering",
    "camera_named",
    "load_run",
    "moved",
    "recorded",
    "render",
    "save_image",
    "with_focal_mm",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendering:
    """One instant of a run from one camera; tensors lie on the run's device, dictionaries are in softmax order."""

    image: Tensor  # [3, h, w] RGB in [0, 1]: the mixture
    experts: dict[str, Tensor]  # by expert [3, h, w] RGB in [0, 1]: its own image
    gates: dict[str, Tensor]  # by expert [h, w]: its weight in the mixture; all together sum to 1
    depth: Tensor  # [h, w] along the camera's z axis, world units: the mixture's expected depth; nan where alpha is 0
    alpha: Tensor  # [h, w] in [0, 1]: the mixture's opacity


def load_run(
    save_path: str | Path,
    *,
    iteration: int | None = None,
    source_path: str | Path | None = None,
    experts: Sequence[str] = (),
    device: DeviceChoice = "auto",
    novel_near: float | None = None,
    coverage_guard: OnOff | None = None,
    towards_mean: float | None = None,
    fill_holes: OnOff | None = None,
) -> Run:
    """Opens a trained run; no frame is decoded until `recorded` asks for one.

    iteration None: the newest. source_path and experts ("NAME=PATH") say where the scene and the experts are, if they
    were moved. device: "auto" (a GPU where there is one), "cpu" or "cuda". novel_near, coverage_guard, towards_mean and
    fill_holes are rules for cameras that were not trained on, as the flags of these names; None: the run's own.
    Raises ConfigError, CheckpointError, SceneError or RasterizerError where something is missing or does not fit.
    """
    overrides = {
        "source_path": None if source_path is None else Path(source_path),
        "expert": tuple(experts) or None,
        "device": device,
        "quiet": True,
        "novel_near": novel_near,
        "coverage_guard": coverage_guard,
        "towards_mean": towards_mean,
        "fill_holes": fill_holes,
    }
    return loading.load_run(Path(save_path), iteration=iteration, overrides=overrides, needed="none")


def camera_named(run: Run, name: str) -> Camera:
    """A camera of the run's scene, by its name; ConfigError naming the nearest where there is none."""
    return run.scene.views[_view(run, name)].camera


def render(run: Run, camera: str | Camera, frame: float) -> Rendering:
    """Renders a run from a camera (the name of one of the scene's, or any other) at a frame.

    By its name a training camera is one; at every other camera the run's rules for novel views hold.
    frame: 0 to run.scene.num_frames - 1, counted from the clip's start; fractions lie between two frames.
    Raises ConfigError for an unknown name and a frame outside of the clip.
    """
    if not 0 <= frame <= run.scene.num_frames - 1:
        raise ConfigError(f"frame {frame} is outside of the clip; give 0 to {run.scene.num_frames - 1}")
    number = None
    if isinstance(camera, str):
        view = _view(run, camera)
        number = run.scene.views[view].number if view in run.scene.train else None
        camera = run.scene.views[view].camera
    with torch.no_grad():
        mixture = mix_camera(run, camera, frame, camera_number=number, depths=True)
    wait(run.compute)
    names = [expert.name for expert in run.experts]
    alpha, depth = alpha_and_depth(mixture)
    return Rendering(
        image=mixture.image.clamp(0, 1),
        experts=dict(zip(names, mixture.images.clamp(0, 1), strict=True)),
        gates=dict(zip(names, mixture.gates, strict=True)),
        depth=depth,
        alpha=alpha,
    )


def recorded(run: Run, camera: str, frame: int) -> Tensor:
    """The recorded image [3, h, w] in [0, 1] of one of the scene's cameras, at the training resolution, on the CPU.

    The first call for a camera decodes its video into the scene's cache.
    """
    view = _view(run, camera)
    if not 0 <= frame < run.scene.num_frames:
        raise ConfigError(f"frame {frame} is outside of the clip; give 0 to {run.scene.num_frames - 1}")
    return image_from_uint8(torch.from_numpy(run.scene.frames.read(view, frame)))


def save_image(image: Tensor, path: str | Path) -> Path:
    """Writes an image [3, h, w], or a map [h, w] of gates or alpha, as an 8-bit PNG; values are clamped to [0, 1]."""
    return write_png(Path(path), to_uint8(image))


def _view(run: Run, name: str) -> int:
    names = [view.name for view in run.scene.views]
    if name not in names:
        raise ConfigError(f"{run.scene.root}: no camera {name!r}; {hint(name, names)}")
    return names.index(name)
