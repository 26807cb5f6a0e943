"""The images of one frame as 8-bit arrays, of which videos, PNGs and reports are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from common.maths.tensors import all_to_uint8, from_uint8
from engine.runs.run import alpha_and_depth
from router import Mixture

SEEN = 0.5  # alpha from which a pixel counts for the range of depths
DEPTH_SHARES = (0.02, 0.98)  # of its pixels that lie nearer than the range's ends
MOST_SAMPLES = 100_000  # pixels that the range is found from

DepthRange = tuple[float, float]  # world units


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameImages:
    """Images of one frame, uint8 [h, w, 3] or grey [h, w], on the CPU; experts and gates are in softmax order."""

    image: np.ndarray  # the mixture
    experts: tuple[np.ndarray, ...]
    gates: tuple[np.ndarray, ...]  # grey: gate x 255
    mean: np.ndarray | None = None  # of the experts' images
    winner: np.ndarray | None = None  # [h, w]: index of the expert with the largest gate
    truth: np.ndarray | None = None  # the recorded frame
    alpha: np.ndarray | None = None  # grey: the mixture's opacity x 255
    depth: np.ndarray | None = None  # [h, w]: 255 x the share of depth_range, nearest 255; 0 where nothing is
    depth_range: DepthRange | None = None


def frame_images(
    mixture: Mixture,
    truth: np.ndarray | None = None,
    *,
    mean: bool = False,
    winner: bool = False,
    depth_range: DepthRange | None = None,
) -> FrameImages:
    """Rounds a mixture to 8 bits on its device, and copies it from there at once.

    mean: with the experts' mean. winner: with the index of the largest gate. depth_range: of the depths, where the
    mixture has some; None: this frame's own.
    """
    experts = len(mixture.images)
    further = {}
    if mean:
        further["mean"] = mixture.images.mean(dim=0)
    if winner:
        further["winner"] = from_uint8(mixture.gates.argmax(dim=0).byte())
    if mixture.depths is not None:
        alpha, depth = alpha_and_depth(mixture)
        depth_range = depth_range or range_of(depth, alpha)
        further |= {"alpha": alpha, "depth": _nearness(depth, depth_range)}
    arrays = all_to_uint8([mixture.image, *mixture.images, *mixture.gates, *further.values()])
    return FrameImages(
        image=arrays[0],
        experts=tuple(arrays[1 : 1 + experts]),
        gates=tuple(arrays[1 + experts : 1 + 2 * experts]),
        truth=truth,
        depth_range=depth_range,
        **dict(zip(further, arrays[1 + 2 * experts :], strict=True)),
    )


def images_from_pngs(folder: Path, name: str, experts: Sequence[str]) -> FrameImages | None:
    """Read a frame with its recorded one from the PNGs of a rendering; None where one is missing or damaged."""
    try:
        return FrameImages(
            image=_png(folder / "renders" / f"{name}.png", "RGB"),
            experts=tuple(_png(folder / f"renders_{each}" / f"{name}.png", "RGB") for each in experts),
            gates=tuple(_png(folder / f"weights_{each}" / f"{name}.png", "L") for each in experts),
            truth=_png(folder / "gt" / f"{name}.png", "RGB"),
        )
    except Exception:  # an image that is missing, or that its decoder cannot read
        return None


def _png(path: Path, mode: str) -> np.ndarray:
    with Image.open(path) as opened:
        return np.asarray(opened.convert(mode))


def range_of(depth: Tensor, alpha: Tensor) -> DepthRange:
    """Finds the depths between which most pixels lie whose alpha is SEEN or more; (0, 1) where there are none."""
    seen = depth[alpha >= SEEN]
    if not len(seen):
        return 0.0, 1.0
    seen = seen[:: 1 + len(seen) // MOST_SAMPLES].float()
    low, high = torch.quantile(seen, seen.new_tensor(DEPTH_SHARES)).tolist()
    return low, max(high, low + 1e-6)


def _nearness(depth: Tensor, depth_range: DepthRange) -> Tensor:
    low, high = depth_range
    return (1 - (depth - low) / (high - low)).nan_to_num(0).clamp(0, 1)
