"""FreeTime models of a few Gaussians, for tests."""

from __future__ import annotations

import torch

from experts.canonical.gaussians import CanonicalGaussians
from experts.formats.harmonics import split_sh
from experts.freetime.model import FreeTime
from experts.freetime.recipe import LifeSettings
from experts.freetime.starts.first_gaussians import FreeTimeStart
from experts.training.gaussians.initial import neighbour_log_scales
from tests.experts.small_clip import NUM_FRAMES as CLIP_FRAMES
from tests.experts.small_clip import small_points

NUM_FRAMES = 11


def small_model(count: int = 6, *, settings: LifeSettings | None = None, seed: int = 0) -> FreeTime:
    """Random Gaussians before the origin, with holds where the kernel is flat."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(count, *shape, generator=generator)

    settings = settings or LifeSettings(limit=5.0)
    return FreeTime(
        gaussians=CanonicalGaussians(
            means=0.3 * normal(3) + torch.tensor([0.0, 0, 4]),
            log_scales=0.3 * normal(3) - 1.5,
            quats=normal(4),
            opacity_logits=normal(),
            **split_sh(0.3 * normal(16, 3)),
        ),
        times=(NUM_FRAMES - 1) * torch.rand(count, generator=generator),
        widths=normal(),
        velocities=0.1 * normal(3),
        gates=normal(),
        log_holds=0.5 * normal() if settings.kernel == "flat" else None,
        settings=settings,
        num_frames=NUM_FRAMES,
    )


def clip_start() -> FreeTimeStart:
    """480 Gaussians on the small clip: 320 on its first frame, 160 on its two bodies at the later ones."""
    points = small_points()
    bodies = sum(points.counts[:1])
    static = torch.arange(0, len(points.tracks), 5).repeat(4)
    moving = torch.arange(bodies, len(points.tracks)).repeat(CLIP_FRAMES - 1)[::5].repeat(2)
    moments = torch.arange(1, CLIP_FRAMES).repeat_interleave(len(points.tracks) - bodies)[::5].repeat(2)
    generator = torch.Generator().manual_seed(0)
    means = torch.cat([points.tracks[static, 0], points.tracks[moving, moments]])
    means = means + 0.03 * torch.randn(means.shape, generator=generator)
    is_static = torch.arange(len(means)) < len(static)
    middle = torch.full((len(static),), (CLIP_FRAMES - 1) / 2)
    return FreeTimeStart(
        means=means,
        colours=points.colours[torch.cat([static, moving])],
        scales=neighbour_log_scales(means).exp(),
        opacities=torch.where(is_static, 0.1, 0.5),
        times=torch.cat([middle, moments.float()]),
        durations=torch.where(is_static, 3.0, 2.0),
        velocities=torch.zeros_like(means),
        gates=torch.where(is_static, 0.9, 0.02),
    )
