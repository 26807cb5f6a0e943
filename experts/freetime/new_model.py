"""A FreeTime model before its training: raw tensors from the activated values of a start."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from experts.canonical.gaussians import CanonicalGaussians
from experts.formats.harmonics import split_sh
from experts.freetime.model import FreeTime
from experts.freetime.rays import check_rays
from experts.freetime.recipe import PUBLISHED_RAW_GATE, FreeTimeRecipe, MovingSource
from experts.freetime.starts.first_gaussians import FreeTimeStart, free_time_start
from experts.freetime.starts.keyframes import Moving
from experts.training.gaussians.initial import identity_quats, sh_from_colours
from experts.training.start import TrainingStart

logger = logging.getLogger(__name__)

# where the first Gaussians that move come from, by a recipe's `moving`
_STARTS: Mapping[MovingSource, Moving | None] = MappingProxyType(
    {"auto": None, "clouds": "clouds", "sweep": "sweep", "rays": "none", "none": "none"}
)
_EDGE = 1e-4  # distance of a share from 0 and 1, where its logit is infinite
_LONGEST_SHARE = 0.9  # of the longest width that a first one has: it can still grow, and has a gradient


def start_model(recipe: FreeTimeRecipe, start: TrainingStart) -> FreeTime:
    """The model that training starts from, on the points' device; raises ValueError where there are no points.

    Every seed of a training has the same one: its means are the scene's depths for measures against over-fitting.
    """
    if recipe.moving == "rays":
        check_rays(start.views, recipe.rays_at, iterations=recipe.iterations)
    values = free_time_start(
        start,
        count=recipe.budget(max(camera.width * camera.height for camera in start.views.cameras)),
        keyframe_every=recipe.keyframe_every,
        moving=_STARTS[recipe.moving],
        velocities="neighbours" if recipe.velocities == "neighbours" else "zero",
        has_gates=recipe.gate != "none",
        seed=0,
    )
    if recipe.moving == "rays":
        logger.info("start: what moves comes along rays after iterations %s", ", ".join(map(str, recipe.rays_at)))
    return model_from_start(values, recipe, start.views.num_frames)


@torch.no_grad()
def model_from_start(start: FreeTimeStart, recipe: FreeTimeRecipe, num_frames: int) -> FreeTime:
    """The untrained model of a recipe's kind, on the start's device, with the start's velocities."""
    life = recipe.life()
    count, device = len(start.means), start.means.device
    lives = start.durations
    widths = lives.log() if life.limit is None else _logits(lives / life.limit, highest=_LONGEST_SHARE)
    gates = _logits(start.gates) / life.sharpness if recipe.gate == "ours" else torch.zeros_like(start.times)
    if recipe.gate == "published":
        gates = torch.full_like(start.times, PUBLISHED_RAW_GATE)
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
        velocities=start.velocities.clone(),
        gates=gates,
        log_holds=torch.full_like(start.times, recipe.first_hold).log() if flat else None,
        settings=life,
        num_frames=num_frames,
    )


def _logits(shares: Tensor, *, highest: float = 1 - _EDGE) -> Tensor:
    return shares.clamp(_EDGE, highest).logit()
