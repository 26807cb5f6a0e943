"""Trainers of a run's loaded experts, as their recipes ended: for training further."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from moegs_rasterizer import RasterizerError

from engine.checks.experts import EXPERT_REPORT
from engine.errors import ConfigError
from engine.evaluation.provenance import model_folder
from engine.runs.run import Run
from engine.settings.parsing.config_file import read_object
from engine.settings.training.recipe import settings_of, with_settings
from engine.settings.training.train_expert import AUTO
from engine.training.expert.choice import choose_preset
from experts import EXPERTS, Expert, ExpertSpec
from experts.base import DivergedError
from experts.formats.cfg_args import read_cfg_args
from experts.formats.settings import PRESET
from experts.training.generalisation.settings import Generalisation
from experts.training.recipes.recipe import Recipe, scaled_recipe
from experts.training.trainer import ExpertTrainer
from experts.training.views import TrainingViews
from experts.windows.model import WindowedExpert
from router import kind_of

MOST_DEGREE = 3  # of spherical harmonics in any expert


def trainers_of(
    expert: Expert, run: Run, views: TrainingViews, *, seed: int, all_degrees: bool = False
) -> Iterator[ExpertTrainer]:
    """A trainer of the expert, or one of each of its segments in their order; it trains the expert in place.

    all_degrees: without the muting of harmonics that the expert's training did not show. Raises ConfigError for an
    expert that cannot be trained.
    """
    check_trainable(expert, run.scene.num_frames)
    spec = EXPERTS[kind_of(expert.name)]
    recipe = recipe_of(expert, spec, run)
    recipe = replace(recipe, sh_degree=MOST_DEGREE) if all_degrees else recipe
    try:
        for model in [expert] if spec.segments is None else spec.segments.models(expert):
            trainer = spec.training.trainer(model, recipe, extent=run.scene.rig_radius, views=views, seed=seed)
            trainer.backend = run.backend
            yield trainer
    except ValueError as error:
        raise ConfigError(f"{expert.name} cannot be trained further: {error}") from error


def check_trainable(expert: Expert, num_frames: int) -> None:
    """Raises ConfigError for an expert of windows, and for one whose segments go beyond a clip of so many frames."""
    if isinstance(expert, WindowedExpert):
        raise ConfigError(f"{expert.name} is of windows, which cannot be trained further together; train them again")
    segments = EXPERTS[kind_of(expert.name)].segments
    frames = 0 if segments is None else sum(model.num_frames for model in segments.models(expert))
    if frames > num_frames:
        raise ConfigError(
            f"{expert.name} cannot be trained further: its last segment ends at frame {frames - 1}, the run's clip at "
            f"{num_frames - 1}; give another --expert to distill, or --tune router to prune, or train the router "
            f"again on {frames} frames"
        )


def recipe_of(expert: Expert, spec: ExpertSpec, run: Run) -> Recipe:
    """The recipe by which an expert was trained, as its report tells; else its preset's, else that of the scene.

    Without what is no part of the loss: measures of the table `generalise`, and backgrounds of random colours.
    Harmonics of degrees that the expert does not use stay out of use.
    """
    folder = model_folder(expert.provenance.files[0])
    path = folder / EXPERT_REPORT
    report = read_object(path) if path.is_file() else {}
    asked = str(report.get("preset") or (read_cfg_args(folder) or {}).get(PRESET) or AUTO)
    _, preset = choose_preset(spec, asked, scene=run.scene.name, layout=run.scene.layout)
    recipe: Recipe = preset.recipe
    told: dict[str, Any] = report.get("settings") or {}
    if "iterations" in told:
        recipe = scaled_recipe(recipe, int(told["iterations"]))
    known = settings_of(recipe)
    recipe = with_settings(recipe, {key: value for key, value in told.items() if key in known}, where=str(path))
    degree = min(recipe.active_degree(recipe.iterations), degree_in_use(expert, run.scene.num_frames // 2))
    return replace(recipe, background="own", generalise=Generalisation(), sh_degree=degree)


@torch.no_grad()
def degree_in_use(expert: Expert, frame: int) -> int:
    """The highest degree of spherical harmonics that is not 0 in all Gaussians of a frame."""
    harmonics = expert.at(frame).sh
    if harmonics is None or harmonics.numel() == 0:
        return 0
    used = harmonics.abs().amax(dim=(0, 2)).nonzero()
    return math.isqrt(int(used.max())) if len(used) else 0


@contextmanager
def divergence_told(what: str) -> Iterator[None]:
    """Turns the rasterizer's refusal of a training's Gaussians, which were fine before, into a DivergedError."""
    try:
        yield
    except RasterizerError as error:
        fault = str(error).split(";")[0]  # its advice is for files
        raise DivergedError(f"{what} diverged ({fault}); give a smaller --rate") from error


def set_last_rates(optimisers: Sequence[torch.optim.Optimizer], share: float) -> None:
    """Learning rates of trainers' optimisers: the recipe's last ones times a share."""
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = share * group["last"]
