"""The training loop: one image, one update, one message."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from engine.errors import ConfigError
from engine.runs.device import wait
from engine.runs.run import Run, mix_camera
from engine.settings.run import TrainingConfig
from engine.training.router_optimiser import set_rates
from engine.training.router_sampler import training_pairs
from losses import concentration, matched_colours, photometric
from scenes import Prefetcher

READ_EVERY = 10  # steps whose numbers are fetched together from a GPU: fetching waits until it has caught up


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one update saw."""

    iteration: int  # counted from 1
    loss: float
    psnr: float  # of the blended image before the update, dB


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One update, and the numbers that became known with it: on a GPU those of several updates, now and then."""

    iteration: int  # counted from 1
    readings: tuple[Reading, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """Numbers of an update that nobody has waited for yet."""

    iteration: int
    shown: str  # "cam03, frame 7"
    loss: Tensor
    error: Tensor  # mean squared


def training_steps(
    run: Run, optimiser: torch.optim.Optimizer, training: TrainingConfig, *, start: int = 0
) -> Generator[Step, None, None]:
    """Trains the router from iteration `start` to the last, yielding after every update.

    Raises ConfigError where the loss is not finite any more: on the CPU before the update, on a GPU some updates later.
    """
    pairs = training_pairs(run.scene.train, run.scene.num_frames, seed=training.seed, start=start)
    order = islice(pairs, training.iterations - start)
    unread: list[_Seen] = []
    with Prefetcher(run.scene, order, device=run.device) as images:
        for iteration, seen in enumerate(images, start + 1):
            set_rates(optimiser, training, iteration)
            loss = _look(run, training, seen, iteration=iteration, unread=unread)
            readings: tuple[Reading, ...] = ()
            if run.device.type == "cpu" or iteration % READ_EVERY == 0 or iteration == training.iterations:
                readings = _read(run, unread)
                unread.clear()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            yield Step(iteration=iteration, readings=readings)


def _look(
    run: Run, training: TrainingConfig, seen: tuple[int, int, Tensor], *, iteration: int, unread: list[_Seen]
) -> Tensor:
    """The loss of an image, with its graph; its numbers join those to be read."""
    view, frame, target = seen
    shown = run.scene.views[view]
    mixture = mix_camera(
        run,
        shown.camera,
        frame,
        camera_number=shown.number,
        temperature=run.router.temperature,
        grad="features",
    )
    image = matched_colours(mixture.image, target) if training.match_colours else mixture.image
    loss = photometric(image, target, l1=1 - training.lambda_dssim, dssim=training.lambda_dssim)
    if training.lambda_gates:
        loss = torch.add(loss, concentration(mixture.gates), alpha=training.lambda_gates)
    error = (mixture.image.detach() - target).square().mean()
    unread.append(_Seen(iteration=iteration, shown=f"{shown.name}, frame {frame}", loss=loss.detach(), error=error))
    return loss


def _read(run: Run, steps: Sequence[_Seen]) -> tuple[Reading, ...]:
    """The numbers of updates, in one transfer; raises ConfigError naming the first whose loss is not finite."""
    wait(run.compute)
    numbers = torch.stack([number for seen in steps for number in (seen.loss, seen.error)]).tolist()
    readings = []
    for seen, loss, error in zip(steps, numbers[::2], numbers[1::2], strict=True):
        if not math.isfinite(loss):
            raise ConfigError(
                f"the loss is {loss} at iteration {seen.iteration} ({seen.shown}): lower the learning rates, or find "
                "the cause with --detect_anomaly"
            )
        readings.append(Reading(iteration=seen.iteration, loss=loss, psnr=-10 * math.log10(max(error, 1e-12))))
    return tuple(readings)
