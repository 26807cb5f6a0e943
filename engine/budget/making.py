"""The making of a plan: preparation, trials, decoding, and the choice."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from time import perf_counter

from common.cores import usable_cores
from common.text.wording import bytes_text, duration
from engine.budget.choice import DENSITIES, WORTH, Chosen, choose
from engine.budget.clock import A_TRIAL, Clock, has_time
from engine.budget.measured import ExpertTrial, MixtureTrial, SceneTrial
from engine.budget.plan import Plan, Step
from engine.budget.planned_scene import scene_of
from engine.budget.start_up import StartUp, try_start_up
from engine.budget.too_small import too_small
from engine.budget.trials.experts import opening_on_frames, try_expert
from engine.budget.trials.mixtures import try_mixture
from engine.budget.wanted import Budget, read_budget
from engine.checks.footage import warn_of_frames
from engine.checks.rasterizer import check_rasterizer
from engine.commands.train_expert import open_expert_scene
from engine.errors import ConfigError
from engine.pipeline.checks import check_plan
from engine.pipeline.jobs import Job
from engine.pipeline.plan import plan_scene
from engine.runs.device import ComputeDevice, free_memory, open_compute_device
from engine.settings.auto import AutoConfig, run_all_settings
from engine.settings.training.run import AnyRunConfig
from engine.settings.training.train_expert import TrainExpertConfig
from engine.settings.training.train_expert_reading import read_expert_settings
from experts import EXPERTS, Expert
from scenes import Scene, SceneError, needed_views

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
        took += trials.check_footage()
        if budget.seconds is not None:
            experts, seconds = trials.opened_on_frames(experts)
            took += seconds
    tried = Step(step="trials", fixed=took, told=took, taken=took, is_done=True)
    chosen = trials.chosen(experts, clock.left(decoding.seconds))
    if chosen is None:
        raise ConfigError(
            f"--budget {config.budget}: decoding took what the trainings need, or they start too slowly on the "
            "frames; run the command again, then with more time"
        )
    steps = (*before, tried, *((decoding,) if decoding.told >= WORTH_TELLING else ()), *chosen.steps)
    return Plan(
        budget=config.budget, data_args=config.data_args, experts=experts, steps=steps, run_bytes=chosen.run_bytes
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


def _reason(further: Chosen | None, least: float, *, alone: bool) -> str:
    """Why an expert is left out. further: the run with it; None: it does not fit. least: the share it has to keep."""
    if further is None:
        return "its shortest training does not fit the budget" if alone else "a run with it does not fit the budget"
    return (
        f"with it trainings would have {further.share:.0%} of the iterations of the preset fast, less than {least:.0%}"
    )


def _warn_of(name: str, error: Exception) -> None:
    logger.warning("%s cannot be trained: %s", name, error)


class Trials:
    """Trials of experts in the order of their worth, and of mixtures of those that were tried."""

    def __init__(self, settings: TrainExpertConfig, scene: Scene, compute: ComputeDevice, command: SceneTrial) -> None:
        self._settings = settings
        self.scene = scene
        self.compute = compute
        self.command = command
        self._experts: dict[str, ExpertTrial] = {}
        self._models: dict[str, Expert] = {}
        self._mixtures: dict[tuple[str, ...], MixtureTrial] = {}
        self._longest = A_TRIAL  # seconds of an expert's

    @property
    def tried(self) -> Sequence[ExpertTrial]:
        """The experts that were tried, by their worth."""
        return list(self._experts.values())

    def choose(self, left: Callable[[], Budget]) -> tuple[str, ...]:
        """The experts whose run fits the budget; none where not even one does. It ends when their time is over."""
        kept: tuple[str, ...] = ()
        share = 0.0  # of the preset fast
        for name, least in WORTH.items():
            if kept and share < least:  # one more would leave even less
                break
            if not has_time(left(), self.command.command, self._longest):
                break
            if not self._try(name, left().gpu_bytes):
                continue
            further = self.chosen((*kept, name), left())
            if further is not None and further.share >= least:
                kept, share = (*kept, name), further.share
            else:
                logger.info("%s is left out: %s", name, _reason(further, least, alone=not kept))
        return kept

    def chosen(self, names: tuple[str, ...], left: Budget) -> Chosen | None:
        """The steps of a run of some experts; None where they do not fit."""
        mixture = self._mixture(names) if len(names) > 1 else None
        return choose([self._experts[name] for name in names], mixture, self.command, left)

    def check_footage(self) -> float:
        """Warns of the frames as every training does, and adds the time of it to each command; that time, seconds."""
        start = perf_counter()
        warn_of_frames(self.scene)
        seconds = perf_counter() - start
        self.command = replace(self.command, command=self.command.command + seconds)
        return seconds

    def opened_on_frames(self, names: Sequence[str]) -> tuple[tuple[str, ...], float]:
        """The experts that open on the decoded frames, too, and the time of it, seconds.

        What that takes beyond black frames is added to them. One that fails is left out, with a warning; ConfigError
        where all fail.
        """
        began, opened = perf_counter(), []
        for name in names:
            try:
                if self._experts[name].blind is not None:
                    seconds = opening_on_frames(self._settings, EXPERTS[name], self.scene, self.compute)
                    self._experts[name] = self._experts[name].opened_in(seconds)
                opened.append(name)
            except (ConfigError, SceneError) as error:
                _warn_of(name, error)
        if not opened:
            raise ConfigError(f"none of {', '.join(names)} can be trained on the frames; the warnings above say why")
        return tuple(opened), perf_counter() - began

    def _try(self, name: str, gpu_bytes: float | None) -> bool:
        """Tries an expert; False, with a warning, where it cannot be trained on the scene."""
        start = perf_counter()
        try:
            trial, model = try_expert(self._settings, EXPERTS[name], self.scene, self.compute, gpu_bytes=gpu_bytes)
        except (ConfigError, SceneError) as error:
            _warn_of(name, error)
            return False
        took = perf_counter() - start
        self._longest = max(self._longest, took)
        self._experts[name], self._models[name] = trial, model
        logger.info(
            "%s: %.1f to %.1f ms an iteration with %s to %s Gaussians; its trial took %s",
            name,
            *(1000 * trial.iteration.at(density * trial.pixels) for density in (DENSITIES[-1], DENSITIES[0])),
            *(f"{density * trial.pixels:,.0f}" for density in (DENSITIES[-1], DENSITIES[0])),
            duration(took),
        )
        return True

    def _mixture(self, names: tuple[str, ...]) -> MixtureTrial:
        if names not in self._mixtures:
            models = [self._models[name] for name in names]
            self._mixtures[names] = try_mixture(models, AnyRunConfig(), self.scene, self.compute)
        return self._mixtures[names]
