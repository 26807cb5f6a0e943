"""Coverage at cameras that nobody trained on: an expert decides by what it covers, and holes can be filled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from experts.base import Expert
from experts.novel_views import NovelViewCulling
from router.mixture import Mixture

LEAST = 0.01  # coverage that an expert without any counts as, so that gates stay finite
RGB = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class NovelViews:
    """Rules for cameras that nobody trained on; at training cameras none holds. The paper's router has none."""

    culling: NovelViewCulling | None = None
    coverage_guard: bool = False  # an expert's opacity limits its gate, and one background is behind all experts
    fill_holes: bool = False  # what no expert covers takes the colours around it, in place of the background


PLAIN = NovelViews()


def limited_by_coverage(logits: Tensor, alphas: Tensor, *, temperature: float) -> Tensor:
    """Logits [E, h, w] whose gates are the router's times each expert's opacity [E, h, w], divided by their sum.

    Gates follow from routing weights that are splatted with an expert's own Gaussians: where it has none, they are
    the background's, and say nothing. Where all are opaque, or all empty, nothing changes.
    """
    return logits + temperature * torch.log(alphas.clamp_min(LEAST))


def common_background(experts: Sequence[Expert]) -> tuple[float, ...]:
    """The background [3] that most experts have, the first of several: black and white would blend to grey."""
    known = [tuple(expert.background) for expert in experts if len(expert.background) == RGB]
    return Counter(known).most_common(1)[0][0] if known else (1.0,) * RGB


def background_of(expert: Expert, common: tuple[float, ...] | None) -> tuple[float, ...]:
    """The background of an expert's colour channels: the common one, unless there is none or they are no colours."""
    return expert.background if common is None or len(expert.background) != RGB else common


def without_holes(mixture: Mixture, alphas: Tensor, background: tuple[float, ...]) -> Mixture:
    """A mixture whose image is filled where its opacity is low. alphas: [E, h, w], of experts before the background."""
    alpha = (mixture.gates * alphas).sum(dim=0)
    return replace(mixture, image=fill_holes(mixture.image, alpha, mixture.image.new_tensor(background)))


def fill_holes(image: Tensor, alpha: Tensor, background: Tensor) -> Tensor:
    """The image [3, h, w], with what its surroundings show where its opacity [h, w] is low, in place of a background.

    Push-pull (Gortler et al., SIGGRAPH 1996): colours weighted by opacity are averaged over 2x2 pixels again and
    again; on the way back each level fills what the finer one lacks. background: [3], of the image.
    """
    opacity = alpha.clamp(0, 1)[None]
    colours = image - background[:, None, None] * (1 - opacity)
    return colours + (1 - opacity) * _pulled(colours, opacity)


def _pulled(colours: Tensor, opacity: Tensor) -> Tensor:
    """Colours [3, h, w] without a hole, from ones multiplied by opacity [1, h, w]."""
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
