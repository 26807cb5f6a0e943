"""Pixels that move in the recorded frames, and metrics of these pixels alone."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from engine.evaluation.measures.metric_types import Pair, TrueImage
from engine.evaluation.measures.psnr import decibels, squared_error
from engine.evaluation.measures.structure import finest_scale
from scenes import Scene

BACKGROUND_FRAMES = 9  # of a camera, evenly spread over the clip
THRESHOLD = 10  # of 255: a channel must differ from the background by more
MAJORITY = 5  # of the 3x3 pixels around a pixel, itself included
LEAST_SHARE = 0.001  # of an image's pixels; below it, nothing is measured
RULE = (
    f"pixels of which a channel differs by more than {THRESHOLD}/255 from the median of {BACKGROUND_FRAMES} frames of "
    f"this camera, spread over the clip; then the majority of 3x3 pixels; recorded frames only; not measured below "
    f"{100 * LEAST_SHARE:g} % of the image"
)


class MovingMasks:
    """The moving pixels of a scene's recorded frames; a view's background is computed once."""

    def __init__(self, scene: Scene, device: torch.device) -> None:
        self._scene = scene
        self._device = device
        self._backgrounds: dict[int, Tensor] = {}

    def mask(self, view: int, truth: Tensor) -> Tensor | None:
        """The mask [h, w] of a recorded frame, uint8 [h, w, 3] on the device; None where it is below LEAST_SHARE."""
        if view not in self._backgrounds:
            self._backgrounds[view] = torch.tensor(background(self._scene, view), device=self._device)
        mask = moving_mask(truth, self._backgrounds[view])
        return mask if float(mask.float().mean()) >= LEAST_SHARE else None


def background(scene: Scene, view: int) -> np.ndarray:
    """Median over frames of a view, uint8 [h, w, 3]; of an even number of frames, the lower of the two middle ones."""
    count = min(BACKGROUND_FRAMES, scene.num_frames)
    frames = [scene.frames.read(view, index * scene.num_frames // count) for index in range(count)]
    ordered: np.ndarray = np.sort(np.stack(frames), axis=0)[(count - 1) // 2]
    return ordered


def moving_mask(truth: Tensor, still: Tensor) -> Tensor:
    """The pixels [h, w] of uint8 [h, w, 3] that differ from the background, closed by a majority of 3x3 pixels."""
    differs = (truth.short() - still.short()).abs().amax(dim=-1) > THRESHOLD
    share = avg_pool2d(differs[None, None].float(), 3, stride=1, padding=1)[0, 0]  # outside the image nothing moves
    return share > (MAJORITY - 0.5) / 9


def moving_psnr(pair: Pair) -> Tensor:
    """PSNR in dB for data range 1, over the mask's pixels and all channels."""
    return decibels(masked_mean(pair.once(squared_error).mean(dim=-3), pair.truth))


def moving_ssim(pair: Pair) -> Tensor:
    """Mean of 3DGS's SSIM map over the mask's pixels and all channels; windows reach beyond the mask."""
    total = pair.once(finest_scale).moving
    assert total is not None
    return total / pair.truth.once(_count) / pair.image.shape[-3]


def masked_mean(values: Tensor, truth: TrueImage) -> Tensor:
    """Mean of values [..., h, w] over the pixels that move."""
    assert truth.mask is not None
    return (values * truth.mask).sum(dim=(-2, -1), dtype=torch.float64) / truth.once(_count)


def _count(truth: TrueImage) -> Tensor:
    assert truth.mask is not None
    return truth.mask.sum()
