"""The images of a frame for a report: rendered from the run, or read from the PNGs of a rendering; maps of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import avg_pool2d

from common.tensors import to_uint8
from engine.evaluation.mixture import render_frame
from engine.evaluation.psnr import psnr
from engine.evaluation.scoring import image_tensor
from engine.runs.run import Run
from router import Mixture

WINDOW = 5  # pixels on a side, over which the error of an expert is averaged in a winner map


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportFrame:
    """A frame's 8-bit images [h, w, 3]; gates are [h, w], 255 for a gate of 1; both by expert in softmax order."""

    truth: np.ndarray
    mixture: np.ndarray
    experts: Mapping[str, np.ndarray]
    gates: Mapping[str, np.ndarray]


def images_from_run(run: Run, view: int, frame: int) -> ReportFrame:
    """Render a frame."""
    mixture, names = render_frame(run, (view, frame)), [expert.name for expert in run.experts]
    return ReportFrame(
        truth=run.scene.frames.read(view, frame),
        mixture=to_uint8(mixture.image),
        experts={name: to_uint8(image) for name, image in zip(names, mixture.images, strict=True)},
        gates={name: to_uint8(gate) for name, gate in zip(names, mixture.gates, strict=True)},
    )


def images_from_pngs(folder: Path, name: str, experts: tuple[str, ...]) -> ReportFrame | None:
    """Read a frame that was rendered with --save_img; None where an image is missing or damaged."""
    try:
        return ReportFrame(
            truth=_png(folder / "gt" / f"{name}.png", 3),
            mixture=_png(folder / "renders" / f"{name}.png", 3),
            experts={each: _png(folder / f"renders_{each}" / f"{name}.png", 3) for each in experts},
            gates={each: _png(folder / f"weights_{each}" / f"{name}.png", 2) for each in experts},
        )
    except (OSError, ValueError):
        return None


def _png(path: Path, dimensions: int) -> np.ndarray:
    with Image.open(path) as opened:
        return np.asarray(opened.convert("RGB" if dimensions == 3 else "L"))


def winners(images: ReportFrame) -> np.ndarray:
    """The number of the expert with the smallest squared error around each pixel, [h, w]."""
    truth = images.truth.astype(np.float32)
    squared = [np.square(image.astype(np.float32) - truth).mean(axis=2) for image in images.experts.values()]
    errors = torch.from_numpy(np.stack(squared))[:, None]
    smooth = avg_pool2d(errors, WINDOW, 1, WINDOW // 2, count_include_pad=False)
    return smooth[:, 0].argmin(dim=0).numpy()


def strongest(images: ReportFrame) -> np.ndarray:
    """The number of the expert with the largest gate at each pixel, [h, w]."""
    return np.stack(list(images.gates.values())).argmax(axis=0)


def without(mixture: Mixture, index: int) -> Tensor:
    """The mixture without an expert, [3, h, w]: its gate is given to the others in the ratio of theirs.

    They share equally where their gates are all 0.
    """
    others = [number for number in range(len(mixture.gates)) if number != index]
    gates = mixture.gates[others]
    total = gates.sum(dim=0, keepdim=True)
    gates = torch.where(total > 0, gates / total.clamp_min(torch.finfo(gates.dtype).tiny), 1 / len(others))
    return torch.einsum("ehw,echw->chw", gates, mixture.images[others])


def psnr_of_image(image: Tensor, truth: np.ndarray) -> float:
    """PSNR of an image [3, h, w] after rounding to 8 bits, dB."""
    rounded = image_tensor(to_uint8(image), image.device)
    return psnr(rounded, image_tensor(truth, image.device))
