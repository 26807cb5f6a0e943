"""The making of a plan: preparation, trials, decoding, and the choice."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from time import perf_counter

from common.cores import usable_cores
from common.text.wording import bytes_text
from engine.budget.choice import WORTH
from engine.budget.clock import Clock, has_time
from engine.budget.measured import SceneTrial
from engine.budget.plan import Plan, Step
from engine.budget.planned_scene import scene_of
from engine.budget.start_up import StartUp, try_start_up
from engine.budget.too_small import too_small
from engine.budget.trials.by_worth import Trials
from engine.budget.wanted import Budget, read_budget
from engine.checks.rasterizer import check_rasterizer
from engine.commands.train_expert import open_expert_scene
from engine.errors import ConfigError
from engine.pipeline.checks import check_plan
from engine.pipeline.jobs import Job
from engine.pipeline.plan import plan_scene
from engine.runs.device import ComputeDevice, free_memory, open_compute_device
from engine.settings.auto import AutoConfig, run_all_settings
from engine.settings.training.train_expert import TrainExpertConfig
from engine.settings.training.train_expert_reading import read_expert_settings
from scenes import Scene, needed_views

WORTH_TELLING = 1.0  # seconds of decoding

logger = logging.getLogger(__name__)


def make_plan(config: AutoConfig, prepare: Callable[[Job], Step]) -> Plan:
    """The plan of a scene whose results are still to be made; ConfigError where nothing fits the budget.

    prepare: runs the preparation, where the scene needs one. Frames are decoded, unless a plan alone is wanted.
    """
    begun = perf_counter()
    jobs = _jobs(config)
    preparation = _preparation(config, jobs)
    settings = _training_settings(jobs)
    compute = open_compute_device(settings.machine.device, settings.machine.backend)
    check_rasterizer(compute)  # raises what the start of a command would end with
    started = try_start_up(settings.machine)
    budget = _with_memory(read_budget(config.budget), compute)
    clock = Clock(budget=budget, begun=begun, starting=started.packages)  # this command started, too
    _require_time(config, clock, started)  # before the preparation, which takes minutes
    before = [] if preparation is None else [prepare(preparation)]
    trials = _opened_trials(settings, compute, started)
    decoding = _decoding(trials.scene)
    experts = trials.choose(lambda: clock.left(decoding.seconds))
    prepared = sum(step.taken or 0.0 for step in before)
    if not experts:
        left, gone = clock.left(decoding.seconds), clock.gone() + decoding.seconds
        raise too_small(config.budget, trials.tried, trials.command, left, gone=gone, prepared=prepared)
    took = clock.gone() - prepared
    if not config.plan:
        decoding = _decoded(trials.scene, decoding)
        experts, seconds = trials.on_frames(experts)
        took += seconds
    tried = Step(step="trials", fixed=took, told=took, taken=took, is_done=True)
    chosen = trials.chosen(experts, clock.left(decoding.seconds))
    if chosen is None:
        raise _too_late(config)
    steps = (*before, tried, *((decoding,) if decoding.told >= WORTH_TELLING else ()), *chosen.steps)
    return Plan(
        budget=config.budget,
        data_args=config.data_args,
        experts=experts,
        steps=steps,
        run_bytes=chosen.run_bytes,
        in_tf32=True,
    )


def _too_late(config: AutoConfig) -> ConfigError:
    """The refusal where trials found time, and the frames left none."""
    return ConfigError(
        f"--budget {config.budget}: decoding took what the trainings need, or they start too slowly on the frames; run "
        "the command again, then with more time"
    )


def _require_time(config: AutoConfig, clock: Clock, started: StartUp) -> None:
    """Raises ConfigError where the time does not even hold one trial and the start of a training."""
    left = clock.left()
    if not has_time(left, started.seconds):
        command = SceneTrial(command=started.seconds, frames=0)
        raise too_small(config.budget, (), command, left, gone=clock.gone())


def _jobs(config: AutoConfig) -> list[Job]:
    """The jobs of a run of all experts, their arguments checked."""
    planned, settings = scene_of(config, tuple(WORTH)), run_all_settings(config, mixes=True, prepares=True)
    jobs = plan_scene(settings, planned)
    check_plan(settings, planned, jobs)
    return jobs


def _opened_trials(settings: TrainExpertConfig, compute: ComputeDevice, started: StartUp) -> Trials:
    """The trials of a prepared scene. started: the start of every command."""
    model_path = settings.output.model_path
    assert model_path is not None, "run-all gives it"
    start = perf_counter()
    scene = open_expert_scene(settings, model_path)
    command = SceneTrial(command=started.seconds + perf_counter() - start, frames=len(scene.test) * scene.num_frames)
    return Trials(settings, scene, compute, command)


def _preparation(config: AutoConfig, jobs: list[Job]) -> Job | None:
    """The job that prepares the scene; None where it has all, or it was done before. ConfigError: a plan needs it."""
    job = next((job for job in jobs if job.step == "prepare"), None)
    if job is None or job.is_done():
        return None
    if config.plan:
        raise ConfigError(f"{config.scene}: a plan needs cameras and start points; first run {job.command}")
    return job


def _training_settings(jobs: list[Job]) -> TrainExpertConfig:
    """The settings of an expert's training as its job would have them; the scene and the data are those of all."""
    job = next(job for job in jobs if job.step.startswith("expert_"))
    words = [str(word) for word in job.words[2:] if word != "--resume"]
    return read_expert_settings(words, prog="moegs.py train-expert", description="")


def _with_memory(budget: Budget, compute: ComputeDevice) -> Budget:
    """The budget with the memory that the GPU has free; ConfigError for memory of a GPU where a CPU computes."""
    free = free_memory(compute.device)
    if free is None:
        if budget.gpu_bytes is not None:
            raise ConfigError(
                f"--budget: {bytes_text(round(budget.gpu_bytes))} is memory of a GPU, and this machine computes on its "
                "CPU: leave that part out"
            )
        return budget
    return replace(budget, gpu_bytes=float(free) if budget.gpu_bytes is None else min(budget.gpu_bytes, free))


def _decoding(scene: Scene) -> Step:
    seconds = scene.frames.on_disk(range(len(scene.views))).decoding_seconds / usable_cores()
    return Step(step="decode", fixed=seconds, told=seconds)


def _decoded(scene: Scene, step: Step) -> Step:
    start = perf_counter()
    scene.frames.prepare(needed_views(scene, "all"))
    return replace(step, taken=perf_counter() - start, is_done=True)
