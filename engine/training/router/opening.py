"""Opens the training of a router, fresh or from its newest save, and says when it saves and evaluates."""

from __future__ import annotations

import logging
import math
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from common import ranks
from common.gradients import backward
from common.text.wording import counted
from engine.checks.clip_length import settle_clip_lengths
from engine.checks.footage import warn_of_frames
from engine.checks.judging import judge
from engine.checks.verdict import log_verdict
from engine.errors import ConfigError
from engine.runs.cost import log_cost, router_cost
from engine.runs.experts.pictures import decode_pictures
from engine.runs.opening import new_run, with_expert_frames
from engine.runs.run import Run
from engine.runs.saved.expert_records import ExpertRecord, bundle_expert, record_expert
from engine.runs.scene import decode
from engine.runs.trial import BlackFrames, WorkTime, must_decode, seconds_a_step
from engine.settings.parsing.config_file import write_config_file
from engine.settings.training.run import RunConfig, evaluation_iterations, expert_folders, save_iterations
from engine.settings.training.train import CONFIG_FILE
from engine.training.loop import Schedule
from engine.training.memory import memory_told
from engine.training.router.old_run import set_run_aside
from engine.training.router.resume import check_router_folder, resume_newest, rules_of_newest
from engine.training.router.schedule import images_a_step, make_optimiser, reached
from engine.training.router.task import RouterTask
from engine.training.stretches import log_stretches, stretches_of
from engine.training.tensorboard import check_tensorboard, tensorboard_command
from router import Ensemble
from scenes import needed_views

logger = logging.getLogger(__name__)


def open_router_task(config: RunConfig, ensemble: Ensemble, *, later: int = 0) -> RouterTask:
    """The router's training, fresh or where it was saved; writes config.json, and the bundle where asked for.

    With --overwrite the earlier run is set aside, once everything that can be refused was checked. Settings of a run
    that is not trained further stay as they are. later: iterations of trainings that follow, counted in the time told.
    """
    save_path = config.output.save_path
    if save_path is None:
        raise ConfigError("--save_path is missing: give the folder of the results")
    check_router_folder(config, save_path)
    check_tensorboard(wanted=config.output.tensorboard)
    run = new_run(config, ensemble, rules=rules_of_newest(save_path) if config.output.resume else None)
    folders = expert_folders(config, ensemble)
    experts = tuple(record_expert(expert, folders[expert.name], save_path=save_path) for expert in run.experts)
    optimiser = make_optimiser(run.router, config.training)
    start, seconds = 0, 0.0
    if config.output.resume:
        start, seconds = resume_newest(run, optimiser, save_path=save_path, seed=config.training.seed, records=experts)
    _prepare_frames(run, optimiser, config, save_path, start=start, later=later)
    warn_of_frames(run.scene)
    clips = settle_clip_lengths(run.scene, run.experts, run.compute)
    log_verdict(judge(run.scene, run.experts, clips=clips, compute=run.compute), run.scene)
    if ranks.is_first():
        _write_beginnings(run, config, save_path, experts, start=start)
    task = RouterTask(run, optimiser, config, start=start, seconds=seconds, save_path=save_path, experts=experts)
    log_stretches(run.scene, stretches_of(run.scene))
    if task.images > 1:
        logger.info(
            "%s: %s a step, learning rates times %.3g",
            *(counted(ranks.count(), "rank"), counted(task.images, "image"), math.sqrt(task.images)),
        )
    return task


def _write_beginnings(
    run: Run, config: RunConfig, save_path: Path, experts: tuple[ExpertRecord, ...], *, start: int
) -> None:
    """Sets the earlier run aside with --overwrite, and leaves the settings and the bundle."""
    if config.output.overwrite:
        set_run_aside(save_path, experts)
    if start < config.training.iterations or not (save_path / CONFIG_FILE).is_file():
        logger.info("wrote settings: %s", write_config_file(save_path / CONFIG_FILE, with_expert_frames(config, run)))
    if config.output.tensorboard:
        logger.info("to watch the training: %s", tensorboard_command(save_path))
    if config.output.bundle:
        for record in experts:
            logger.info("copied the files of expert %s to %s", record.name, bundle_expert(record, save_path))


def _prepare_frames(
    run: Run, optimiser: torch.optim.Optimizer, config: RunConfig, save_path: Path, *, start: int, later: int
) -> None:
    """Tells what the training costs, then decodes the frames: after all that can refuse, since it takes minutes."""
    decode_pictures(run.experts)  # before the trial, which shows them
    iterations, saves = config.training.iterations, len(save_iterations(config, run.ensemble))
    copied = [path for expert in run.experts for path in expert.provenance.files] if config.output.bundle else []
    cost = router_cost(run, results=save_path, iterations=iterations, saves=saves, copied=copied)
    log_cost(replace(cost, time=_training_time(run, optimiser, config, start=start, later=later)))
    decode(run.scene, needed_views(run.scene, "all"))


def _training_time(
    run: Run, optimiser: torch.optim.Optimizer, config: RunConfig, *, start: int, later: int
) -> WorkTime | None:
    """The time of the training, by steps on black images that move nothing; None: progress will tell soon.

    Of several ranks the first one tries.
    """
    iterations, images = config.training.iterations, images_a_step(config.training)
    if start >= iterations or not ranks.is_first() or not must_decode(run.scene, range(len(run.scene.views))):
        return None
    with ranks.apart():
        seconds = tried_seconds(run, optimiser, config, start=start)
    note, step = " of all seeds" if later else "", "iteration" if images == 1 else "step"
    count = math.ceil((iterations - start + later) / images)
    return WorkTime(work=f"training{note}", step=step, count=count, seconds_each=seconds)


def tried_seconds(
    run: Run, optimiser: torch.optim.Optimizer, config: RunConfig, *, start: int = 0, at_least: float = 0.0
) -> float:
    """Seconds of a step, by some on black images that move nothing. at_least: seconds that the trial goes on."""
    black = replace(run, scene=replace(run.scene, frames=BlackFrames(run.scene)))
    endless = replace(config, training=replace(config.training, iterations=sys.maxsize // 2))
    with RouterTask(black, optimiser, endless, start=start) as task:

        def try_iteration() -> None:
            with memory_told("a trial of the router's iteration"):
                for loss in task.losses(start + 1):
                    backward(loss)
            optimiser.zero_grad(set_to_none=True)

        return seconds_a_step(try_iteration, run.compute, at_least=at_least)


def schedule(task: RouterTask) -> Schedule:
    """The first, last, saving and evaluating iterations of a router's training, each the end of a step."""
    config, ensemble = task.config, task.run.ensemble
    ends = partial(reached, start=task.start, images=task.images)
    return Schedule(
        start=task.start,
        last=task.last,
        saves=set(map(ends, save_iterations(config, ensemble))),
        evaluations=set(map(ends, evaluation_iterations(config, ensemble))),
        step=task.images,
    )
