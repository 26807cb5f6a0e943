"""The training loop of stage 1, the same for all experts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

import torch
from moegs_rasterizer import Gaussians, Layer, rasterize
from moegs_rasterizer.types import Backend
from torch import Tensor

from experts.training.colour_correction import ColourCorrection
from experts.training.samplers import Sample
from experts.training.trainer import ExpertTrainer, Seen, added

READ_EVERY = 20  # iterations between readings of the loss: reading one waits for the GPU


class DivergedError(RuntimeError):
    """A training whose loss is no longer finite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """An iteration that is done."""

    iteration: int
    gaussians: int
    psnr: float | None = None  # of the last training image, every READ_EVERY iterations
    loss: float | None = None


def train(
    trainer: ExpertTrainer, *, start: int = 0, backend: Backend = "auto", correction: ColourCorrection | None = None
) -> Iterator[Step]:
    """Trains from the iteration after `start` to the recipe's last, one step at a time.

    The optimiser steps before Gaussians are added or removed (3DGS does it after, so that what was replaced misses a
    step). Raises DivergedError where a loss that is read is not finite.
    """
    recipe = trainer.recipe
    for iteration in range(start + 1, recipe.iterations + 1):
        trainer.begin(iteration)
        seen, loss = _backward(trainer, iteration, backend=backend, correction=correction)
        with torch.no_grad():
            trainer.observe(seen, iteration)
            trainer.optimiser.step()
            trainer.optimiser.zero_grad(set_to_none=True)
            if correction is not None:
                correction.step(iteration / recipe.iterations)
            trainer.control(iteration)
        yield _step(trainer, iteration, loss, seen[-1])


def _backward(
    trainer: ExpertTrainer, iteration: int, *, backend: Backend, correction: ColourCorrection | None
) -> tuple[list[Seen], Tensor]:
    """The iteration's images and the mean of their losses, whose gradients are left in the parameters.

    Images of one moment share the model's pass, and one pass back: small models wait for the launch of operators.
    """
    samples = trainer.samples(iteration)
    moments = [tuple(group) for _, group in groupby(samples, key=lambda sample: trainer.moment(sample, iteration))]
    seen: list[Seen] = []
    loss = torch.zeros((), device=trainer.device)
    for index, moment in enumerate(moments):
        gaussians = trainer.gaussians(moment[0], iteration)
        images = [
            _render(trainer, gaussians, sample, iteration, backend=backend, correction=correction) for sample in moment
        ]
        part = trainer.loss(images, iteration) / len(samples)
        extras = _extras(trainer, iteration, correction) if index == len(moments) - 1 else []
        added([part, *extras]).backward()
        loss = loss + part.detach()
        seen.extend(images)
    return seen, loss


def _extras(trainer: ExpertTrainer, iteration: int, correction: ColourCorrection | None) -> list[Tensor]:
    """What is added to the loss once an iteration."""
    extras = (trainer.regulariser(iteration), correction.regulariser() if correction else None)
    return [extra for extra in extras if extra is not None]


def _render(
    trainer: ExpertTrainer,
    gaussians: Gaussians,
    sample: Sample,
    iteration: int,
    *,
    backend: Backend,
    correction: ColourCorrection | None,
) -> Seen:
    features = trainer.features(gaussians, iteration)
    background = trainer.background()
    if features is not None:
        background = torch.cat([background, features.new_zeros(features.shape[1])])
    camera = trainer.footage.cameras[sample.view]
    layer = Layer(gaussians=gaussians, settings=trainer.model.settings, background=background, features=features)
    splat = rasterize([layer], camera, grad="full", backend=backend, deterministic=True)[0]
    splat.means2d.retain_grad()
    image = trainer.model.colour(splat, camera, frame=sample.frame)
    return Seen(
        sample=sample,
        camera=camera,
        gaussians=gaussians,
        splat=splat,
        features=features,
        image=image if correction is None else correction(image, sample.view),
        target=trainer.footage.image(sample),
    )


def _step(trainer: ExpertTrainer, iteration: int, loss: Tensor, seen: Seen) -> Step:
    if iteration % READ_EVERY and iteration != trainer.recipe.iterations:
        return Step(iteration=iteration, gaussians=trainer.count)
    squared = (seen.image.detach().clamp(0, 1) - seen.target).square().mean()
    value, psnr = torch.stack([loss, -10 * squared.log10()]).tolist()
    if not value < float("inf"):
        raise DivergedError(
            f"{trainer.name}: the loss is {value} at iteration {iteration}; lower the learning rates, or look for "
            "images and start points that do not belong together"
        )
    return Step(iteration=iteration, gaussians=trainer.count, psnr=psnr, loss=value)
