"""Checks before a long run: the rasterizer computes what it should, and the experts show this scene."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

import torch
from moegs_rasterizer import Camera, Gaussians, Layer, RasterizerError, RasterSettings, rasterize
from torch import Tensor

from common.aside import is_set_aside
from common.geometry import transformed
from common.wording import counted
from engine.errors import ConfigError
from engine.runs.device import CPU, ComputeDevice
from engine.runs.expert_images import splat_of
from engine.runs.run import Run
from engine.settings.config_file import read_object
from experts.base import CheckpointError, Expert
from experts.formats.cfg_args import read_cfg_args
from scenes import Scene

logger = logging.getLogger(__name__)

SMALLEST_COVERAGE = 0.02  # share of an image that an expert of this scene covers at least
PROBE_WIDTH = 160  # pixels of the image that is looked at for it
EXPERT_REPORT = "train_expert.json"  # what train-expert leaves in a model's folder
_TOLERANCE = 1e-4  # of colours in [0, 1], between a back-end and the oracle


def check_rasterizer(compute: ComputeDevice) -> None:
    """Renders five Gaussians and their feature gradient where the run will, and with the PyTorch oracle on the CPU.

    Raises RasterizerError where they differ: images of a miscompiled rasterizer look plausible.
    """
    layers, camera = _five_gaussians()
    oracle = ComputeDevice(device=CPU, backend="torch")
    computed, expected = (_probe(layers, camera, device) for device in (compute, oracle))
    for name in expected:
        difference = (computed[name] - expected[name]).abs().max().item()
        if not difference <= _TOLERANCE:
            raise RasterizerError(
                f"rasterizer back-end {compute.backend!r} differs from the PyTorch one by {difference:.2g} in the "
                f"{name} of a self-test; rebuild it (python -m moegs_rasterizer.build), or use --backend torch"
            )


def check_held_out(scene: Scene, name: str, folder: Path) -> None:
    """Warns of held-out cameras that an expert trained here has seen; its report names its training cameras.

    A report of another shape, as a stranger's file may be, says nothing.
    """
    reports = sorted([*folder.glob(EXPERT_REPORT), *folder.glob(f"*/{EXPERT_REPORT}")])
    reports = [report for report in reports if not is_set_aside(report.parent)]
    seen: set[str] = set()
    for report in reports:
        settings = read_object(report).get("settings")
        cameras = settings.get("training cameras") if isinstance(settings, dict) else None
        seen |= set(map(str, cameras)) if isinstance(cameras, list) else set()
    leaked = [scene.views[view].name for view in scene.test if scene.views[view].name in seen]
    if leaked:
        logger.warning(
            "%s: %s was trained on %s, which this run holds out: scores there are too good; hold out the same cameras "
            "in all trainings (--test_cameras)",
            folder,
            name,
            ", ".join(leaked),
        )


def _five_gaussians() -> tuple[list[Layer], Camera]:
    generator = torch.Generator().manual_seed(5)

    def uniform(*shape: int, low: float, high: float) -> Tensor:
        return torch.rand(*shape, generator=generator) * (high - low) + low

    gaussians = Gaussians(
        means=uniform(5, 3, low=-1, high=1),
        scales=uniform(5, 3, low=0.05, high=0.5),
        quats=uniform(5, 4, low=-1, high=1),
        opacities=uniform(5, low=0.3, high=0.95),
        sh=uniform(5, 16, 3, low=-0.3, high=0.3),
    )
    features, background = uniform(5, 3, low=-1, high=1), torch.ones(6)
    conventions = (RasterSettings(), RasterSettings(low_pass=0.1, compensate=True, ndc_limit=1.3, far=100.0))
    world_to_camera = torch.eye(4)
    world_to_camera[2, 3] = 4
    camera = Camera(world_to_camera=world_to_camera, fx=40.0, fy=40.0, cx=24.0, cy=16.0, width=48, height=32)
    layers = [
        Layer(gaussians=gaussians, settings=settings, background=background, features=features)
        for settings in conventions
    ]
    return layers, camera


def _probe(layers: Sequence[Layer], camera: Camera, compute: ComputeDevice) -> dict[str, Tensor]:
    layers = [_moved(layer, compute.device) for layer in layers]
    features = torch.cat([layer.features for layer in layers if layer.features is not None]).requires_grad_()
    parts = features.split(5)
    layers = [replace(layer, features=part) for layer, part in zip(layers, parts, strict=True)]
    splats = rasterize(layers, camera, grad="features", backend=compute.backend)
    carried = torch.stack([splat.features for splat in splats if splat.features is not None])
    (gradient,) = torch.autograd.grad(carried.square().mean(), features)
    results = {
        "colour": torch.stack([splat.colour for splat in splats]),
        "features": carried,
        "coverage": torch.stack([splat.alpha for splat in splats]),
        "feature gradient": gradient,
    }
    return {name: tensor.detach().to(CPU) for name, tensor in results.items()}


def _moved(layer: Layer, device: torch.device) -> Layer:
    given = layer.gaussians
    tensors = {field.name: getattr(given, field.name) for field in fields(given)}
    gaussians = Gaussians(**{name: tensor.to(device) for name, tensor in tensors.items() if tensor is not None})
    features = None if layer.features is None else layer.features.to(device)
    return replace(layer, gaussians=gaussians, background=layer.background.to(device), features=features)


def check_frames(expert: Expert, num_frames: int, folder: Path) -> None:
    """Raises CheckpointError where an expert has no rows, or no Gaussians, for a frame of the clip."""
    try:
        with torch.no_grad():
            for frame in range(num_frames):
                expert.rows(frame)
            for frame in (0, num_frames - 1):
                expert.at(frame)
    except ValueError as error:
        raise CheckpointError(
            f"{folder}: {expert.name} does not cover the clip's {counted(num_frames, 'frame')} ({error}); "
            "give the model of this clip, or shorten the clip with --duration"
        ) from error


def check_visible(run: Run, name: str, *, label: str, folder: Path) -> None:
    """Raises ConfigError where an expert leaves images of the training cameras empty at the clip's middle.

    label: how the user named the expert, for the message.
    """
    expert = next(expert for expert in run.experts if expert.name == name)
    frame, views = run.scene.num_frames // 2, run.scene.train
    seen = 0.0
    for view in dict.fromkeys((views[len(views) // 2], views[0], views[-1])):
        camera = probe_camera(run.scene.views[view].camera)
        seen = max(seen, splat_of(expert, camera, frame, compute=run.compute).alpha.mean().item())
        if seen >= SMALLEST_COVERAGE:
            return
    raise ConfigError(
        f"{label}: {name} shows nothing of this scene, it covers {seen:.1%} of {run.scene.views[view].name} at frame "
        f"{frame}: another scene's model{_scene_of(folder)}, or a wrong near plane (near is {expert.settings.near:g}, "
        f"{_depths(expert, camera, frame)})? Give this scene's model, or --near"
    )


def probe_camera(camera: Camera) -> Camera:
    """A camera whose image is at most PROBE_WIDTH wide: enough to see whether anything is there."""
    scale = min(1.0, PROBE_WIDTH / camera.width)
    return replace(
        camera,
        fx=camera.fx * scale,
        fy=camera.fy * scale,
        cx=camera.cx * scale,
        cy=camera.cy * scale,
        width=max(1, round(camera.width * scale)),
        height=max(1, round(camera.height * scale)),
    )


def _scene_of(folder: Path) -> str:
    source = (read_cfg_args(folder) or {}).get("source_path")
    return f" (cfg_args names {source})" if source else ""


def _depths(expert: Expert, camera: Camera, frame: int) -> str:
    with torch.no_grad():
        means = expert.at(frame).means
    depths = transformed(means, camera.world_to_camera.to(means))[:, 2]
    ahead = depths[depths > 0]
    if len(ahead) == 0:
        return "all its Gaussians lie behind the camera"
    nearest, middle = ahead.min().item(), ahead.median().item()
    return f"its nearest Gaussian lies at depth {nearest:.3g}, half of them nearer than {middle:.3g}"
