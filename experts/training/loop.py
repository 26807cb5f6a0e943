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
from experts.training.samplers import Shot
from experts.training.trainer import Course, Seen, added

READ_EVERY = 20  # iterations between readings of the loss: reading one waits for the GPU


class DivergedError(RuntimeError):
    """A training whose loss is no longer finite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """An iteration that is done."""

    iteration: int
    gaussians: int
    psnr: float | None = None  # of the last training picture, every READ_EVERY iterations
    loss: float | None = None


def train(
    course: Course, *, start: int = 0, backend: Backend = "auto", correction: ColourCorrection | None = None
) -> Iterator[Step]:
    """Trains from the iteration after `start` to the recipe's last, one step at a time.

    The optimiser steps before Gaussians are added or removed (3DGS does it after, so that what was replaced misses a
    step). Raises DivergedError where a loss that is read is not finite.
    """
    recipe = course.recipe
    for iteration in range(start + 1, recipe.iterations + 1):
        course.begin(iteration)
        seen, loss = _backward(course, iteration, backend=backend, correction=correction)
        with torch.no_grad():
            course.observe(seen, iteration)
            course.optimiser.step()
            course.optimiser.zero_grad(set_to_none=True)
            if correction is not None:
                correction.step(iteration / recipe.iterations)
            course.control(iteration)
        yield _step(course, iteration, loss, seen[-1])


def _backward(
    course: Course, iteration: int, *, backend: Backend, correction: ColourCorrection | None
) -> tuple[list[Seen], Tensor]:
    """The iteration's pictures and the mean of their losses, whose gradients are left in the parameters.

    Pictures of one moment share the model's pass, and one pass back: small models wait for the launch of operators.
    """
    shots = course.shots(iteration)
    moments = [tuple(group) for _, group in groupby(shots, key=lambda shot: course.moment(shot, iteration))]
    seen: list[Seen] = []
    loss = torch.zeros((), device=course.device)
    for index, moment in enumerate(moments):
        gaussians = course.gaussians(moment[0], iteration)
        pictures = [
            _render(course, gaussians, shot, iteration, backend=backend, correction=correction) for shot in moment
        ]
        part = course.loss(pictures, iteration) / len(shots)
        extras = _extras(course, iteration, correction) if index == len(moments) - 1 else []
        added([part, *extras]).backward()
        loss = loss + part.detach()
        seen.extend(pictures)
    return seen, loss


def _extras(course: Course, iteration: int, correction: ColourCorrection | None) -> list[Tensor]:
    """What is added to the loss once an iteration."""
    extras = (course.regulariser(iteration), correction.regulariser() if correction else None)
    return [extra for extra in extras if extra is not None]


def _render(
    course: Course,
    gaussians: Gaussians,
    shot: Shot,
    iteration: int,
    *,
    backend: Backend,
    correction: ColourCorrection | None,
) -> Seen:
    features = course.features(gaussians, iteration)
    background = course.background()
    if features is not None:
        background = torch.cat([background, features.new_zeros(features.shape[1])])
    camera = course.footage.cameras[shot.view]
    layer = Layer(gaussians=gaussians, settings=course.model.settings, background=background, features=features)
    splat = rasterize([layer], camera, grad="full", backend=backend, deterministic=True)[0]
    splat.means2d.retain_grad()
    image = course.model.colour(splat, camera, frame=shot.frame)
    return Seen(
        shot=shot,
        camera=camera,
        gaussians=gaussians,
        splat=splat,
        features=features,
        image=image if correction is None else correction(image, shot.view),
        target=course.footage.image(shot),
    )


def _step(course: Course, iteration: int, loss: Tensor, seen: Seen) -> Step:
    if iteration % READ_EVERY and iteration != course.recipe.iterations:
        return Step(iteration=iteration, gaussians=course.count)
    squared = (seen.image.detach().clamp(0, 1) - seen.target).square().mean()
    value, psnr = torch.stack([loss, -10 * squared.log10()]).tolist()
    if not value < float("inf"):
        raise DivergedError(
            f"{course.name}: the loss is {value} at iteration {iteration}; lower the learning rates, or look for "
            "pictures and start points that do not belong together"
        )
    return Step(iteration=iteration, gaussians=course.count, psnr=psnr, loss=value)
