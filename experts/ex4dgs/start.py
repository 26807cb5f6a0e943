"""Start of Ex4DGS's training: static Gaussians on points, no dynamic ones."""

from __future__ import annotations

import torch

from experts.ex4dgs.model import DynamicGaussians, Ex4DGS, StaticGaussians
from experts.ex4dgs.motion import KeyframeTimeline
from experts.ex4dgs.recipe import Ex4DGSRecipe
from experts.formats.harmonics import split_sh
from experts.training.gaussians.initial import identity_quats, logits, neighbour_log_scales, sh_from_colours
from experts.training.start import TrainingStart

_NO_ROWS = {
    "means": (0, 0, 3),
    "quats": (0, 0, 4),
    "log_scales": (0, 3),
    "opacity_logits": (0,),
    "opacity_centres": (0, 2),
    "opacity_log_widths": (0, 2),
    "sh_dc": (0, 1, 3),
    "sh_rest": (0, 15, 3),
}


def start_model(recipe: Ex4DGSRecipe, start: TrainingStart) -> Ex4DGS:
    """Static Gaussians of opacity 0.1 at rest on the start points; no keyframes yet."""
    assert start.planes is not None
    points, scale = start.points, start.world_scale
    means, device = points.positions / scale, points.positions.device
    return Ex4DGS(
        static=StaticGaussians(
            means=means,
            displacements=torch.zeros_like(means),
            log_scales=neighbour_log_scales(means),
            quats=identity_quats(points.count).to(device),
            opacity_logits=logits(points.count).to(device),
            **split_sh(sh_from_colours(points.colours)),
        ),
        dynamic=DynamicGaussians(**{name: torch.zeros(shape, device=device) for name, shape in _NO_ROWS.items()}),
        timeline=KeyframeTimeline(duration=recipe.growth.frames, pad=recipe.time_pad),
        near=start.planes.near / scale,
        far=start.planes.far / scale,
        world_scale=scale,
    )
