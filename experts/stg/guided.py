"""STG's guided sampling: new Gaussians along the rays of pixels that stay badly shown (Li et al., CVPR 2024, 4.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from moegs_rasterizer import Splat
from torch import Tensor
from torch.nn.functional import avg_pool2d

from experts.stg.recipe import Guidance
from experts.stg.start import first_log_scales, fresh_rows
from experts.training.gaussians.badly_shown import along_rays, badly_shown
from experts.training.gaussians.density import Rows
from experts.training.rendered import RenderedView
from experts.training.saved_states import require_like
from losses import ssim

FARTHEST = 0.95  # of the far plane: deeper samples are set here
_SURE = 0.5  # of an image's largest alpha above which a pixel's depth counts


class GuidedSampling:
    """Choice of the views that are shown worst; each is sampled once, at different times.

    After guidance.start every view's SSIM is taken once or more; of those below choose_below the worst are chosen.
    Fewer than two such views: none is.
    """

    def __init__(self, guidance: Guidance, *, views: int, device: torch.device) -> None:
        self.guidance = guidance
        self.depths = torch.zeros(views, device=device)  # each view's largest, when it was first seen; 0: none
        self.chosen: list[int] | None = None  # views still to be sampled; None before the choice
        self._ssim = torch.ones(views, device=device)
        self._first_seen: set[int] = set()
        self._measured: set[int] = set()  # views whose SSIM was taken since guidance.start
        self._last = -guidance.apart  # iteration of the last sampling

    def looks(self, views: Sequence[int], iteration: int) -> bool:
        """True where `look` and `wants` need images of one of the views."""
        return not self._first_seen.issuperset(views) or self.guidance.start <= iteration <= self.guidance.stop

    def look(self, seen: RenderedView, iteration: int) -> None:
        """Takes in a training image; waits for a GPU only when views are chosen."""
        view = seen.sample.view
        if view not in self._first_seen:
            self._first_seen.add(view)
            self.depths[view] = largest_depth(seen.splat)
        if self.chosen is None and self.guidance.start <= iteration <= self.guidance.stop:
            self._ssim[view] = ssim(seen.image.detach(), seen.target)
            self._measured.add(view)
            if len(self._measured) == len(self._ssim):
                self.chosen = self._worst()

    def _worst(self) -> list[int]:
        values, views = self._ssim.sort()
        bad = views[values < self.guidance.choose_below].tolist()
        return bad[: self.guidance.views] if len(bad) >= 2 else []

    def wants(self, seen: RenderedView, iteration: int) -> bool:
        """True where an image is to be sampled now; its view is then done."""
        guidance, view = self.guidance, seen.sample.view
        due = guidance.start <= iteration <= guidance.stop and iteration - self._last >= guidance.apart
        if not due or self.chosen is None or view not in self.chosen:
            return False
        if float(ssim(seen.image.detach(), seen.target)) >= guidance.sample_below:
            return False
        self.chosen.remove(view)
        self._last = iteration
        return True

    def state(self) -> dict[str, Any]:
        """The state that `load` goes on from."""
        return {
            "depths": self.depths.clone(),
            "ssim": self._ssim.clone(),
            "first_seen": sorted(self._first_seen),
            "judged": sorted(self._measured),  # the key of files that exist
            "chosen": None if self.chosen is None else list(self.chosen),
            "last": self._last,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Goes on from a state."""
        require_like(state["depths"], self.depths, "the depths")
        require_like(state["ssim"], self._ssim, "the similarities")
        self.depths.copy_(state["depths"])
        self._ssim.copy_(state["ssim"])
        self._first_seen, self._measured = set(state["first_seen"]), set(state["judged"])
        self.chosen = None if state["chosen"] is None else list(state["chosen"])
        self._last = int(state["last"])


def largest_depth(splat: Splat) -> Tensor:
    """Largest depth [] of an image's surer half (alpha); 0 where the image is empty.

    STG's code takes its median depth where there is one, and fails without any.
    """
    alpha = splat.alpha.detach()
    sure = (alpha > 0) & (alpha >= _SURE * alpha.amax())
    return torch.where(sure, splat.depth, torch.zeros_like(splat.depth)).amax()


def bad_pixels(image: Tensor, target: Tensor, guidance: Guidance) -> Tensor:
    """Rows and columns [m, 2] of the pixels of badly shown patches of an image [3, h, w], one of each 2x2 left out."""
    bad = badly_shown(image, target, guidance.quantile).float()
    height, width = bad.shape
    size = guidance.patch
    shares = avg_pool2d(bad[None, None], size, stride=size, ceil_mode=True)[0, 0]
    patches = (shares > guidance.bad_share).repeat_interleave(size, 0).repeat_interleave(size, 1)[:height, :width]
    top, left = int(guidance.border * height), int(guidance.border * width)
    inner = torch.zeros_like(patches)
    inner[top : height - top, left : width - left] = True
    inner[::2, ::2] = False
    return (patches & inner).nonzero()


def sampled_depths(largest: Tensor, count: int, far: float, guidance: Guidance, generator: torch.Generator) -> Tensor:
    """Depths [per_ray, count] from first to last times a view's largest, jittered, none beyond the far plane."""
    shares = torch.linspace(guidance.first, guidance.last, guidance.per_ray).to(largest)
    depths = (shares * largest).clamp(max=FARTHEST * far / (1 + guidance.jitter))[:, None]
    drawn = 2 * torch.rand(guidance.per_ray, count, generator=generator) - 1
    return depths * (1 + guidance.jitter * drawn.to(largest))


def gaussians_along_rays(
    seen: RenderedView,
    guidance: Guidance,
    *,
    largest: Tensor,
    means: Tensor,
    far: float,
    extent: float,
    log_width: float,
    room: int | None,
    generator: torch.Generator,
) -> Rows:
    """Rows of new Gaussians along the rays of an image's bad pixels, coloured as the true image; may be none.

    largest []: the view's depth that the rays are measured by. means [n, 3]: Gaussians that exist, which count for the
    scales. Windows' centres are random. With less room than needed, rays are drawn at random.
    """
    pixels = bad_pixels(seen.image.detach(), seen.target, guidance)
    if not bool(largest > 0):
        pixels = pixels[:0]
    if room is not None and guidance.per_ray * len(pixels) > room:
        drawn = torch.randperm(len(pixels), generator=generator)[: room // guidance.per_ray]
        pixels = pixels[drawn.to(pixels.device)]
    depths = sampled_depths(largest, len(pixels), far, guidance, generator)
    places = along_rays(pixels, depths, seen.camera).reshape(-1, 3)
    colours = seen.target[:, pixels[:, 0], pixels[:, 1]].T.repeat(guidance.per_ray, 1)
    centres = torch.rand(len(places), generator=generator).to(places)
    rows = fresh_rows(places, colours, centres, log_width)
    rows["log_scales"] = first_log_scales(torch.cat([means, places]), extent)[len(means) :]
    return rows
