"""Frames of a run for a report: rendered, with maps of the experts, and mixtures without one of them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from common.maths.tensors import to_uint8
from engine.evaluation.measures.psnr import psnr
from engine.evaluation.mixture import render_frame
from engine.evaluation.scoring import image_tensor
from engine.outputs.frame_images import FrameImages, frame_images
from engine.runs.run import Run
from router import Mixture

WINDOW = 5  # pixels on a side, over which the error of an expert is averaged in a winner map


def images_from_run(run: Run, view: int, frame: int) -> FrameImages:
    """Render a frame."""
    return frame_images(render_frame(run, (view, frame)), run.scene.frames.read(view, frame))


def winners(images: FrameImages) -> np.ndarray:
    """The number of the expert with the smallest squared error around each pixel, [h, w]."""
    assert images.truth is not None, "novel views have no best expert"
    truth = images.truth.astype(np.float32)
    squared = [np.square(image.astype(np.float32) - truth).mean(axis=2) for image in images.experts]
    errors = torch.from_numpy(np.stack(squared))[:, None]
    smooth = avg_pool2d(errors, WINDOW, 1, WINDOW // 2, count_include_pad=False)
    return smooth[:, 0].argmin(dim=0).numpy()


def strongest(images: FrameImages) -> np.ndarray:
    """The number of the expert with the largest gate at each pixel, [h, w]."""
    return np.stack(images.gates).argmax(axis=0)


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
