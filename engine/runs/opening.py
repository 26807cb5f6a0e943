"""From settings to a Run: its scene, its frozen experts, a fresh router, and the checks that they belong together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch

from engine.checks.clip_length import has_clock
from engine.checks.experts import check_cameras, check_visible
from engine.checks.rasterizer import check_rasterizer
from engine.runs.device import ComputeDevice, open_compute_device
from engine.runs.experts.kept_frames import with_kept_frames
from engine.runs.experts.loading import open_expert
from engine.runs.experts.novel_near import open_culling, seen_in_training
from engine.runs.run import Run
from engine.runs.saved.kept_rules import KeptRules
from engine.runs.scene import CheckScene, any_scene, open_scene
from engine.settings.parsing.fields import with_values
from engine.settings.training.experts import AnyExpertsConfig, folder_argument
from engine.settings.training.run import DeviceConfig, RunConfig, expert_folders
from experts import Expert
from experts.pictures import has_pictures
from router import Ensemble, Router, kind_of
from router.novel_views import NovelViews
from scenes import Scene

Config = TypeVar("Config", bound=RunConfig)


def new_run(
    config: RunConfig, ensemble: Ensemble, *, check: CheckScene = any_scene, rules: KeptRules | None = None
) -> Run:
    """A run at iteration 0, its experts checked to show the scene; no frame is decoded yet.

    check: raises where the scene does not have what is asked of it, before an expert is loaded. rules: as of
    `assemble`. Raises SceneError, CheckpointError, RasterizerError or ConfigError for what does not fit.
    """
    compute = checked_device(config.machine)
    scene = open_scene(config, ensemble)
    check(scene)
    folders = expert_folders(config, ensemble)
    by_name = isinstance(config.experts, AnyExpertsConfig)
    experts = tuple(
        open_expert(config, scene, name, folder, device=compute.device, by_name=by_name)
        for name, folder in folders.items()
    )
    router = new_router(config, experts)
    run = assemble(config, ensemble, compute=compute, scene=scene, experts=experts, router=router, rules=rules)
    loaded = {expert.name: expert for expert in experts}
    for name, folder in folders.items():
        label = folder_argument(kind_of(name), folder, by_name=by_name)
        check_visible(loaded[name], scene, compute=compute, label=label, folder=folder)
        check_cameras(scene, name, folder)
    return run


def checked_device(settings: DeviceConfig) -> ComputeDevice:
    """The device that settings ask for, opened, and its rasterizer checked; ConfigError or RasterizerError."""
    compute = open_compute_device(settings.device, settings.backend, deterministic=settings.deterministic)
    check_rasterizer(compute)
    return compute


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
    rules: KeptRules | None = None,
) -> Run:
    """The Run of parts that exist, its router moved to where the experts are.

    rules: for novel views, found before, for those that the settings do not decide. None: found from the experts.
    """
    run = Run(
        ensemble=ensemble,
        scene=scene,
        experts=experts,
        router=router.to(compute.device),
        backend=compute.backend,
        tile_rule=config.machine.tile_rule,
        novel=_novel_views(config, scene, experts, compute, rules),
        seed=config.training.seed,
    )
    return with_kept_frames(run, precision=config.machine.network_precision)


def _novel_views(
    config: RunConfig, scene: Scene, experts: Sequence[Expert], compute: ComputeDevice, rules: KeptRules | None
) -> NovelViews:
    guarded = config.router.coverage_guard == "on" and not all(map(has_pictures, experts))
    if not guarded:
        colour, coverage = None, 1.0
    elif rules is not None and rules.hole_colour is not None:
        colour, coverage = rules.hole_colour, rules.usual_coverage
    else:
        colour, coverage = seen_in_training(scene, experts, compute)
    near, kept = config.experts.novel_near, None if rules is None else rules.near
    return NovelViews(
        culling=open_culling(scene, experts, compute, near=near, kept=kept),
        coverage_guard=guarded,
        hole_colour=colour,
        usual_coverage=coverage,
        fill_holes=config.router.fill_holes == "on",
    )
