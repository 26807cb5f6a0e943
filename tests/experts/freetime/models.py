"""FreeTime models of a few Gaussians, for tests."""

from __future__ import annotations

import torch

from experts.canonical.gaussians import CanonicalGaussians
from experts.formats.harmonics import split_sh
from experts.freetime.life import LifeSettings
from experts.freetime.model import FreeTime

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
