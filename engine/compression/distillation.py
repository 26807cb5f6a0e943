"""Distillation: one expert of a run learns from the frozen mixture, so that it comes nearer to it alone (MoE-GS)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from common.gradients import backward
from common.maths.tensors import constant
from common.text.progress import Progress
from engine.compression.teacher import Lesson, TaughtSampler, TaughtViews
from engine.compression.trainers import divergence_told, set_last_rates, trainers_of
from engine.runs.run import Run
from engine.training.memory import memory_told
from experts import EXPERTS, Expert
from experts.base import DivergedError
from experts.rows import HasRowModules, block_sizes
from experts.training.rendered import RenderedView, render
from experts.training.samplers import Sample
from experts.training.samples_ahead import AHEAD
from experts.training.trainer import ExpertTrainer
from losses import photometric
from router import kind_of

READ_EVERY = 20  # iterations between readings of the loss: reading one waits for the GPU
GROWTHS, GROWN = 40, 0.75  # steps in which Gaussians are added, evenly spread; the last ones are left out from there on
FALL = 0.1  # learning rates at the last iteration over those at the first


@dataclass(frozen=True, slots=True, kw_only=True)
class Distillation:
    """Settings by which an expert learns from a mixture."""

    iterations: int  # of each segment
    weight: float  # lambda: of the loss of the truth, 0 ... 1
    novel_share: float  # of the images that are novel views, 0 ... 1
    rate: float = 1.0  # learning rates over the last ones of the expert's recipe
    max_gaussians: int | None = None  # to which the expert grows; None: it stays as it is
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

    Its Gaussians stay as many as they were, but for settings.max_gaussians. Raises ConfigError for an expert that
    cannot be trained, and DivergedError where its loss is no longer finite.
    """
    student = deepcopy(next(expert for expert in run.experts if expert.name == name))
    assert isinstance(student, nn.Module)
    segments, count = EXPERTS[kind_of(name)].segments, student.num_gaussians
    with TaughtViews(run, name) as views:
        for trainer in trainers_of(student, run, views, seed=settings.seed):
            frames = range(run.scene.num_frames) if segments is None else trainer.frames()
            limit = settings.max_gaussians
            budget = None if limit is None else limit * trainer.count // count
            with divergence_told(f"{name}: the distillation"):
                _learn(trainer, views, frames, settings, budget=budget, progress=progress)
    if settings.max_gaussians is not None:
        _drop_other_rows(student)
    student.eval().requires_grad_(False)
    return student


def _drop_other_rows(expert: Expert) -> None:
    """Takes out buffers of a row a Gaussian that did not grow with the others: rendering does not need them."""
    assert isinstance(expert, HasRowModules)
    for modules, size in zip(expert.row_modules, block_sizes(expert), strict=True):
        for module in modules:
            for name, buffer in list(module.named_buffers(recurse=False)):
                if len(buffer) != size:
                    setattr(module, name, None)


def _learn(
    trainer: ExpertTrainer,
    views: TaughtViews,
    frames: range,
    settings: Distillation,
    *,
    budget: int | None,
    progress: bool,
) -> None:
    """Trains a model in place; what its recipe does beside the image's loss and the optimiser's step is left out.

    budget: Gaussians to which it grows, None where it does not; copies of living ones take the places of faint ones.
    """
    every = max(1, settings.iterations // GROWTHS)
    batch = trainer.recipe.batch
    sampler = TaughtSampler(views, frames, share=settings.novel_share, batch=batch, seed=settings.seed)
    images = [sampler.next(iteration) for iteration in range(1, settings.iterations + 1)]
    for ahead in images[:AHEAD]:
        views.announce(ahead)
    with Progress(f"Distilling {trainer.name}", total=len(images), unit="iteration", shown=progress) as shown:
        for index, samples in enumerate(images):
            for later in images[index + AHEAD : index + AHEAD + 1]:
                views.announce(later)
            set_last_rates([trainer.optimiser], settings.rate * FALL ** (index / len(images)))
            with memory_told(f"iteration {index + 1} of the distillation of {trainer.name}"):
                loss = _trained(trainer, views, samples, settings)
                if budget is not None and (index + 1) % every == 0 and index < GROWN * len(images):
                    trainer.relocate(budget=max(budget, trainer.count))
            last = index + 1 == len(images)
            numbers = {"loss": f"{_read(trainer, loss, index + 1):.4f}"} if last or not index % READ_EVERY else None
            shown.advance(numbers=numbers)
    if not all(bool(parameter.isfinite().all()) for parameter in trainer.model.parameters()):
        raise DivergedError(f"{trainer.name}: values are not finite after the distillation; give a smaller --rate")


def _trained(trainer: ExpertTrainer, views: TaughtViews, samples: Sequence[Sample], settings: Distillation) -> Tensor:
    """The mean loss of an iteration's images, after a step of the optimiser."""
    loss = torch.zeros((), device=trainer.device)
    for sample in samples:
        part = _loss(trainer, views, sample, settings) / len(samples)
        backward(part)
        loss = loss + part.detach()
    trainer.optimiser.step()
    trainer.optimiser.zero_grad(set_to_none=True)
    return loss


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


def _read(trainer: ExpertTrainer, loss: Tensor, iteration: int) -> float:
    """The loss; raises DivergedError where it is not finite."""
    value = float(loss)
    if not value < math.inf:
        raise DivergedError(
            f"{trainer.name}: the loss is {value} at iteration {iteration} of the distillation; give a smaller --rate"
        )
    return value
