"""A FreeTime model before its training: raw tensors from activated values, and values from start points alone."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from experts.canonical.gaussians import CanonicalGaussians
from experts.formats.harmonics import split_sh
from experts.freetime.model import FreeTime
from experts.freetime.recipe import PUBLISHED_RAW_GATE, FreeTimeRecipe
from experts.training.initial import identity_quats, sh_from_colours

LASTING_GATE = 0.5  # above it, a start means a Gaussian to be there all the time
LASTING_CLIPS = 3.0  # a life's standard deviation in clips for such ones, in models without gates
_EDGE = 1e-4  # distance of a share from 0 and 1, where its logit is infinite
_LONGEST_SHARE = 0.9  # of the longest width that a first one has: it can still grow, and has a gradient


class StartValues(Protocol):
    """Gaussians that a training begins with, activated; time in frames."""

    @property
    def means(self) -> Tensor: ...  # [n, 3]
    @property
    def colours(self) -> Tensor: ...  # [n, 3] in 0 ... 1
    @property
    def scales(self) -> Tensor: ...  # [n, 3]
    @property
    def opacities(self) -> Tensor: ...  # [n]
    @property
    def times(self) -> Tensor: ...  # [n]
    @property
    def durations(self) -> Tensor: ...  # [n] standard deviations
    @property
    def velocities(self) -> Tensor: ...  # [n, 3] scene units per frame
    @property
    def gates(self) -> Tensor: ...  # [n] in 0 ... 1


@torch.no_grad()
def model_from_start(start: StartValues, recipe: FreeTimeRecipe, num_frames: int) -> FreeTime:
    """The untrained model of a recipe's kind, on the start's device.

    Without gates, what a start's gate would hold there gets a life of three clips instead.
    """
    life = recipe.life()
    count, device = len(start.means), start.means.device
    durations = start.durations
    if not life.has_gate:
        durations = torch.where(start.gates > LASTING_GATE, LASTING_CLIPS * num_frames, durations)
    widths = durations.log() if life.limit is None else _logits(durations / life.limit, highest=_LONGEST_SHARE)
    gates = _logits(start.gates) / life.sharpness if recipe.gate == "ours" else torch.zeros_like(start.times)
    if recipe.gate == "published":
        gates = torch.full_like(start.times, PUBLISHED_RAW_GATE)
    velocities = start.velocities if recipe.velocities == "neighbours" else torch.zeros_like(start.velocities)
    gaussians = CanonicalGaussians(
        means=start.means.clone(),
        log_scales=start.scales.log(),
        quats=identity_quats(count).to(device),
        opacity_logits=_logits(start.opacities),
        **split_sh(sh_from_colours(start.colours)),
    )
    flat = life.kernel == "flat"
    return FreeTime(
        gaussians=gaussians,
        times=start.times.clone(),
        widths=widths,
        velocities=velocities.clone(),
        gates=gates,
        log_holds=torch.full_like(start.times, recipe.first_hold).log() if flat else None,
        settings=life,
        num_frames=num_frames,
    )


def _logits(shares: Tensor, *, highest: float = 1 - _EDGE) -> Tensor:
    return shares.clamp(_EDGE, highest).logit()
