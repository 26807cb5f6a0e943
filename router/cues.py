"""Cues in the experts' images that tell of errors at cameras new to them, and a linear layer that weighs them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

IMAGE_CUES = ("deviation", "deviation around", "sharpness")  # those that need no depth, in this order
CUES = ("deviation", "deviation around", "transparency", "nearer", "farther", "sharpness")  # in this order
WINDOW = 15  # px, of means around a pixel
DEVIATION = 0.1  # of a colour in [0, 1]: the unit of deviations
SEEN = 0.5  # opacity from which an expert's depth is known
MOST = 1.0  # of a log ratio, either way
_FAINT = 1e-3  # of a gradient, below the steps of 8 bits: flat areas are alike sharp


@torch.no_grad()
def cues_of(images: Tensor, alphas: Tensor, depths: Tensor) -> Tensor:
    """Cues [E, 6, h, w], each 0 where an expert agrees with the others, and about 1 where it is far from them.

    images [E, 3, h, w] in 0 ... 1; alphas [E, h, w]; depths [E, h, w]: sums of z x alpha x transmittance, world units,
    nan where nobody knows them.
    """
    deviation, around, sharpness = image_cues(images).unbind(1)
    nearer = _nearer(alphas, depths)
    return torch.stack(
        [deviation, around, 1 - alphas, nearer.clamp(0, MOST), (-nearer).clamp(0, MOST), sharpness], dim=1
    )


@torch.no_grad()
def image_cues(images: Tensor) -> Tensor:
    """The cues [E, 3, h, w] of IMAGE_CUES, as in `cues_of`. images [E, 3, h, w] in 0 ... 1."""
    deviation = _from_others(images) / DEVIATION
    around, sharpness = _around(torch.stack([deviation, _gradients(images)])).unbind(0)
    return torch.stack([deviation, around, _log_ratio(sharpness, sharpness.mean(dim=0))], dim=1)


class CueLayer(nn.Module):
    """Adds weight . cues + bias to each expert's logit; it starts at zero, where it changes nothing."""

    def __init__(self, experts: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(experts, len(CUES)))
        self.bias = nn.Parameter(torch.zeros(experts))

    def forward(self, cues: Tensor) -> Tensor:
        """Logits [E, h, w], before the temperature, of cues [E, 6, h, w]."""
        weighed = (self.weight[:, :, None, None] * cues).sum(dim=1)  # a product of matrices has one long row for a GPU
        return weighed + self.bias[:, None, None]


def _from_others(images: Tensor) -> Tensor:
    """How far [E, h, w] each image's colours are from the mean of the others: |difference|, mean over the channels."""
    count = len(images)
    if count == 1:
        return torch.zeros_like(images[:, 0])
    return (images - images.mean(dim=0)).abs().mean(dim=1) * (count / (count - 1))


def _gradients(images: Tensor) -> Tensor:
    """Magnitudes [E, h, w] of the images' gradients, in grey, from each pixel to the next ones."""
    grey = images.mean(dim=1)
    right = F.pad(grey.diff(dim=2), (0, 1))
    down = F.pad(grey.diff(dim=1), (0, 0, 0, 1))
    return torch.hypot(right, down)


def _around(maps: Tensor) -> Tensor:
    """Means [..., h, w] over the 15x15 pixels around each; at the edges over those that there are."""
    reach = WINDOW // 2
    flat = maps.flatten(0, -3)[:, None]
    rows = F.avg_pool2d(flat, (WINDOW, 1), 1, (reach, 0), count_include_pad=False)
    return F.avg_pool2d(rows, (1, WINDOW), 1, (0, reach), count_include_pad=False).view_as(maps)


def _nearer(alphas: Tensor, depths: Tensor) -> Tensor:
    """Log [E, h, w] of the median of the experts' depths over each one's: positive where it is nearer than others.

    0 where it is too transparent to have a depth, or has none.
    """
    known = (alphas >= SEEN) & ~depths.isnan()
    logs = torch.where(known, (depths / alphas.clamp_min(SEEN)).clamp_min(1e-12).log(), torch.inf)
    ascending = logs.sort(dim=0).values
    last = (known.sum(dim=0) - 1).clamp_min(0)
    lower, upper = (ascending.gather(0, index[None])[0] for index in (last // 2, (last + 1) // 2))
    return torch.where(known, (lower + upper) / 2 - logs, 0)


def _log_ratio(values: Tensor, mean: Tensor) -> Tensor:
    return ((values + _FAINT).log() - (mean + _FAINT).log()).clamp(-MOST, MOST)
