"""From settings to a Run: the scene, the frozen experts, a fresh router, and the checks that they belong together."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar, cast

import torch
from torch import nn

from common import ranks
from common.text.wording import counted
from engine.checks.clip_length import has_clock
from engine.checks.experts import check_cameras, check_frames, check_visible
from engine.checks.footage import warn_of_headers
from engine.checks.rasterizer import check_rasterizer
from engine.checks.trained_clip import check_trained_clip, clip_told_first
from engine.errors import ConfigError
from engine.runs.device import ComputeDevice, open_compute_device
from engine.runs.expert_log import log_expert
from engine.runs.frame_memory import with_kept_frames
from engine.runs.novel_near import open_culling, seen_in_training
from engine.runs.pictures import give_pictures
from engine.runs.run import Run
from engine.settings.parsing.fields import with_values
from engine.settings.training.experts import BY_NAME, PLANES, AnyExpertsConfig, expert_frames_of, folder_argument
from engine.settings.training.run import DataConfig, RunConfig, expert_folders
from experts import EXPERTS, Expert, LoadOptions, load_expert
from experts.pictures import has_pictures
from experts.videos.model import Videos
from experts.windows.model import on_device
from router import Ensemble, Router, kind_of
from router.novel_views import NovelViews
from scenes import Scene, SceneOptions, load_scene, with_router_cameras
from scenes.frames.cache.record import FOLDER as CACHE_FOLDER
from scenes.layouts import LOADERS, guess_layout, trained_frames
from scenes.options import DEFAULT_LAYOUT

logger = logging.getLogger(__name__)

Config = TypeVar("Config", bound=RunConfig)
CheckScene = Callable[[Scene], object]


def any_scene(scene: Scene) -> None:
    """A check of a scene of which nothing special is asked."""


def new_run(config: RunConfig, ensemble: Ensemble, *, check: CheckScene = any_scene) -> Run:
    """A run at iteration 0, its experts checked to show the scene; no frame is decoded yet.

    check: raises where the scene does not have what is asked of it, before an expert is loaded. Raises
    SceneError, CheckpointError, RasterizerError or ConfigError for what does not fit.
    """
    compute = open_compute_device(
        config.machine.device, config.machine.backend, deterministic=config.machine.deterministic
    )
    check_rasterizer(compute)
    scene = open_scene(config, ensemble)
    check(scene)
    folders = expert_folders(config, ensemble)
    by_name = isinstance(config.experts, AnyExpertsConfig)
    experts = tuple(
        open_expert(config, scene, name, folder, device=compute.device, by_name=by_name)
        for name, folder in folders.items()
    )
    router = new_router(config, experts)
    run = assemble(config, ensemble, compute=compute, scene=scene, experts=experts, router=router)
    loaded = {expert.name: expert for expert in experts}
    for name, folder in folders.items():
        label = folder_argument(kind_of(name), folder, by_name=by_name)
        check_visible(loaded[name], scene, compute=compute, label=label, folder=folder)
        check_cameras(scene, name, folder)
    return run


def new_router(config: RunConfig, experts: Sequence[Expert]) -> Router:
    """An untrained router of the settings, from their seed."""
    settings = config.router
    torch.manual_seed(config.training.seed)
    return Router(
        [expert.name for expert in experts],
        [expert.num_gaussians for expert in experts],
        kind=settings.rgbfunction,
        cues=settings.cues == "on",
        init=settings.init_mixprob,
        temperature=settings.temperature,
        eval_temperature=settings.eval_temperature,
    )


def with_expert_frames(config: Config, run: Run) -> Config:
    """The settings with the clip lengths that the run's experts use, where their checkpoints do not say.

    A run that is opened again takes them from there: it may have no training images to find them by.
    """
    assumed = [expert for expert in run.experts if has_clock(expert) and expert.provenance.clip_is_assumed]
    found = [f"{expert.name}={expert.num_frames}" for expert in assumed]
    return with_values(config, {"expert_frames": (*config.experts.expert_frames, *found)})


def assemble(
    config: RunConfig,
    ensemble: Ensemble,
    *,
    compute: ComputeDevice,
    scene: Scene,
    experts: tuple[Expert, ...],
    router: Router,
) -> Run:
    """The Run of parts that exist, its router moved to where the experts are."""
    guarded = config.router.coverage_guard == "on" and not all(map(has_pictures, experts))
    colour, coverage = seen_in_training(scene, experts, compute) if guarded else (None, 1.0)
    run = Run(
        ensemble=ensemble,
        scene=scene,
        experts=experts,
        router=router.to(compute.device),
        backend=compute.backend,
        tile_rule=config.machine.tile_rule,
        novel=NovelViews(
            culling=open_culling(scene, experts, compute, near=config.experts.novel_near),
            coverage_guard=guarded,
            hole_colour=colour,
            usual_coverage=coverage,
            fill_holes=config.router.fill_holes == "on",
        ),
        seed=config.training.seed,
    )
    return with_kept_frames(run, precision=config.machine.network_precision)


def open_scene(config: RunConfig, ensemble: Ensemble) -> Scene:
    """The scene as the settings cut it, no frame decoded yet; its notes go to the log."""
    data, save_path = config.data, config.output.save_path
    if data.source_path is None or save_path is None:
        raise ConfigError("--source_path and --save_path are needed to open a scene: give both")
    looks = ensemble.layout or guess_layout(data.source_path) or DEFAULT_LAYOUT
    layout = LOADERS[data.loader].name if data.loader else looks
    return read_scene(data, data.source_path, layout=layout, results=save_path, quiet=config.machine.quiet)


def decode(scene: Scene, views: Iterable[int]) -> None:
    """Makes sure that the frames of views are in the cache: rank 0 decodes, and the other ranks find its files.

    A rank of another machine with a disk of its own decodes there, once for all ranks of the machine.
    """
    with ranks.first_then_others():
        scene.frames.prepare(views)


def cache_folder(data: DataConfig, source: Path, results: Path) -> Path:
    """The folder of a scene's decoded frames: --cache_path, else one in the scene's folder that all commands share.

    Where that cannot be written it is `cache` in the folder of the results, and a line in the log says so.
    ConfigError where the one in the scene's folder is a link: a scene does not choose where files are replaced.
    """
    if data.cache_path is not None:
        return data.cache_path
    shared = source / CACHE_FOLDER
    if shared.is_symlink():
        raise ConfigError(f"{shared}: is a link to {os.readlink(shared)}; if you made it, give --cache_path {shared}")
    if not source.is_dir() or os.access(shared if shared.exists() else source, os.W_OK):
        return shared
    logger.info("%s cannot be written: decoded frames go to %s", shared, results / "cache")
    return results / "cache"


def picture_cache(config: RunConfig, folder: Path, name: str) -> Path:
    """The folder of the decoded pictures of an expert, as `cache_folder` gives it: by default in the expert's own."""
    given, results = config.data.cache_path, config.output.save_path or Path()
    own = replace(config.data, cache_path=None if given is None else given / name)
    return cache_folder(own, folder, results / name)


