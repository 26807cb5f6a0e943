"""The loss of the router."""

from __future__ import annotations

import torch
from torch import Tensor

from engine.evaluation.measures.lpips_network import Lpips
from engine.evaluation.measures.lpips_weights import lpips_of_loss
from engine.runs.run import Run
from engine.settings.training.run import TrainingConfig
from losses import concentration, matched_colours, photometric
from router import Mixture


def router_loss(mixture: Mixture, target: Tensor, training: TrainingConfig, *, lpips: Lpips | None = None) -> Tensor:
    """(1 - lambda) L1 + lambda (1 - SSIM) of the blended image [3, h, w], and a little for unequal gates.

    lpips: the network of training.lambda_lpips, where that is not 0.
    """
    image = matched_colours(mixture.image, target) if training.match_colours else mixture.image
    loss = photometric(image, target, l1=1 - training.lambda_dssim, dssim=training.lambda_dssim)
    if lpips is not None:
        loss = torch.add(loss, lpips(2 * image - 1, 2 * target - 1), alpha=training.lambda_lpips)
    if training.lambda_gates:
        loss = torch.add(loss, concentration(mixture.gates), alpha=training.lambda_gates)
    return loss


def lpips_of(run: Run, training: TrainingConfig) -> Lpips:
    """The network of training.lambda_lpips, for images of a run's training cameras."""
    cameras = [run.scene.views[view].camera for view in run.scene.train]
    return lpips_of_loss(cameras, path=training.lpips_weights, device=run.device, setting="--lambda_lpips")
