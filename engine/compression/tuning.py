"""Training of a pruned run: its router, and the Gaussians that are left."""

from __future__ import annotations

from collections.abc import Container, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from moegs_rasterizer.types import Grad
from torch import nn

from engine.compression.trainers import divergence_told, set_last_rates, trainers_of
from engine.errors import ConfigError
from engine.runs.run import Run
from engine.settings.parsing.fields import with_values
from engine.settings.training.run import RunConfig
from engine.training.expert.scene_views import SceneViews
from engine.training.loop import Schedule, train
from engine.training.progress import Reading
from engine.training.router.judge import judged, with_judgement
from engine.training.router.schedule import make_optimiser
from engine.training.router.task import RouterTask
from experts import Expert
from experts.rows import HasRowModules

FALL = 0.1  # learning rates at the last iteration over those at the first


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """Settings by which a pruned run is trained."""

    what: Literal["router", "all"]  # all: the router and what every Gaussian has of its own; networks stay
    iterations: int
    rate: float = 1.0  # learning rates of Gaussians over the last ones of their expert's recipe
    falls: bool = True  # they fall to FALL of that


class TuningTask(RouterTask):
    """A run's router in training with the experts' Gaussians, by the loss of the blended image.

    At the router's own cameras the router alone learns: the experts have not seen them.
    """

    name = "router and Gaussians"
    grad: ClassVar[Grad] = "full"

    def __init__(
        self, run: Run, optimiser: torch.optim.Optimizer, config: RunConfig, *, start: int, tuning: Tuning
    ) -> None:
        super().__init__(run, optimiser, config, start=start)
        self._tuning = tuning
        views = SceneViews(run.scene, device=run.device)
        with closing(views):
            trainers = [
                one for expert in run.experts for one in trainers_of(expert, run, views, seed=0, all_degrees=True)
            ]
        self._optimisers = [trainer.optimiser for trainer in trainers]
        own = {id(parameter) for expert in run.experts for parameter in row_parameters(expert)}
        for optimiser in self._optimisers:
            _leave_only(optimiser, own)

    def update(self, iteration: int) -> Sequence[Reading]:
        """Moves the router's weights and the experts' parameters."""
        done = (iteration - self.start) / self._tuning.iterations if self._tuning.falls else 0.0
        set_last_rates(self._optimisers, self._tuning.rate * FALL**done)
        for optimiser in self._optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        return super().update(iteration)

    def is_finite(self) -> bool:
        """True where the router and the experts hold finite numbers alone."""
        experts = (parameter for expert in self.run.experts for parameter in _module(expert).parameters())
        return super().is_finite() and all(bool(parameter.isfinite().all()) for parameter in experts)


def tuned(run: Run, config: RunConfig, tuning: Tuning, *, quiet: bool) -> Run | None:
    """The run after more iterations, its router and experts changed in place; None where a signal interrupted it.

    config: the settings it was trained with. Raises ConfigError for experts that cannot be trained, and where values
    are not finite any more; DivergedError where no image can be made of them.
    """
    last = run.iteration + tuning.iterations
    config = with_values(config, {"iterations": last, "batch": 1, "lambda_lpips": 0.0})
    run.router.train().requires_grad_(True)
    optimiser = make_optimiser(run.router, config.training)
    task = (
        RouterTask(run, optimiser, config, start=run.iteration)
        if tuning.what == "router"
        else TuningTask(run, optimiser, config, start=run.iteration, tuning=tuning)
    )
    with divergence_told("the tuning"):
        if not train(task, Schedule(start=run.iteration, last=last, saves=(), evaluations=()), quiet=quiet):
            return None
    if not task.is_finite():
        raise ConfigError("the tuning left values that are not finite; give a smaller --rate")
    for module in (run.router, *map(_module, run.experts)):
        module.eval().requires_grad_(False)
    seconds = (run.training_seconds or 0.0) + task.seconds
    return with_judgement(replace(run, iteration=last, training_seconds=seconds), judged(run))


def row_parameters(expert: Expert) -> list[nn.Parameter]:
    """Parameters of an expert that have a row a Gaussian."""
    assert isinstance(expert, HasRowModules)
    modules = (module for block in expert.row_modules for module in block)
    return [parameter for module in modules for parameter in module.parameters(recurse=False)]


def _leave_only(optimiser: torch.optim.Optimizer, kept: Container[int]) -> None:
    """Takes all but some parameters, by their ids, out of an optimiser and out of the pass back."""
    for group in optimiser.param_groups:
        for parameter in group["params"]:
            parameter.requires_grad_(id(parameter) in kept)
        group["params"] = [parameter for parameter in group["params"] if parameter.requires_grad]
    optimiser.param_groups[:] = [group for group in optimiser.param_groups if group["params"]]


def _module(expert: Expert) -> nn.Module:
    assert isinstance(expert, nn.Module)
    return expert
