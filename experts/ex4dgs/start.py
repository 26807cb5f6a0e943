"""Where Ex4DGS's training starts: static Gaussians on points, no dynamic ones."""

from __future__ import annotations

import torch

from experts.ex4dgs.model import DynamicGaussians, Ex4DGS, StaticGaussians
from experts.ex4dgs.motion import Timeline
from experts.formats.harmonics import split_sh
from experts.training.initial import identity_quats, logits, neighbour_log_scales, sh_from_colours
from experts.training.points import StartPoints

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


def new_ex4dgs(
    points: StartPoints, *, near: float, far: float, time_pad: float = 2, frames: int = 10, world_scale: float = 1.0
) -> Ex4DGS:
    """Ex4DGS's start: static Gaussians of opacity 0.1 at rest on points in data units; no keyframes yet.

    near, far: culling planes in model units. time_pad: frames before frame 0 that belong to the first interpolated
    interval. frames: how many are in training first. world_scale: data units per model unit (Technicolor: the rig's
    radius, else 1).
    """
    means, device = points.positions / world_scale, points.positions.device
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
        timeline=Timeline(duration=frames, pad=time_pad),
        near=near,
        far=far,
        world_scale=world_scale,
    )
