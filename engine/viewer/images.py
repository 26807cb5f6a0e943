"""Pictures of a run: what a state shows at a camera, rendered and drawn."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from moegs_rasterizer import Camera
from PIL import Image
from torch import Tensor

from common.maths.tensors import rounded_to_uint8, to_uint8
from engine.checks.probes import shrunk
from engine.evaluation.measures.psnr import psnr
from engine.evaluation.scoring import image_tensor
from engine.outputs.frame_images import frame_images
from engine.outputs.maps import depth_map, error_map, text_box, text_size, winner_map, with_box
from engine.runs.device import wait
from engine.runs.run import Run, mix_camera
from engine.viewer.state import (
    ALPHA,
    DEPTH,
    ERROR,
    EXPERT,
    GATE,
    MIXTURE,
    OF_DEPTH,
    OF_TRUTH,
    RECORDED,
    WINNER,
    ViewState,
)
from router import Mixture
from router.mixture import blend, shrunk_to_mean
from router.novel_views import PLAIN, NovelViews, fill_holes, holes

LINE_SHARE = 500  # a picture's width over that of the wipe's line


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A drawn state."""

    image: np.ndarray  # uint8 [h, w, 3]
    seconds: float  # of rendering and drawing it
    psnr: float | None = None  # dB, of the mixture or the expert on the left; None: no recorded frame of this size


def picture_of(
    run: Run, state: ViewState, camera: Camera, *, view: int | None = None, width: int, scored: bool = True
) -> Picture:
    """A state's picture at a camera, at most `width` px wide.

    view: index of the scene's camera that it is, None for others; only there is a recorded frame to compare with. A
    training camera has its number there, at all others the run's rules for novel views hold. scored: with the PSNR,
    for which the recorded frame is read.
    """
    start = time.perf_counter()
    scene, small = run.scene, shrunk(camera, width)
    number = None if view is None or view not in scene.train else scene.views[view].number
    depths = any(kind in OF_DEPTH for kind in state.kinds)
    mixture = mix_camera(run, small, state.frame, camera_number=number, temperature=state.temperature, depths=depths)
    if not all(state.enabled):
        rules = run.novel if number is None else PLAIN
        mixture = without_disabled(mixture, state.enabled, temperature=state.temperature, rules=rules)
    wait(run.compute)
    truth = None
    needed = scored or any(kind in OF_TRUTH for kind in state.kinds)
    if needed and view is not None and state.frame == int(state.frame):
        truth = _resized(scene.frames.read(view, int(state.frame)), small)
    names = [expert.name for expert in run.experts]
    drawn = [_drawn(kind, mixture, truth, names) for kind in state.kinds]
    score = None
    if scored and truth is not None and small.width == camera.width:
        judged = rounded_to_uint8(_scored(state.shown, mixture, names))
        score = psnr(judged, image_tensor(truth, run.device))
    image = drawn[0] if len(drawn) == 1 else wiped(drawn[0], drawn[1], state.wipe)
    return Picture(image=image, seconds=time.perf_counter() - start, psnr=score)


@torch.no_grad()
def without_disabled(
    mixture: Mixture, enabled: Sequence[bool], *, temperature: float, rules: NovelViews = PLAIN
) -> Mixture:
    """The mixture of the enabled experts alone: the softmax of their logits, so that their gates sum to 1.

    Gates of the others are 0. rules: for cameras that were not trained on, which hold among those that are left.
    """
    left = torch.tensor([index for index, on in enumerate(enabled) if on], device=mixture.gates.device)
    fewer = blend(mixture.images[left], mixture.logits[left], temperature=temperature)
    if rules.towards_mean:
        fewer = shrunk_to_mean(fewer, rules.towards_mean)
    image = fewer.image
    if rules.fill_holes and mixture.alphas is not None:
        image = fill_holes(image, holes(mixture.alphas[left]))
    gates = torch.zeros_like(mixture.gates).index_copy(0, left, fewer.gates)
    return replace(mixture, image=image, gates=gates)


def wiped(left: np.ndarray, right: np.ndarray, share: float) -> np.ndarray:
    """The left part of one image beside the right part of another, with a white line between; share: of the left."""
    width = left.shape[1]
    at = min(max(round(share * width), 0), width)
    image = np.concatenate([left[:, :at], right[:, at:]], axis=1)
    if 0 < at < width:
        image[:, at : at + max(1, width // LINE_SHARE)] = 255
    return image


def prepare_frame(run: Run, frame: float, *, view: int | None) -> None:
    """Computes the experts' Gaussians of a frame that is shown soon, where there is memory to keep them in."""
    number = None if view is None or view not in run.scene.train else run.scene.views[view].number
    if run.frames.most:
        for expert in run.experts:
            run.frames.of(expert, frame, camera=number)


def _drawn(kind: str, mixture: Mixture, truth: np.ndarray | None, names: Sequence[str]) -> np.ndarray:
    """One kind of picture, uint8 [h, w, 3]; where it needs a recorded frame and has none, the mixture says so."""
    if kind in OF_TRUTH and truth is None:
        plain = to_uint8(mixture.image)
        return with_box(plain, text_box(f"{kind}: only at a recorded camera", text_size(len(plain))))
    if kind == RECORDED:
        assert truth is not None
        return truth
    if kind == MIXTURE or kind.startswith(EXPERT):
        return to_uint8(_scored(kind, mixture, names))
    if kind.startswith(GATE):
        return _grey(to_uint8(mixture.gates[names.index(kind.removeprefix(GATE))]))
    frame = frame_images(mixture, truth, winner=kind == WINNER)
    if kind == ALPHA:
        assert frame.alpha is not None
        return _grey(frame.alpha)
    return {ERROR: error_map, DEPTH: depth_map, WINNER: lambda one: winner_map(one, names)}[kind](frame)


def _scored(kind: str, mixture: Mixture, names: Sequence[str]) -> Tensor:
    """The image [3, h, w] that a kind's PSNR is of: an expert's own, else the mixture."""
    return mixture.images[names.index(kind.removeprefix(EXPERT))] if kind.startswith(EXPERT) else mixture.image


def _grey(image: np.ndarray) -> np.ndarray:
    return np.repeat(image[:, :, None], 3, axis=2)


def _resized(truth: np.ndarray, camera: Camera) -> np.ndarray:
    """A recorded frame in a camera's size."""
    size = (camera.width, camera.height)
    if (truth.shape[1], truth.shape[0]) == size:
        return truth
    return np.asarray(Image.fromarray(truth).resize(size, Image.Resampling.BOX))
