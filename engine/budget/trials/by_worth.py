"""The trials of a plan: experts in the order of their worth, and mixtures of those that were tried."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from time import perf_counter

from common.text.wording import duration
from engine.budget.choice import DENSITIES, WORTH, Chosen, choose
from engine.budget.clock import A_TRIAL, has_time
from engine.budget.measured import ExpertTrial, MixtureTrial, SceneTrial
from engine.budget.trials.experts import opening_on_frames, try_expert
from engine.budget.trials.mixtures import try_mixture
from engine.budget.wanted import Budget
from engine.checks.footage import warn_of_frames
from engine.errors import ConfigError
from engine.runs.device import ComputeDevice
from engine.settings.training.run import AnyRunConfig
from engine.settings.training.train_expert import TrainExpertConfig
from experts import EXPERTS, Expert
from scenes import Scene, SceneError

logger = logging.getLogger(__name__)


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

    def on_frames(self, names: Sequence[str]) -> tuple[tuple[str, ...], float]:
        """The experts that open on the decoded frames, and the time of that and of the frames' check, seconds."""
        seconds = self.check_footage()
        opened, more = self.opened_on_frames(names)
        return opened, seconds + more

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
                if self._experts[name].opening_on_black is not None:
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
