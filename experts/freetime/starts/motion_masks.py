"""Moving parts of a camera's images: pixels that differ from what the camera sees most of the time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from moegs_rasterizer import Camera
from torch import Tensor
from torch.nn.functional import avg_pool2d, max_pool2d

from experts.training.gaussians.visibility import in_image
from experts.training.samplers import Sample
from experts.training.views import TrainingViews

FRAMES = 16  # of a clip, evenly spread, that tell what a camera sees most of the time
FEWEST_FRAMES = 3  # below, most of the time means nothing
_NOISES = 3.0  # times a pixel's noise, by which what moves differs at least
_LEAST = 0.02  # and at least by this
_OPENED = 1  # px: smaller spots are noise
_MARGIN = 5  # px of the images as they are, around what moves


@dataclass(frozen=True, slots=True, kw_only=True)
class StillImage:
    """An image of what a camera sees most of the time."""

    median: Tensor  # [3, h, w] temporal median of the clip
    noise: Tensor  # [h, w] median over time of the distance from it


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskedView:
    """A camera's image at one moment, with masks of its moving parts."""

    camera: Camera
    image: Tensor  # [3, h, w] in 0 ... 1
    moving: Tensor  # [h, w] bool
    mask: Tensor  # [h, w] bool: what moves, and a margin


class ClipMotion:
    """Images of a clip's training cameras with what moves in them, all a whole number of times smaller.

    Still images are made when it is, one camera after the other; no more than one camera's FRAMES are in memory.
    """

    def __init__(self, views: TrainingViews, *, factor: int) -> None:
        """ValueError for a clip of fewer than FEWEST_FRAMES frames."""
        if views.num_frames < FEWEST_FRAMES:
            raise ValueError(f"motion in {views.num_frames} frames: masks need {FEWEST_FRAMES} or more")
        self.cameras = [reduced_camera(camera, factor) for camera in views.cameras]
        self._views, self._factor = views, factor
        frames = clip_frames(views.num_frames)
        images = self._read([Sample(view=view, frame=frame) for view in range(len(self.cameras)) for frame in frames])
        self._stills = [still_image(torch.stack([next(images) for _ in frames])) for _ in self.cameras]

    def at(self, frame: int) -> list[MaskedView]:
        """Every training camera's image and mask at a frame."""
        images = self._read([Sample(view=view, frame=frame) for view in range(len(self.cameras))])
        return [
            self._masked(camera, image, still)
            for camera, image, still in zip(self.cameras, images, self._stills, strict=True)
        ]

    def _masked(self, camera: Camera, image: Tensor, still: StillImage) -> MaskedView:
        moving = motion_mask(image, still, dilate=0)
        margin = math.ceil(_MARGIN / self._factor)
        return MaskedView(camera=camera, image=image, moving=moving, mask=_grown(moving, margin))

    def _read(self, samples: Sequence[Sample]) -> Iterator[Tensor]:
        self._views.announce(samples)
        for sample in samples:
            yield reduced_image(self._views.image(sample), self._factor)


def clip_frames(num_frames: int) -> list[int]:
    """At most FRAMES frames, evenly spread over a clip."""
    count = min(FRAMES, num_frames)
    return [(2 * number + 1) * num_frames // (2 * count) for number in range(count)]


def still_image(images: Tensor) -> StillImage:
    """The picture that images [k, 3, h, w] of one camera show most of the time.

    Things that stand in one place for more than half of the clip belong to it.
    """
    median = images.median(dim=0).values
    return StillImage(median=median, noise=_distance(images, median).median(dim=0).values)


def motion_mask(image: Tensor, still: StillImage, *, dilate: int = _MARGIN) -> Tensor:
    """Mask [h, w] of what moves in an image [3, h, w], and `dilate` px around it.

    Pixels differ from the median by more than three times their noise (median absolute deviation over time) and by
    more than 0.02, in the mean over RGB; spots that no square of 3 px fits in do not count.
    """
    distance = _distance(image, still.median)
    moving = (distance > _NOISES * still.noise) & (distance > _LEAST)
    return _grown(~_grown(~moving, _OPENED), _OPENED + dilate)


def shares_moving(positions: Tensor, views: Sequence[MaskedView]) -> tuple[Tensor, Tensor]:
    """Shares [n] of the views showing each of positions [n, 3] in whose masks it lies, and in which it moves; else 0.

    Both are high for what moves. They are low where a ray leads from one camera's moving pixel to a wrong depth; the
    second is low also for what stands still close beside or behind what moves.
    """
    shown, inside_mask, moving = torch.zeros(3, len(positions), device=positions.device)
    for view in views:
        _, pixels, inside = in_image(positions, view.camera)
        column, row = torch.where(inside[:, None], pixels, 0.0).long().unbind(1)
        shown += inside
        inside_mask += inside & view.mask[row, column]
        moving += inside & view.moving[row, column]
    return inside_mask / shown.clamp(min=1), moving / shown.clamp(min=1)


def reduced_camera(camera: Camera, factor: int) -> Camera:
    """A camera whose images are a whole number of times smaller; what is left over at right and bottom is cut off."""
    return replace(
        camera,
        fx=camera.fx / factor,
        fy=camera.fy / factor,
        cx=camera.cx / factor,
        cy=camera.cy / factor,
        width=camera.width // factor,
        height=camera.height // factor,
    )


def reduced_image(image: Tensor, factor: int) -> Tensor:
    """An image [3, h, w], as `reduced_camera` sees it: means of squares of pixels."""
    return avg_pool2d(image[None], factor)[0] if factor > 1 else image


def _distance(images: Tensor, median: Tensor) -> Tensor:
    return (images - median).abs().mean(dim=-3)


def _grown(mask: Tensor, radius: int) -> Tensor:
    """A mask [h, w] and all within a square of a radius in px."""
    return max_pool2d(mask.float()[None], 2 * radius + 1, stride=1, padding=radius)[0] > 0
