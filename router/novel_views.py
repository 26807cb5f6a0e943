"""Coverage at cameras that nobody trained on: an expert decides by what it covers, and holes can be filled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from experts.base import Expert
from experts.novel_views import NovelViewCulling

LEAST = 0.01  # coverage that an expert without any counts as, so that gates stay finite
RGB = 3
USUAL = 0.01  # quantile of the coverage of training views' pixels
LEAST_USUAL = 1e-3  # so that nothing is a hole where training views show the background, too


@dataclass(frozen=True, slots=True, kw_only=True)
class NovelViews:
    """Rules for cameras that nobody trained on; at training cameras none holds. The paper's router has none."""

    culling: NovelViewCulling | None = None
    coverage_guard: bool = False  # an expert's opacity limits its gate
    hole_colour: tuple[float, float, float] | None = None  # behind all experts in holes; None: each one's own
    usual_coverage: float = 1.0  # mean opacity of the experts that nearly all pixels of training views reach
    towards_mean: float = 0.0  # share of the uniform mean in the gates, 0 ... 1
    fill_holes: bool = False  # holes, which no expert covers, take the colours around them


PLAIN = NovelViews()


def limited_by_coverage(logits: Tensor, alphas: Tensor, *, temperature: float) -> Tensor:
    """Logits [E, h, w] whose gates are the router's times each expert's opacity [E, h, w], divided by their sum.

    Gates follow from routing weights that are splatted with an expert's own Gaussians: where it has none, they are
    the background's, and say nothing. Where all are opaque, or all empty, nothing changes.
    """
    return logits + temperature * torch.log(alphas.clamp_min(LEAST))


def usual_coverage(alphas: Sequence[Tensor]) -> float:
    """The mean opacity over experts that 99 % of the pixels of training views reach. alphas: [E, h, w] of each view."""
    coverage = torch.cat([each.mean(dim=0).flatten() for each in alphas]).float()
    return float(coverage.quantile(USUAL))


def little_covered(alphas: Tensor, usual: float) -> Tensor:
    """The share [h, w] of a hole by the experts' mean opacity [E, h, w]: 0 from `usual` on, 1 at half of it or less.

    Where most experts have nothing, what the others have was hardly seen in training either. Their gates say nothing.
    """
    return 2 - 2 * (alphas.mean(dim=0) / max(usual, LEAST_USUAL)).clamp(0.5, 1)


def holes(alphas: Tensor) -> Tensor:
    """The share [h, w] of what no expert covers: 0 where an opacity [E, h, w] is 0.75 or more, 1 where none is 0.5.

    An expert alone may be see-through where that is right: one trained before black leaves dark things to it.
    """
    return 1 - (4 * alphas.amax(dim=0) - 2).clamp(0, 1)


def on_hole_colour(
    images: Tensor, alphas: Tensor, experts: Sequence[Expert], colour: Sequence[float], *, hole: Tensor
) -> Tensor:
    """Experts' images [E, 3, h, w], in holes with one colour in place of each one's own background.

    Images of experts whose background is no colour stay. hole [h, w]: the share of a hole in each pixel.
    """
    wanted = images.new_tensor(tuple(colour))
    own = [expert.background if len(expert.background) == RGB else None for expert in experts]
    change = torch.stack(
        [torch.zeros_like(wanted) if each is None else wanted - wanted.new_tensor(each) for each in own]
    )
    return images + (hole * (1 - alphas))[:, None] * change[:, :, None, None]


def fill_holes(image: Tensor, hole: Tensor) -> Tensor:
    """The image [3, h, w], with the colours around holes in their place. hole: [h, w], 1 where all is to be filled.

    Push-pull (Gortler et al., SIGGRAPH 1996): colours are averaged over 2x2 pixels again and again; on the way back
    each level fills what the finer one lacks.
    """
    kept = (1 - hole)[None]
    return _pulled(image * kept, kept)


def _pulled(colours: Tensor, opacity: Tensor) -> Tensor:
    """Colours [3, h, w] without a hole, from ones multiplied by what is kept of them, [1, h, w]."""
    height, width = opacity.shape[-2:]
    if height == width == 1:
        return colours / opacity.clamp_min(1e-6)
    even = (0, width % 2, 0, height % 2)
    padded = [F.pad(each, even) for each in (colours, opacity)]
    coarse_colours, coarse_opacity = (4 * F.avg_pool2d(each, 2) for each in padded)  # sums
    share = coarse_opacity.clamp_max(1) / coarse_opacity.clamp_min(1e-12)
    coarse = _pulled(coarse_colours * share, coarse_opacity * share)
    smooth = F.interpolate(coarse[None], scale_factor=2, mode="bilinear")[0, :, :height, :width]
    return colours + (1 - opacity) * smooth
