"""Errors of the pixels that each Gaussian shows (Ex4DGS's point backtracking)."""

from __future__ import annotations

import torch
from torch import Tensor

from experts.training.gaussians.statistics import Statistics
from losses import ssim_map

NEW = -2.0  # best frame of a Gaussian that is younger than the pass
UNSEEN = -1.0  # best frame of one that contributed to no image of the pass
_ENOUGH = 0.01  # sum of the weights from which on an image tells a Gaussian's error
_LASTING = ("least_error", "best_frame")  # outlive a densification
_SMALLEST_WEIGHT = 1e-4
_NEVER = float(1 << 30)  # radius of what no image showed, px
_FILLS = {
    "smallest_radius": _NEVER,
    "l1": 0.0,
    "ssim": 0.0,
    "shown": 0.0,
    "least_error": torch.inf,
    "best_frame": NEW,
}


class BacktrackedErrors(Statistics):
    """Statistics with the errors of the pixels that a Gaussian showed, and how small it was shown.

    The error of a Gaussian in an image is the mean over pixels, weighted with its alpha times transmittance: spread
    over pixels, the weights are what it adds to them. `l1`, `ssim`: sums over the images since the last
    densification that showed it, `shown` their number. `least_error`: the smallest L1 in the pass over all images,
    `best_frame` its frame, NEW or UNSEEN. `smallest_radius`: in an image that showed it, px; huge where none did.
    """

    def __init__(self, count: int, device: torch.device) -> None:
        super().__init__(count, device)
        for name, fill in _FILLS.items():
            self.add(name, fill)

    def observe(self, gradients: Tensor, radii: Tensor) -> None:
        """As Statistics, and the smallest radius."""
        super().observe(gradients, radii)
        smallest = self.rows["smallest_radius"]
        torch.minimum(smallest, torch.where(radii > 0, radii.float(), _NEVER), out=smallest)

    def clear(self) -> None:
        """All rows at their beginning but those of the pass."""
        lasting = {name: self.rows[name] for name in _LASTING if name in self.rows}
        super().clear()
        self.rows.update(lasting)

    def observe_errors(self, sums: Tensor, frame: int) -> None:
        """Takes in an image: sums [n, 2 or 3] over pixels of the weights, weights x L1 and weights x SSIM."""
        weights = sums[:, 0]
        means = sums[:, 1:] / weights.clamp(min=_SMALLEST_WEIGHT)[:, None]
        shown = (weights > 0).float()
        self.rows["shown"] += shown
        for name, mean in zip(("l1", "ssim"), means.T, strict=False):
            self.rows[name].addcmul_(mean, shown)
        better = (weights > _ENOUGH) & (means[:, 0] < self.rows["least_error"])
        self.rows["least_error"] = torch.where(better, means[:, 0], self.rows["least_error"])
        self.rows["best_frame"].masked_fill_(better, float(frame))

    def new_pass(self) -> None:
        """Another pass over all images begins."""
        self.rows["least_error"].fill_(torch.inf)
        self.rows["best_frame"].fill_(UNSEEN)

    def invisible(self) -> Tensor:
        """Mask [n] of what contributed to no image of the pass and is older than it."""
        return self.rows["best_frame"] == UNSEEN

    def wrong(self, *, l1: float, dissimilarity: float) -> Tensor:
        """Mask [n] of what shows larger mean errors than these."""
        shown = self.rows["shown"].clamp(min=1)
        unlike = 1 - self.rows["ssim"] / shown > dissimilarity
        return (self.rows["shown"] > 0) & (unlike | (self.rows["l1"] / shown > l1))


@torch.no_grad()
def error_maps(image: Tensor, target: Tensor, *, channels: int) -> Tensor:
    """Maps that Gaussians are judged by: 1, L1 and, as a third channel, SSIM of every pixel of two images [3, h, w].

    [channels, h, w], channels 2 or 3. Zeros carried to the pixels, times these, add nothing to a loss and have the
    sums of weights times these as their gradients. Ex4DGS also divides L1 and SSIM by the pixel's alpha.
    """
    error = (image - target).abs().mean(0)
    maps = [torch.ones_like(error), error]
    if channels == 3:
        maps.append(ssim_map(image, target).mean(0))
    return torch.stack(maps)
