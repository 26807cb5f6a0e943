"""The training loop: one picture, one update, one message."""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from engine.config import TrainingConfig
from engine.errors import ConfigError
from engine.run import Run, mix_camera
from engine.sampler import training_pairs
from engine.schedule import set_rates
from router import objective
from scenes import Prefetcher


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one update saw."""

    iteration: int  # counted from 1
    loss: float
    psnr: float  # of the blended picture before the update, dB


def training_steps(
    run: Run, optimiser: torch.optim.Optimizer, training: TrainingConfig, *, start: int = 0
) -> Generator[Step, None, None]:
    """Trains the router from iteration `start` to the last, yielding after every update.

    Raises ConfigError where the loss is not finite any more.
    """
    pairs = training_pairs(run.scene.train, run.scene.num_frames, seed=training.seed, start=start)
    with Prefetcher(run.scene, islice(pairs, training.iterations - start)) as pictures:
        for iteration, (view, frame, target) in enumerate(pictures, start + 1):
            set_rates(optimiser, training, iteration)
            yield _step(run, optimiser, training, iteration=iteration, view=view, frame=frame, target=target)


def _step(
    run: Run,
    optimiser: torch.optim.Optimizer,
    training: TrainingConfig,
    *,
    iteration: int,
    view: int,
    frame: int,
    target: Tensor,
) -> Step:
    shown = run.scene.views[view]
    mixture = mix_camera(
        run,
        shown.camera,
        frame,
        camera_number=shown.number,
        temperature=run.router.temperature,
        grad="features",
    )
    loss = objective(mixture.image, target, lambda_dssim=training.lambda_dssim)
    if not math.isfinite(loss.item()):
        raise ConfigError(
            f"the loss is {loss.item()} at iteration {iteration} ({shown.name}, frame {frame}): lower the learning "
            "rates, or find the cause with --detect_anomaly"
        )
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()
    error = (mixture.image.detach() - target).square().mean().item()
    return Step(iteration=iteration, loss=loss.item(), psnr=-10 * math.log10(max(error, 1e-12)))
