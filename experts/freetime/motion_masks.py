"""Moving parts of a camera's images: pixels that differ from what the camera sees most of the time."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import max_pool2d

FRAMES = 16  # of a clip, evenly spread, that tell what a camera sees most of the time
_NOISES = 3.0  # times a pixel's noise, by which what moves differs at least
_LEAST = 0.02  # and at least by this
_OPENED = 1  # px: smaller spots are noise


@dataclass(frozen=True, slots=True, kw_only=True)
class StillImage:
    """An image of what a camera sees most of the time."""

    median: Tensor  # [3, h, w] temporal median of the clip
    noise: Tensor  # [h, w] median over time of the distance from it


def clip_frames(num_frames: int) -> list[int]:
    """At most FRAMES frames, evenly spread over a clip."""
    count = min(FRAMES, num_frames)
    return [(2 * number + 1) * num_frames // (2 * count) for number in range(count)]


def still_image(images: Tensor) -> StillImage:
    """What images [k, 3, h, w] of one camera show most of the time.

    Things that stand in one place for more than half of the clip belong to it.
    """
    median = images.median(dim=0).values
    return StillImage(median=median, noise=_distance(images, median).median(dim=0).values)


def motion_mask(image: Tensor, still: StillImage, *, dilate: int = 5) -> Tensor:
    """Mask [h, w] of what moves in an image [3, h, w], and `dilate` px around it.

    Pixels differ from the median by more than three times their noise (median absolute deviation over time) and by
    more than 0.02, in the mean over RGB; spots that no square of 3 px fits in do not count.
    """
    distance = _distance(image, still.median)
    moving = (distance > _NOISES * still.noise) & (distance > _LEAST)
    return _grown(~_grown(~moving, _OPENED), _OPENED + dilate)


def _distance(images: Tensor, median: Tensor) -> Tensor:
    return (images - median).abs().mean(dim=-3)


def _grown(mask: Tensor, radius: int) -> Tensor:
    """A mask [h, w] and all within a square of a radius in px."""
    return max_pool2d(mask.float()[None], 2 * radius + 1, stride=1, padding=radius)[0] > 0
