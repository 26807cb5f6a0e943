"""Distillation: one expert of a run learns from the frozen mixture, so that it comes nearer to it alone (MoE-GS)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from common.progress import Progress
from common.tensors import constant
from engine.checks.experts import EXPERT_REPORT
from engine.compression.teacher import Lesson, TaughtSampler, TaughtViews
from engine.errors import ConfigError
from engine.evaluation.provenance import model_folder
from engine.runs.run import Run
from engine.settings.config_file import read_object
from engine.settings.recipe import settings_of, with_settings
from engine.settings.train_expert import AUTO
from engine.training.expert.choice import choose_preset
from experts import EXPERTS, Expert, ExpertSpec
from experts.base import DivergedError
from experts.formats.cfg_args import read_cfg_args
from experts.formats.settings import PRESET
from experts.training.generalisation.settings import Generalisation
from experts.training.recipe import Recipe, scaled_recipe
from experts.training.rendered import RenderedView, render
from experts.training.samplers import Sample
from experts.training.trainer import AHEAD, ExpertTrainer
from losses import photometric
from router import kind_of

READ_EVERY = 20  # iterations between readings of the loss: reading one waits for the GPU
FALL = 0.1  # learning rates at the last iteration over those at the first


@dataclass(frozen=True, slots=True, kw_only=True)
class Distillation:
    """Settings by which an expert learns from a mixture."""

    iterations: int  # of each segment
    weight: float  # lambda: of the loss of the truth, 0 ... 1
    novel_share: float  # of the images that are novel views, 0 ... 1
    rate: float = 1.0  # learning rates over the last ones of the expert's recipe
    seed: int = 0


def distilled_loss(image: Tensor, truth: Tensor, lesson: Lesson, *, weight: float, l1: float, dssim: float) -> Tensor:
    """weight L(G image, G truth) + (1 - weight) L((1 - G) image, (1 - G) mixture), a scalar (MoE-GS eq. 11).

    L is l1 |a - b| + dssim (1 - SSIM), G the lesson's gate. image and truth [3, h, w].
    """
    gate, rest = lesson.gate, 1 - lesson.gate
    own = photometric(gate * image, gate * truth, l1=l1, dssim=dssim)
    others = photometric(rest * image, rest * lesson.mixture, l1=l1, dssim=dssim)
    return weight * own + (1 - weight) * others


def distil(run: Run, name: str, settings: Distillation, *, progress: bool) -> Expert:
    """A copy of an expert of a run that has learned from the run's mixture; the run stays as it is.

    Its Gaussians stay as many as they were. Raises ConfigError for an expert that cannot be trained, and DivergedError
    where its loss is no longer finite.
    """
    student = deepcopy(next(expert for expert in run.experts if expert.name == name))
    assert isinstance(student, nn.Module)
    spec = EXPERTS[kind_of(name)]
    recipe = recipe_of(student, spec, run)
    with TaughtViews(run, name) as views:
        for model in _models(student, spec):
            try:
                trainer = spec.training.trainer(
                    model, recipe, extent=run.scene.rig_radius, views=views, seed=settings.seed
                )
            except ValueError as error:
                raise ConfigError(f"{name} cannot be distilled: {error}") from error
            trainer.backend = run.backend
            frames = range(run.scene.num_frames) if spec.segments is None else trainer.frames()
            _learn(trainer, views, frames, settings, progress=progress)
    student.eval().requires_grad_(False)
    return student


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


def _models(student: Expert, spec: ExpertSpec) -> Sequence[Expert]:
    """The models that are trained one after the other: the expert, or one of each of its segments."""
    return [student] if spec.segments is None else spec.segments.models(student)


def _learn(
    trainer: ExpertTrainer, views: TaughtViews, frames: range, settings: Distillation, *, progress: bool
) -> None:
    """Trains a model in place; what its recipe does beside the image's loss and the optimiser's step is left out."""
    batch = trainer.recipe.batch
    sampler = TaughtSampler(views, frames, share=settings.novel_share, batch=batch, seed=settings.seed)
    images = [sampler.next(iteration) for iteration in range(1, settings.iterations + 1)]
    for ahead in images[:AHEAD]:
        views.announce(ahead)
    with Progress(f"Distilling {trainer.name}", total=len(images), unit="iteration", shown=progress) as shown:
        for index, samples in enumerate(images):
            for later in images[index + AHEAD : index + AHEAD + 1]:
                views.announce(later)
            _set_rates(trainer.optimiser, settings.rate * FALL ** (index / len(images)))
            loss = torch.zeros((), device=trainer.device)
            for sample in samples:
                part = _loss(trainer, views, sample, settings) / len(samples)
                part.backward()
                loss = loss + part.detach()
            trainer.optimiser.step()
            trainer.optimiser.zero_grad(set_to_none=True)
            last = index + 1 == len(images)
            numbers = {"loss": f"{_read(trainer, loss, index + 1):.4f}"} if last or not index % READ_EVERY else None
            shown.advance(numbers=numbers)
    if not all(bool(parameter.isfinite().all()) for parameter in trainer.model.parameters()):
        raise DivergedError(f"{trainer.name}: values are not finite after the distillation; give a smaller --rate")


def _loss(trainer: ExpertTrainer, views: TaughtViews, sample: Sample, settings: Distillation) -> Tensor:
    recipe = trainer.recipe
    seen = _rendered(trainer, views, sample)
    if not views.is_recorded(sample):
        return photometric(seen.image, seen.target, l1=recipe.l1, dssim=recipe.dssim)
    lesson = views.lesson(sample)
    return distilled_loss(seen.image, seen.target, lesson, weight=settings.weight, l1=recipe.l1, dssim=recipe.dssim)


def _rendered(trainer: ExpertTrainer, views: TaughtViews, sample: Sample) -> RenderedView:
    """The model as it is at the end of its training, with all degrees and stages."""
    gaussians = trainer.gaussians(sample, trainer.recipe.iterations)
    return render(
        trainer.model,
        gaussians,
        sample,
        views,
        features=None,
        background=constant(tuple(trainer.model.background), torch.float32, trainer.device),
        backend=trainer.backend,
        correction=None,
    )


def _set_rates(optimiser: torch.optim.Optimizer, share: float) -> None:
    """Learning rates: the recipe's last ones times a share."""
    for group in optimiser.param_groups:
        group["lr"] = share * group["last"]


def _read(trainer: ExpertTrainer, loss: Tensor, iteration: int) -> float:
    """The loss; raises DivergedError where it is not finite."""
    value = float(loss)
    if not value < math.inf:
        raise DivergedError(
            f"{trainer.name}: the loss is {value} at iteration {iteration} of the distillation; give a smaller --rate"
        )
    return value
