"""Trials of experts at two sizes: their starts, iterations, saves and scores."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import torch

from common.text.wording import bytes_text
from engine.budget.choice import DENSITIES, least_gaussians
from engine.budget.measured import ExpertTrial, line_through
from engine.budget.trials.measuring import TRIAL_SECONDS, peak_bytes, quiet_logs, start_memory
from engine.errors import ConfigError
from engine.runs.cost import expert_bytes
from engine.runs.device import ComputeDevice, wait
from engine.runs.trial import BlackFrames, seconds_a_step
from engine.settings.training.train_expert import AUTO, TrainExpertConfig
from engine.training.expert.choice import choose_preset
from engine.training.expert.opening import check_expert_task, open_trial, opens_once, try_iteration
from engine.training.expert.recipe import recipe_for
from engine.training.expert.saves import ExpertOutput, bytes_of, saved_expert_folder
from engine.training.expert.segments import choose_outputs
from experts import Expert, ExpertSpec
from experts.training.recipes.presets import FAST
from experts.training.recipes.recipe import Recipe
from scenes import Scene
from scenes.points.cloud import PointCloud, taken, thinned
from scenes.points.start import load_start_points

SCORED_FRAMES = 8  # of each held-out camera, after an expert's training
SPREAD = 0.01  # of the extent, by which points that stand for more than one lie apart


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tried:
    """A trial at one size."""

    gaussians: int
    iteration: float  # seconds
    memory: float | None  # bytes
    files: float  # bytes
    opening: float  # seconds, on black images
    ending: float  # seconds of saves and scores
    sees_images: bool  # its start looks at images, so that on those of the scene it takes another time
    model: Any  # an Expert


def try_expert(
    config: TrainExpertConfig, spec: ExpertSpec, scene: Scene, compute: ComputeDevice, *, gpu_bytes: float | None
) -> tuple[ExpertTrial, Expert]:
    """Tries an expert with few and with many Gaussians; the result, and the model with few for trials of mixtures.

    config: that of its training, whatever its lengths. gpu_bytes: memory that trials stay below; None: a CPU. Raises
    what its training would refuse, and ConfigError where the memory is too small.
    """
    pixels = max(scene.views[view].camera.width * scene.views[view].camera.height for view in scene.train)
    most = tried_gaussians(spec, pixels, gpu_bytes)
    with quiet_logs(), TemporaryDirectory() as folder:
        config = _tried_config(config, spec, Path(folder))
        outputs = choose_outputs(config, spec, scene, compute)
        points, loading, (few, many) = _tried_sizes(config, spec, outputs[0], most)
    checked = 0.0 if opens_once(outputs) else many.opening  # on black images, too, in the command
    recipes = [
        recipe_for(config, spec, choose_preset(spec, name, scene=scene.name, layout=scene.layout)[1])
        for name in (FAST, AUTO)
    ]
    trial = ExpertTrial(
        name=spec.name,
        key=spec.key,
        models=len(outputs),
        fast=recipes[0].iterations,
        published=recipes[1].iterations,
        start=points,
        grows_until=_grows_until(recipes[0]),
        pixels=pixels,
        usual=spec.training.usual_gaussians,
        iteration=line_through((few.gaussians, few.iteration), (many.gaussians, many.iteration)).times(
            spec.training.slower_later
        ),
        memory=None
        if few.memory is None or many.memory is None
        else line_through((few.gaussians, few.memory), (many.gaussians, many.memory)),
        files=line_through((few.gaussians, few.files), (many.gaussians, many.files)).times(spec.training.larger_later),
        overhead=checked + loading + many.opening + many.ending,
        opening_on_black=loading + many.opening if many.sees_images else None,
    )
    return trial, few.model


def opening_on_frames(config: TrainExpertConfig, spec: ExpertSpec, scene: Scene, compute: ComputeDevice) -> float:
    """Seconds in which the training of an expert's model is opened on the scene's frames, which are decoded."""
    with quiet_logs(), TemporaryDirectory() as folder:
        config = _tried_config(config, spec, Path(folder))
        output = choose_outputs(config, spec, scene, compute)[0]
        start = perf_counter()
        checked = check_expert_task(config, spec, output, tries=False, keeps=True)
        wait(compute)
        seconds = perf_counter() - start
        assert checked.opened is not None, "it is kept"
        checked.opened[0].views.close()
    return seconds


def _tried_config(config: TrainExpertConfig, spec: ExpertSpec, folder: Path) -> TrainExpertConfig:
    """The settings of a trial, which writes below a folder of its own."""
    return replace(
        config,
        expert=spec.key,
        recipe=replace(config.recipe, preset=FAST, iterations=None),
        machine=replace(config.machine, quiet=True),
        output=replace(config.output, model_path=folder / "model"),
    )


def _tried_sizes(
    config: TrainExpertConfig, spec: ExpertSpec, output: ExpertOutput, most: int
) -> tuple[int, float, tuple[_Tried, _Tried]]:
    """The number of start points, seconds until `most` of them are there, and trials with few Gaussians and `most`."""
    part, data = replace(output.scene, frames=BlackFrames(output.scene)), config.data  # random points look at frames
    frames = range(part.num_frames) if spec.training.start_frames == "all" else (0,)
    start = perf_counter()
    cloud = load_start_points(part, source=data.points, frames=frames, limit=data.max_points, seed=0)
    many = resized(cloud, most, radius=part.rig_radius)
    loading = perf_counter() - start

    def tried(count: int, points: PointCloud) -> _Tried:
        limit = 2 * count if spec.segments is not None else count  # a start of segments keeps half of them free
        limited = replace(config, recipe=replace(config.recipe, max_gaussians=limit))
        own = replace(output, folder=output.folder.parent / f"{count}")
        return _tried(limited, spec, own, points)

    count = round(most * DENSITIES[-1] / DENSITIES[0])
    few = resized(cloud, count, radius=part.rig_radius)
    return cloud.count, loading, (tried(count, few), tried(most, many))


def tried_gaussians(spec: ExpertSpec, pixels: int, gpu_bytes: float | None) -> int:
    """The most Gaussians to try: as many as a plan may have, or fit; ConfigError where too few fit into the memory."""
    most = min(DENSITIES[0] * pixels, spec.training.usual_gaussians)
    if gpu_bytes is not None:
        fixed = expert_bytes(spec, pixels=pixels, gaussians=0)
        most = min(most, (gpu_bytes - fixed) / spec.training.gaussian_bytes)
        if most < least_gaussians(pixels):
            raise ConfigError(f"{bytes_text(round(gpu_bytes))} of GPU memory are too few")
    return round(most)


def _grows_until(recipe: Recipe) -> float:
    """Share of a training at whose end the number of Gaussians stops to grow; 0 where the start has them all."""
    if hasattr(recipe, "gaussians_per_pixel"):
        return 0.0
    return min(1.0, recipe.density.stop / recipe.iterations)


def _tried(config: TrainExpertConfig, spec: ExpertSpec, output: ExpertOutput, cloud: PointCloud) -> _Tried:
    """A trial with the start points of one size: opened, trained for a few iterations, saved and scored."""
    compute = output.compute
    before = start_memory(compute)
    start = perf_counter()
    task, _, sees_images = open_trial(config, spec, output, cloud=cloud)
    wait(compute)
    opening = perf_counter() - start
    gaussians = task.trainer.count
    with task:
        iteration = seconds_a_step(partial(try_iteration, task), compute, at_least=TRIAL_SECONDS)
        most = peak_bytes(compute)
        start = perf_counter()
        task.save(1)
        task.score(1, SCORED_FRAMES, networks=True)
        wait(compute)
        ending = perf_counter() - start
        model = task.trainer.model
        model.eval().requires_grad_(False)
    return _Tried(
        gaussians=gaussians,
        iteration=iteration,
        memory=None if most is None else most - before,
        files=float(bytes_of(saved_expert_folder(output.folder, 1))),
        opening=opening,
        ending=ending,
        sees_images=sees_images,
        model=model,
    )


def resized(cloud: PointCloud, count: int, *, radius: float) -> PointCloud:
    """The cloud thinned to so many points, or with points repeated a little apart, so that there are as many."""
    if cloud.count >= count:
        return thinned(cloud, count)
    rows = torch.arange(count) % cloud.count
    repeated = taken(cloud, rows, "")
    shifts = torch.randn(count, 3, generator=torch.Generator().manual_seed(0)) * SPREAD * radius
    shifts[: cloud.count] = 0
    return replace(repeated, positions=repeated.positions + shifts)
