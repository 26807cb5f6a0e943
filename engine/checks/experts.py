"""Checks of loaded experts before a frame is decoded: they cover the clip, and show something of this scene."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from moegs_rasterizer import Camera

from common.disk.aside import is_set_aside
from common.maths.geometry import transformed
from common.text.wording import counted
from engine.checks.probes import shrunk
from engine.errors import ConfigError
from engine.runs.device import ComputeDevice
from engine.runs.experts.images import splat_of
from engine.settings.parsing.config_file import read_object
from experts.base import CheckpointError, Expert
from experts.formats.cfg_args import read_cfg_args
from experts.pictures import has_pictures
from scenes import Scene

logger = logging.getLogger(__name__)

SMALLEST_COVERAGE = 0.02  # share of an image that an expert of this scene covers at least
PROBE_WIDTH = 160  # pixels of the image that is looked at for it
EXPERT_REPORT = "train_expert.json"  # what train-expert leaves in a model's folder
TRAINING_CAMERAS, ROUTER_CAMERAS = "training cameras", "router cameras"  # among the settings in it


def check_cameras(scene: Scene, name: str, folder: Path) -> None:
    """Compares the cameras that an expert was trained on with the scene's, where it was trained here.

    Warns of held-out cameras that it has seen, and of cameras that it left to the router without the scene's knowing;
    raises ConfigError where it has seen a camera of the router. A report of another shape, as a stranger's file may be,
    says nothing.
    """
    seen, left = _reported(folder, TRAINING_CAMERAS), _reported(folder, ROUTER_CAMERAS)
    _check_held_out(scene, name, folder, seen)
    _check_of_router(scene, name, folder, seen, left)


def _check_held_out(scene: Scene, name: str, folder: Path, seen: set[str]) -> None:
    leaked = [scene.views[view].name for view in scene.test if scene.views[view].name in seen]
    if leaked:
        logger.warning(
            "%s: %s was trained on %s, which this run holds out: scores there are too good; hold out the same cameras "
            "in all trainings (--test_cameras)",
            folder,
            name,
            ", ".join(leaked),
        )


def _check_of_router(scene: Scene, name: str, folder: Path, seen: set[str], left: set[str]) -> None:
    of_router = [scene.views[view].name for view in scene.router]
    if known := [camera for camera in of_router if camera in seen]:
        raise ConfigError(
            f"{folder}: {name} was trained on {', '.join(known)}, which --router_cameras {len(of_router)} leaves to "
            f"the router; train it with --router_cameras {len(of_router)}"
        )
    if of_router and not seen:
        logger.warning(
            "%s: %s does not say what it was trained on; assumed: without %s, which --router_cameras leaves to the "
            "router",
            folder,
            name,
            ", ".join(of_router),
        )
    if unused := sorted(left - set(of_router)):
        logger.warning(
            "%s: %s left %s to the router, and this run has not: give --router_cameras %d",
            folder,
            name,
            ", ".join(unused),
            len(left),
        )


def _reported(folder: Path, fact: str) -> set[str]:
    """Names of cameras under a fact of the reports of an expert, or of its segments."""
    reports = sorted([*folder.glob(EXPERT_REPORT), *folder.glob(f"*/{EXPERT_REPORT}")])
    names: set[str] = set()
    for report in reports:
        if is_set_aside(report.parent):
            continue
        settings = read_object(report).get("settings")
        cameras = settings.get(fact) if isinstance(settings, dict) else None
        names |= set(map(str, cameras)) if isinstance(cameras, list) else set()
    return names


def check_frames(expert: Expert, num_frames: int, folder: Path) -> None:
    """Raises CheckpointError where an expert has no rows, or no Gaussians, for a frame of the clip.

    Pictures were compared with the clip when they were found.
    """
    if has_pictures(expert):
        return
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


def check_visible(expert: Expert, scene: Scene, *, compute: ComputeDevice, label: str, folder: Path) -> None:
    """Raises ConfigError where an expert leaves images of the training cameras empty at the clip's middle.

    Pictures cover all of theirs. label: how the user named the expert, for the message.
    """
    if has_pictures(expert):
        return
    frame, views = scene.num_frames // 2, scene.train
    seen = 0.0
    for view in dict.fromkeys((views[len(views) // 2], views[0], views[-1])):
        camera = shrunk(scene.views[view].camera, PROBE_WIDTH)
        seen = max(seen, splat_of(expert, camera, frame, compute=compute).alpha.mean().item())
        if seen >= SMALLEST_COVERAGE:
            return
    raise ConfigError(
        f"{label}: {expert.name} shows nothing of this scene, it covers {seen:.1%} of {scene.views[view].name} at "
        f"frame {frame}: another scene's model{_scene_of(folder)}, or a wrong near plane (near is "
        f"{expert.settings.near:g}, {_depths(expert, camera, frame)})? Give this scene's model, or --near"
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
