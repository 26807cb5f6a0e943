"""An expert as a run has it: loaded, frozen, compared with the scene, and told to the log."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

import torch
from torch import nn

from common.text.wording import counted
from engine.checks.experts import check_frames
from engine.checks.trained_clip import check_trained_clip, clip_told_first
from engine.runs.experts.pictures import give_pictures
from engine.runs.scene import cache_folder
from engine.settings.training.experts import BY_NAME, PLANES, expert_frames_of, folder_argument
from engine.settings.training.run import RunConfig
from experts import EXPERTS, Expert, LoadOptions, load_expert
from experts.pictures import has_pictures
from experts.videos.model import Videos
from experts.windows.model import on_device
from router import kind_of
from scenes import Scene
from scenes.layouts import trained_frames

logger = logging.getLogger(__name__)

_WARNING = "warning: "  # how an expert's note begins that should not be overlooked
_BRIEF = {  # sources of many settings, as an expert's notes name them, and the log in their place
    "from shapes": "sizes read from the checkpoint",
    "from cfg_args": "settings read from cfg_args",
}


def open_expert(
    config: RunConfig,
    scene: Scene,
    name: str,
    folder: Path,
    *,
    device: torch.device,
    iteration: int | None = None,
    by_name: bool = False,
    flag: str = BY_NAME,
) -> Expert:
    """Loads and freezes an expert, on a device; what it inferred goes to the log.

    iteration None: --load_iteration. by_name: folders are given by name with a flag, as errors then say.
    """
    kind, options = kind_of(name), _load_options(config, scene, name, iteration)
    with clip_told_first(name, scene, folder, expert_frames=options.expert_frames):
        expert = load_expert(kind, folder, options, argument_of=partial(folder_argument, by_name=by_name, flag=flag))
    if name != kind:
        expert.name = name  # a second of its kind
    if isinstance(expert, nn.Module):
        expert = cast(Expert, on_device(expert.eval().requires_grad_(False), device))
    if isinstance(expert, Videos):
        cache = picture_cache(config, folder, name)
        progress = not config.machine.quiet
        give_pictures(expert, scene, folder, cache=cache, resize=config.data.resize_filter, progress=progress)
    _log_expert(expert, name, folder)
    check_trained_clip(expert, scene, folder, expert_frames=options.expert_frames)
    check_frames(expert, scene.num_frames, folder)
    return expert


def _load_options(config: RunConfig, scene: Scene, name: str, iteration: int | None) -> LoadOptions:
    """What an expert's loader is told of the scene and the settings. iteration None: --load_iteration."""
    settings = config.experts
    if iteration is None and settings.load_iteration != -1:
        iteration = settings.load_iteration
    planes = {f"config_{name}" if name in settings.file_planes else name: getattr(settings, name) for name in PLANES}
    return LoadOptions(
        scene=scene.name,
        iteration=iteration,
        num_frames=scene.num_frames,
        frame_rate=None if scene.frame_rate is None else float(scene.frame_rate),
        trained_frames=trained_frames(scene),
        expert_frames=expert_frames_of(settings.expert_frames, name),
        **planes,
        config=config.config,
        world_scale=EXPERTS[kind_of(name)].world_scale(scene.layout, scene.rig_radius),
        trust_checkpoint=settings.trust_checkpoint,
    )


def picture_cache(config: RunConfig, folder: Path, name: str) -> Path:
    """The folder of the decoded pictures of an expert, as `cache_folder` gives it: by default in the expert's own."""
    given, results = config.data.cache_path, config.output.save_path or Path()
    own = replace(config.data, cache_path=None if given is None else given / name)
    return cache_folder(own, folder, results / name)


def _log_expert(expert: Expert, name: str, folder: Path) -> None:
    """Logs what an expert is and where its settings come from; the many values that its files hold at level debug."""
    planes = ""
    if EXPERTS[kind_of(name)].has_planes:
        far = "no far plane" if expert.settings.far is None else f"far {expert.settings.far:.4g} scene units"
        planes = f", near {expert.settings.near:.4g} and {far}"
    count, iteration = counted(expert.num_gaussians, "Gaussian"), expert.provenance.iteration
    if has_pictures(expert):
        logger.info("expert %s: %s", name, *expert.provenance.notes)
        return
    logger.info("expert %s: %s, checkpoint of iteration %d%s", name, count, iteration, planes)
    warnings = [note for note in expert.provenance.notes if note.startswith(_WARNING)]
    by_source = _by_source([note for note in expert.provenance.notes if note not in warnings])
    brief = [text for source, text in _BRIEF.items() if source in by_source]
    if brief:
        logger.info("  %s (--debug lists them)", ", ".join(brief))
    for source, settings in by_source.items():
        line = f"{source}: {', '.join(settings)}" if settings else source
        logger.log(logging.DEBUG if source in _BRIEF else logging.INFO, "  %s", line)
    for note in warnings:
        logger.warning("%s: %s", folder, note.removeprefix(_WARNING))


def _by_source(notes: Sequence[str]) -> dict[str, list[str]]:
    """Settings by source: "width 32" of the note "width 32 (from shapes)"; under other notes, nothing."""
    settings: dict[str, list[str]] = {}
    for note in notes:
        inferred = re.fullmatch(r"(.*) \((from shapes|from cfg_args|from the run|preset value: [\w ]+)\)", note)
        settings.setdefault(inferred[2] if inferred else note, []).extend([inferred[1]] if inferred else [])
    return settings