def read_scene(data: DataConfig, source: Path, *, layout: str, results: Path, quiet: bool = False) -> Scene:
    """The scene of a folder as the settings cut it, no frame decoded yet; its notes go to the log.

    results: the command's folder, for frames that cannot be kept with the scene.
    """
    options = SceneOptions(
        cache=cache_folder(data, source, results),
        layout=layout,
        resolution=data.resolution,
        resize=data.resize_filter,
        principal_points=data.principal_points,
        start=data.start_timestamp,
        end=data.end_timestamp,
        duration=data.duration,
        test_cameras=data.test_cameras,
        needed="none",
        cache_gb=data.cache_gb,
        memory_mb=data.cache_mb,
        progress=not quiet,
    )
    scene = with_router_cameras(load_scene(source, options), data.router_cameras)
    logger.info(
        "scene %s: %s (%d to %d), %s, held-out camera%s: %s",
        scene.name,
        counted(scene.num_frames, "frame"),
        scene.start,
        scene.start + scene.num_frames - 1,
        counted(len(scene.train), "training camera"),
        "" if len(scene.test) == 1 else "s",
        ", ".join(scene.views[view].name for view in scene.test),
    )
    if scene.router:
        names = ", ".join(scene.views[view].name for view in scene.router)
        logger.info("  left to the router: %s (--router_cameras %d)", names, len(scene.router))
    for note in scene.notes:
        logger.info("  %s", note)
    warn_of_headers(scene)
    return scene


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
    settings, kind = config.experts, kind_of(name)
    if iteration is None and settings.load_iteration != -1:
        iteration = settings.load_iteration
    planes = {f"config_{name}" if name in settings.file_planes else name: getattr(settings, name) for name in PLANES}
    options = LoadOptions(
        scene=scene.name,
        iteration=iteration,
        num_frames=scene.num_frames,
        trained_frames=trained_frames(scene),
        expert_frames=expert_frames_of(settings.expert_frames, name),
        **planes,
        config=config.config,
        world_scale=EXPERTS[kind].world_scale(scene.layout, scene.rig_radius),
        trust_checkpoint=settings.trust_checkpoint,
    )
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
    log_expert(expert, name, folder)
    check_trained_clip(expert, scene, folder, expert_frames=options.expert_frames)
    check_frames(expert, scene.num_frames, folder)
    return expert
