"""Opens the training of an expert: start points, culling planes and trainer, fresh or from its last state."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from statistics import fmean

import torch

from common import ranks
from common.disk.faults import reading
from common.gradients import backward
from common.text.wording import counted
from engine.errors import ConfigError
from engine.evaluation.measures.lpips_weights import lpips_of_loss
from engine.runs.trial import BlackFrames, WorkTime, seconds_a_step
from engine.settings.training.train_expert import TrainExpertConfig
from engine.training.expert.choice import choose_preset
from engine.training.expert.facts import changed_fact, warn_of_unknown_footage
from engine.training.expert.recipe import as_config_error, recipe_for
from engine.training.expert.saves import ExpertOutput, load_state, saved_state
from engine.training.expert.scene_views import SceneViews
from engine.training.expert.start import ExpertStart, check_start, training_start
from engine.training.expert.task import ExpertTask
from engine.training.memory import memory_told
from engine.training.stretches import log_stretches, stretches_of
from experts import CheckpointError, ExpertSpec, begin_training
from experts.training.colour_correction import ColourCorrection
from experts.training.recipes.recipe import Recipe
from experts.training.start import scale_fault
from scenes.points.cloud import PointCloud
from scenes.points.start import load_start_points

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedStart:
    """The start of a training that nothing refuses, known before any frame is decoded."""

    recipe: Recipe
    cloud: PointCloud | None  # for `open_expert_task`; None: the start points' colours are those of frames
    gaussians: int
    seconds_each: float | None = None  # of an iteration; None: not tried
    opened: tuple[ExpertTask, PointCloud, str | None] | None = None  # None: it is to be opened again


def opens_once(outputs: Sequence[ExpertOutput]) -> bool:
    """True where no check comes before a training of decoded frames; of several none begins before all are checked."""
    return len(outputs) == 1 and ranks.count() == 1


def check_expert_task(
    config: TrainExpertConfig, spec: ExpertSpec, output: ExpertOutput, *, tries: bool, keeps: bool
) -> CheckedStart:
    """Opens a training and closes it again, to raise whatever `open_expert_task` would raise; decodes no frame.

    tries: it also tries an iteration, and tells how long one takes. keeps: the frames are decoded, so it is opened on
    them and kept for `open_expert_task`: a start that looks at images takes long.
    """
    if keeps:
        opened = _opened(config, spec, output, cloud=None)
        task, cloud, _ = opened
        return CheckedStart(recipe=task.begun.recipe, cloud=cloud, gaussians=task.trainer.count, opened=opened)
    task, cloud, of_frames = open_trial(config, spec, output)
    gaussians = task.trainer.count
    with ranks.apart():
        all_images = seconds_a_step(partial(try_iteration, task), output.compute) if tries else None
    seconds = None if all_images is None else all_images / ranks.count()
    task.views.close()
    return CheckedStart(
        recipe=task.begun.recipe, cloud=None if of_frames else cloud, gaussians=gaussians, seconds_each=seconds
    )


def open_trial(
    config: TrainExpertConfig, spec: ExpertSpec, output: ExpertOutput, *, cloud: PointCloud | None = None
) -> tuple[ExpertTask, PointCloud, bool]:
    """A training on black images, its start points, and whether its start looked at images; its views are to be closed.

    cloud: start points in the place of the scene's.
    """
    frames = BlackFrames(output.scene)
    black = replace(output, scene=replace(output.scene, frames=frames))
    with _without_lines_of_experts():  # what a start finds in black images is no news
        task, cloud, _ = _opened(config, spec, black, cloud=cloud)
    return task, cloud, frames.were_read


@contextmanager
def _without_lines_of_experts() -> Iterator[None]:
    """Lets experts log warnings alone."""
    log = logging.getLogger("experts")
    level = log.level
    log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.setLevel(level)


def training_time(starts: Sequence[CheckedStart]) -> WorkTime | None:
    """The time of trainings one after the other, by those that were tried; None where none was."""
    tried = [start.seconds_each for start in starts if start.seconds_each is not None]
    if not tried:
        return None
    note = f" with {counted(starts[0].gaussians, 'Gaussian')}; longer as they grow"
    iterations = sum(start.recipe.iterations for start in starts)
    return WorkTime(work="training", step="iteration", count=iterations, seconds_each=fmean(tried), note=note)


def try_iteration(task: ExpertTask) -> None:
    """Trains with an image from the middle of the schedule, when all that a model has takes part."""
    iteration = min(task.last // 2 + 1, task.last)
    task.trainer.images.skip_to(iteration)
    with memory_told(f"a trial of an iteration of {task.name}"):
        for loss in task.trainer.losses(iteration):
            backward(loss)
        task.trainer.update(iteration)


def open_expert_task(
    config: TrainExpertConfig, spec: ExpertSpec, output: ExpertOutput, *, start: CheckedStart
) -> ExpertTask:
    """A training at its beginning, or with --resume where it was.

    start: by `check_expert_task`. Raises SceneError, ConfigError or CheckpointError for what does not fit.
    """
    task, _, resumed = start.opened or _opened(config, spec, output, cloud=start.cloud)
    _log(task)
    log_stretches(output.scene, stretches_of(output.scene))
    if ranks.count() > 1:
        _log_ranks(task)
    if resumed is not None:
        logger.info("%s", resumed)
        warn_of_unknown_footage(task.known, output)
    return task


def _opened(
    config: TrainExpertConfig, spec: ExpertSpec, output: ExpertOutput, *, cloud: PointCloud | None
) -> tuple[ExpertTask, PointCloud, str | None]:
    """A training at its beginning or where it was, its start points, and a line on where it goes on."""
    scene, compute, asked = output.scene, output.compute, config.recipe
    name, preset = choose_preset(spec, asked.preset, scene=scene.name, layout=scene.layout)
    recipe = recipe_for(config, spec, preset)
    frames = range(scene.num_frames) if spec.training.start_frames == "all" else (0,)
    cloud = cloud or load_start_points(
        scene, source=config.data.points, frames=frames, limit=config.data.max_points, seed=asked.seed
    )
    if fault := scale_fault(scene.rig_radius, cloud.positions):
        raise ConfigError(f"{scene.root}: {fault}")
    views = SceneViews(scene, device=compute.device)
    start = training_start(config, spec, preset, output, cloud=cloud, views=views)
    torch.manual_seed(asked.seed)
    with as_config_error(spec):
        trainer = begin_training(spec, recipe, start)
    check_start(cloud, scene, trainer)
    trainer.backend = compute.backend
    stretches = stretches_of(scene)
    if stretches is not None:
        trainer.images.stay_within(stretches, generator=trainer.generator)
    if trainer.needs_lpips:
        trainer.lpips = lpips_of_loss(
            views.cameras, path=config.output.lpips_weights, device=compute.device, setting="--set lpips"
        )
    if asked.colour_correction:
        trainer.correction = ColourCorrection(len(views.cameras)).to(compute.device)
    planes = None if start.planes is None else (start.planes.near, start.planes.far)
    begun = ExpertStart(preset=name, recipe=recipe, points=cloud.note, gaussians=trainer.count, planes=planes)
    task = ExpertTask(trainer, views, output, config, begun=begun)
    return task, cloud, _resumed(task) if config.output.resume else None


def _log(task: ExpertTask) -> None:
    begun = task.begun
    logger.info("start: %s", begun.points)
    logger.info(
        "%s: preset %s, %s, batch size %d, %s%s",
        task.name,
        begun.preset,
        counted(task.last, "iteration"),
        begun.recipe.batch,
        counted(begun.gaussians, "initial Gaussian"),
        "" if begun.planes is None else ", near {:.3g} and far {:.3g} scene units".format(*begun.planes),
    )


def _log_ranks(task: ExpertTask) -> None:
    recipe = task.begun.recipe
    logger.info(
        "%s share the %s of an iteration, learning rates times %.3g",
        *(counted(ranks.count(), "rank"), counted(recipe.batch, "image"), recipe.rates_times),
    )


def _resumed(task: ExpertTask) -> str:
    """Loads a training's newest state, if there is one; a line for the log says which."""
    newest = saved_state(task.output.folder)
    if newest is None:
        return f"no save to resume in {task.output.folder}: starting at iteration 1"
    iteration, path = newest
    state = load_state(path)
    with reading(path, "not a readable training state", CheckpointError, advice="start again with --overwrite"):
        changed = changed_fact(json.loads(state["facts"]), task.facts(), task.begun.recipe)
        if changed is not None:
            raise ConfigError(
                f"{path}: saved with other settings ({changed}); give the same, or start again: with --overwrite, in "
                f"run-all and auto by deleting {task.output.folder} or with another --output"
            )
        task.load(state)
    return f"resuming after iteration {iteration} from {path}"
