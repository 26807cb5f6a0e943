"""Evaluation: one pass over views and frames scores and shows the blend, its experts and what it must beat."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from common.tensors import image_from_uint8
from engine.errors import ConfigError
from engine.evaluation.baselines import best_constants, constant_blend
from engine.evaluation.lpips_weights import LoadedLpips, lpips_for
from engine.evaluation.measured_under import conditions
from engine.evaluation.metrics import PROTOCOLS, MetricSuite, Scores, prepare_target, score
from engine.evaluation.results import CONSTANT, UNIFORM, Evaluation, FrameResult, write_evaluation
from engine.outputs.image_writer import BLEND, Images
from engine.runs.device import wait
from engine.runs.run import Run, mix_view
from router import Mixture


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationOptions:
    """What to evaluate and what to leave behind."""

    frames: Sequence[int] | None = None  # None: every frame of the clip
    videos: bool = True
    images: bool = False  # a PNG per frame: blend, truth, experts, gates
    lpips: bool = True
    lpips_weights: Path | None = None  # None: the installed packages
    protocol: str = "8bit"  # a key of metrics.PROTOCOLS
    constant_frames: int = 16  # evaluated frames that the best constant weights are fitted on; 0: without that baseline
    progress: bool = True


ViewFrame = tuple[int, int]  # index into scene.views, frame


def evaluate(run: Run, *, views: Sequence[int], folder: Path, options: EvaluationOptions) -> Evaluation:
    """Scores the blend, every expert, their uniform mean and the best constant weights; writes everything to `folder`.

    views: indices into run.scene.views, shown one after another in the videos. Rendering uses the router's evaluation
    temperature; memory does not grow with the number of frames. Raises ConfigError for what cannot be evaluated.
    """
    view_frames = _view_frames(run, views, options)
    loaded = LoadedLpips(metric=None, source="not asked for")
    if options.lpips:
        cameras = [run.scene.views[view].camera for view in views]
        net = PROTOCOLS[options.protocol].lpips_net
        loaded = lpips_for(cameras, net, path=options.lpips_weights, device=run.device)
    suite = MetricSuite(protocol=PROTOCOLS[options.protocol], lpips=loaded.metric)
    weights = _fit_constants(run, view_frames, options)
    results = []
    names = [expert.name for expert in run.experts]
    with Images(folder, names, videos=options.videos, images=options.images) as images:
        for view_frame in tqdm(
            view_frames, desc=f"evaluate {folder.name}", unit="frame", leave=False, disable=not options.progress
        ):
            mixture, seconds = _timed_mix(run, view_frame)
            truth = run.scene.frames.read(*view_frame)
            scores = _scores(run, mixture, truth, suite=suite, weights=weights)
            results.append(_result(run, view_frame, mixture, scores=scores, seconds=seconds))
            images.write(f"{results[-1].camera}_{view_frame[1]:05d}", mixture, truth)
    facts = conditions(run, view_frames, suite=suite, lpips=loaded, weights=weights, fitted_on=options.constant_frames)
    evaluation = Evaluation(frames=tuple(results), conditions=facts, files=images.files)
    return write_evaluation(folder, evaluation)


def _view_frames(run: Run, views: Sequence[int], options: EvaluationOptions) -> list[ViewFrame]:
    frames = range(run.scene.num_frames) if options.frames is None else options.frames
    view_frames = [(view, frame) for view in views for frame in frames]
    if not view_frames:
        raise ConfigError(f"{run.scene.root}: nothing to evaluate: {len(views)} views, {len(frames)} frames chosen")
    if options.protocol not in PROTOCOLS:
        raise ConfigError(f"metric protocol {options.protocol!r} is unknown; choose one of {', '.join(PROTOCOLS)}")
    sizes = {(run.scene.views[view].camera.width, run.scene.views[view].camera.height) for view in views}
    if options.videos and len(sizes) > 1:
        raise ConfigError(
            f"{run.scene.root}: views of sizes {sorted(sizes)} cannot share a video; render without videos"
        )
    return view_frames


def _fit_constants(run: Run, view_frames: Sequence[ViewFrame], options: EvaluationOptions) -> tuple[float, ...] | None:
    if options.constant_frames < 1:
        return None
    count = min(options.constant_frames, len(view_frames))
    chosen = [view_frames[index * len(view_frames) // count] for index in range(count)]

    def pairs() -> Iterator[tuple[Tensor, Tensor]]:
        for view_frame in tqdm(chosen, desc="fit constants", unit="frame", leave=False, disable=not options.progress):
            images = mix_view(run, *view_frame).images
            yield images, to_tensor(run.scene.frames.read(*view_frame), images)

    return best_constants(pairs())


def _timed_mix(run: Run, view_frame: ViewFrame) -> tuple[Mixture, float]:
    start = time.perf_counter()
    mixture = mix_view(run, *view_frame)
    wait(run.compute)
    return mixture, time.perf_counter() - start


def _scores(
    run: Run, mixture: Mixture, truth: np.ndarray, *, suite: MetricSuite, weights: tuple[float, ...] | None
) -> dict[str, Scores]:
    target = prepare_target(suite, to_tensor(truth, mixture.image))
    images = {BLEND: mixture.image}
    images |= {expert.name: image for expert, image in zip(run.experts, mixture.images, strict=True)}
    images[UNIFORM] = mixture.images.mean(dim=0)
    if weights is not None:
        images[CONSTANT] = constant_blend(mixture.images, weights)
    return {name: score(suite, image, target) for name, image in images.items()}


def _result(
    run: Run, view_frame: ViewFrame, mixture: Mixture, *, scores: dict[str, Scores], seconds: float
) -> FrameResult:
    gates = mixture.gates.mean(dim=(1, 2)).tolist()
    return FrameResult(
        camera=run.scene.views[view_frame[0]].name,
        frame=view_frame[1],
        seconds=seconds,
        gates={expert.name: gate for expert, gate in zip(run.experts, gates, strict=True)},
        scores=scores,
    )


def to_tensor(image: np.ndarray, like: Tensor) -> Tensor:
    """[3, h, w] in [0, 1] from uint8 [h, w, 3], where `like` lives."""
    return image_from_uint8(torch.tensor(image, device=like.device), contiguous=False)
