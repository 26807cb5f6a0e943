"""The training loop of stage 1, the same for all experts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from moegs_rasterizer import Layer, rasterize
from moegs_rasterizer.types import Backend
from torch import Tensor

from .colour_correction import ColourCorrection
from .course import Course, Seen
from .shots import Shot

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
        shots = course.shots(iteration)
        seen, loss = [], torch.zeros((), device=course.device)
        for shot in shots:
            one = _render(course, shot, iteration, backend, correction)
            part = course.picture_loss(one, iteration) / len(shots)
            part.backward()
            seen.append(one)
            loss = loss + part.detach()
        for extra in (course.regulariser(iteration), correction.regulariser() if correction else None):
            if extra is not None:
                extra.backward()
        with torch.no_grad():
            course.observe(seen, iteration)
            course.optimiser.step()
            course.optimiser.zero_grad(set_to_none=True)
            if correction is not None:
                correction.step(iteration / recipe.iterations)
            course.control(iteration)
        yield _step(course, iteration, loss, seen[-1])


def _render(course: Course, shot: Shot, iteration: int, backend: Backend, correction: ColourCorrection | None) -> Seen:
    gaussians = course.gaussians(shot, iteration)
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
