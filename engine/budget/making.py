"""The making of a plan: preparation, trials, decoding, and the choice."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from time import perf_counter

from common.cores import usable_cores
from common.text.wording import bytes_text, duration
from engine.budget.choice import DENSITIES, TARGET, WORTH, Chosen, choose
from engine.budget.measured import ExpertTrial, MixtureTrial, SceneTrial
from engine.budget.plan import Plan, Step
from engine.budget.planned_scene import scene_of
from engine.budget.start_up import StartUp, try_start_up
from engine.budget.trials import try_expert, try_mixture
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
from engine.settings.training.train_expert import TrainExpertConfig, read_expert_settings
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
    before = _prepared(config, jobs, prepare)
    settings = _training_settings(jobs)
    compute = open_compute_device(settings.machine.device, settings.machine.backend)
    check_rasterizer(compute)  # raises what the start of a command would end with
    started = try_start_up(settings.machine)
    starting = started.packages  # this command started, too
    trials = _opened_trials(settings, compute, started)
    budget = _with_memory(read_budget(config.budget), trials.compute)
    decoding = _decoding(trials.scene)

    def left() -> Budget:
        gone = starting + perf_counter() - begun + decoding.seconds
        return budget if budget.seconds is None else replace(budget, seconds=max(0.0, TARGET * budget.seconds - gone))

    experts, _ = trials.choose(left)
    took = starting + perf_counter() - begun - sum(step.taken or 0.0 for step in before)
    if not config.plan:
        decoding = _decoded(trials.scene, decoding)
        took += trials.check_footage()
    tried = Step(step="trials", fixed=took, told=took, taken=took, is_done=True)
    chosen = trials.chosen(experts, left())
    if chosen is None:
        raise ConfigError(f"--budget {config.budget}: decoding took what the trainings need; run the command again")
    steps = (*before, tried, *((decoding,) if decoding.told >= WORTH_TELLING else ()), *chosen.steps)
    return Plan(
        budget=config.budget, data_args=config.data_args, experts=experts, steps=steps, run_bytes=chosen.run_bytes
    )


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


def _prepared(config: AutoConfig, jobs: list[Job], prepare: Callable[[Job], Step]) -> list[Step]:
    """The step of the preparation, done; none where the scene has all, or it was done before."""
    job = next((job for job in jobs if job.step == "prepare"), None)
    if job is None or job.is_done():
        return []
    if config.plan:
        raise ConfigError(f"{config.scene}: a plan needs cameras and start points; first run {job.command}")
    return [prepare(job)]


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

    def choose(self, left: Callable[[], Budget]) -> tuple[tuple[str, ...], Chosen]:
        """The experts whose run fits the budget, and the steps; ConfigError where not even one does."""
        kept: tuple[str, ...] = ()
        chosen: Chosen | None = None
        for name, least in WORTH.items():
            if chosen is not None and chosen.share < least:  # one more would leave even less
                break
            if not self._try(name, left().gpu_bytes):
                continue
            further = self.chosen((*kept, name), left())
            logger.debug("%s: share %s of the preset fast", "+".join((*kept, name)), further and further.share)
            if further is not None and further.share >= least:
                kept, chosen = (*kept, name), further
        if chosen is None:
            raise ConfigError(
                f"the budget is too small for any expert: left after the trials: {left()}; give more "
                "time, memory or MB, or a lower --resolution in --data_args"
            )
        return kept, chosen

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

    def _try(self, name: str, gpu_bytes: float | None) -> bool:
        """Tries an expert; False, with a warning, where it cannot be trained on the scene."""
        start = perf_counter()
        try:
            trial, model = try_expert(self._settings, EXPERTS[name], self.scene, self.compute, gpu_bytes=gpu_bytes)
        except (ConfigError, SceneError) as error:
            logger.warning("%s cannot be trained: %s", name, error)
            return False
        self._experts[name], self._models[name] = trial, model
        logger.info(
            "%s: %.1f to %.1f ms an iteration with %s to %s Gaussians; its trial took %s",
            name,
            *(1000 * trial.iteration.at(density * trial.pixels) for density in (DENSITIES[-1], DENSITIES[0])),
            *(f"{density * trial.pixels:,.0f}" for density in (DENSITIES[-1], DENSITIES[0])),
            duration(perf_counter() - start),
        )
        return True

    def _mixture(self, names: tuple[str, ...]) -> MixtureTrial:
        if names not in self._mixtures:
            models = [self._models[name] for name in names]
            self._mixtures[names] = try_mixture(models, AnyRunConfig(), self.scene, self.compute)
        return self._mixtures[names]
