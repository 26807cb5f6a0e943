"""Stage 2's schedule: the image and the learning rates of each iteration."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import count

import torch

from common import ranks
from engine.settings.training.run import TrainingConfig
from engine.training.router.fused_radam import FusedRAdam
from experts.training.recipes.rates import scale_to_batch
from router import Router
from scenes import Scene

DECAY = 0.01  # of the base and directional weights' rate, reached after
DECAY_ITERATIONS = 10_000  # iterations
ROUTER_SHARE = 0.5  # of iterations at the router's own cameras, where there are any to learn from
_EPOCH_STRIDE = 1_000_003  # keeps the seeds of different runs' epochs apart


def images_a_step(training: TrainingConfig) -> int:
    """Images of a training step, over all ranks. An iteration is an image, so a step is as many iterations."""
    return training.batch * ranks.count()


def reached(iteration: int, *, start: int, images: int) -> int:
    """The iteration at the end of the step that an iteration falls into, for steps of several images from `start` on.

    One that was done before stays as it is.
    """
    return iteration if iteration <= start else start + images * -(-(iteration - start) // images)


def learned_cameras(scene: Scene) -> tuple[int, ...]:
    """The router's own cameras to learn from: all that the experts left to it but the judge."""
    return scene.router[:-1]


def judge_camera(scene: Scene) -> int | None:
    """The camera that neither experts nor router learn from, the last one chosen; None where none was left to it."""
    return scene.router[-1] if scene.router else None


def router_pairs(
    views: Sequence[int], own: Sequence[int], num_frames: int, start: int = 0, *, seed: int
) -> Iterator[tuple[int, int]]:
    """Endless (view, frame) pairs: a share ROUTER_SHARE at the router's own cameras, evenly in between the others.

    Pair number `start` comes first. Both kinds follow from the seed and the number of the pair alone.
    """
    if not own:
        yield from training_pairs(views, num_frames, seed=seed, start=start)  # without an end
    before = _own_before(start)
    of_own = training_pairs(own, num_frames, seed=seed, start=before)
    of_others = training_pairs(views, num_frames, seed=seed, start=start - before)
    for number in count(start):
        yield next(of_own if _own_before(number + 1) > _own_before(number) else of_others)


def _own_before(number: int) -> int:
    """How many of the pairs before one are at the router's own cameras."""
    return math.floor(number * ROUTER_SHARE)


def training_pairs(views: Sequence[int], num_frames: int, *, seed: int, start: int = 0) -> Iterator[tuple[int, int]]:
    """Endless (view, frame) pairs, all of them in shuffled order, then all again in a new order.

    Pair number `start` comes first. Every epoch's order follows from the seed and the epoch alone, so that a resumed
    run goes on exactly where it stopped.
    """
    pairs = len(views) * num_frames
    epoch, position = divmod(start, pairs)
    while True:
        generator = torch.Generator().manual_seed(seed * _EPOCH_STRIDE + epoch)
        for index in torch.randperm(pairs, generator=generator)[position:].tolist():
            yield views[index // num_frames], index % num_frames
        epoch, position = epoch + 1, 0


def make_optimiser(router: Router, training: TrainingConfig) -> torch.optim.RAdam:
    """RAdam with one group per kind of parameter; the rates are those of MoE-GS's flags, and that of the cues.

    Where a step has several images, rates and moments are those of as many steps of one (`scale_to_batch`).
    """
    groups = [
        {"name": "static", "params": list(router.features.static), "lr": training.featuret_lr},
        {"name": "temporal", "params": list(router.features.temporal), "lr": training.feature_lr},
        {"name": "head", "params": list(router.head.parameters()), "lr": training.rgb_lr},
    ]
    if router.cues is not None:
        groups.append({"name": "cues", "params": list(router.cues.parameters()), "lr": training.cue_lr})
    if len(router.pictures):
        groups.append({"name": "pictures", "params": list(router.pictures.parameters()), "lr": training.rgb_lr})
    # The choice: torch.optim.RAdam takes the same steps up to rounding, in more launches.
    optimiser = FusedRAdam(groups) if next(router.parameters()).is_cuda else torch.optim.RAdam(groups)
    if (images := images_a_step(training)) > 1:
        scale_to_batch(optimiser, images)
    return optimiser


def set_router_rates(optimiser: torch.optim.Optimizer, training: TrainingConfig, iteration: int) -> None:
    """Sets the rates of an iteration, counted from 1: that of base and directional weights decays exponentially."""
    for group in optimiser.param_groups:
        if group["name"] == "static":
            rate = training.featuret_lr * math.sqrt(images_a_step(training))
            group["lr"] = rate * DECAY ** min(iteration / DECAY_ITERATIONS, 1.0)
