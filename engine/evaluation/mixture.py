"""Evaluation of a mixture: it, its experts, baselines and oracles are scored in one pass over views and frames.

The best constant weights take a pass of their own before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from torch import Tensor

from common.progress import tracked
from common.wording import counted
from engine.errors import ConfigError
from engine.evaluation.baselines import (
    CONSTANT,
    NO_ROUNDING_NOISE,
    ROUNDING_NOISE,
    UNIFORM,
    ConstantWeights,
    best_constants,
    constant_blend,
)
from engine.evaluation.clips import ClipRecorder, clip_recorder
from engine.evaluation.conditions import mixture_conditions
from engine.evaluation.metric_types import MetricRequest
from engine.evaluation.mixture_results import Evaluation, FrameResult, write_evaluation
from engine.evaluation.oracles import oracle_images
from engine.evaluation.preparation import prepared
from engine.evaluation.provenance import ImageHashes
from engine.evaluation.scoring import (
    MetricSuite,
    ScoredFrame,
    evenly_spread,
    mean_scores,
    open_suite,
    psnr_of,
    scored_frames,
    without_value,
)
from engine.evaluation.twins import twin_images
from engine.outputs.files import image_name
from engine.outputs.frame_images import FrameImages
from engine.outputs.render_writer import MIXTURE, RenderWriter
from engine.outputs.video import FPS
from engine.runs.device import wait
from engine.runs.run import Run, mix_view
from engine.settings.metric_protocols import DEFAULT_PROTOCOL, PROTOCOLS, ExtraMetric, ProtocolName
from engine.settings.render import EncoderChoice
from engine.settings.render_maps import MapName, need_depths
from experts import Expert
from router import Mixture
from scenes import Prefetcher, ViewFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationOptions:
    """The frames to evaluate, the baselines and metrics, and the files to write."""

    frames: Sequence[int] | None = None  # None: every frame of the clip
    videos: bool = True
    images: bool = False  # a PNG per frame: blend, truth, experts, gates
    maps: Sequence[MapName] = ()  # further videos
    encoder: EncoderChoice = "software"
    networks: bool = True  # metrics that need a network, and the optional ones
    oracles: bool = True  # the best expert per pixel, window and frame
    lpips_weights: Path | None = None  # None: the installed packages
    protocol: ProtocolName = DEFAULT_PROTOCOL
    metrics: Sequence[ExtraMetric] = ()  # to measure besides the protocol's
    twins: Mapping[str, Expert] = field(default_factory=dict)  # second trainings of experts, by name
    constant_frames: int | None = None  # frames that the best constant weights are fitted on; None: all; 0: no baseline
    progress: bool = True


def evaluate_mixture(run: Run, *, views: Sequence[int], folder: Path, options: EvaluationOptions) -> Evaluation:
    """Scores the blend, the experts, their uniform mean, the best constants and oracles; writes all to `folder`.

    views: indices into run.scene.views, shown one after another in the videos. Rendering uses the router's evaluation
    temperature; memory does not grow with the number of frames. Raises ConfigError for what cannot be evaluated.
    """
    view_frames = _view_frames(run, views, options)
    suite = _open_suite(run, views, options)
    constants = _fit_constants(run, view_frames, options)
    names = [expert.name for expert in run.experts]
    results, maps = [], options.maps
    with (
        ImageHashes() as hashes,
        RenderWriter(
            folder,
            names,
            fps=run.scene.frame_rate,
            videos=options.videos,
            pngs=options.images,
            maps=maps,
            encoder=options.encoder,
        ) as writer,
        clip_recorder(suite.metrics, folder) as clips,
    ):
        for scored in scored_frames(
            run.scene,
            tracked(view_frames, "Scoring", unit="frame", shown=options.progress, leave=False),
            render=lambda view_frame: render_frame(run, view_frame, depths=need_depths(maps)),
            images_of=lambda view_frame, mixture, truth: {
                **scored_images(run, mixture, truth, constants=constants, suite=suite if options.oracles else None),
                **twin_images(run, options.twins, view_frame, mixture),
            },
            suite=suite,
            device=run.device,
            clips=clips,
        ):
            results.append(_result(run, scored))
            frame = writer.images(scored.rendering, scored.truth, mean=True)
            hashes.add(hashed_images(run, frame), scored.truth)
            writer.write(image_name(results[-1].camera, scored.frame), frame)
        results = results if clips is None else _with_clips(run, results, clips)
    frames, constants = _no_better_constants(results, constants, names)
    evaluation = Evaluation(
        frames=frames,
        conditions=mixture_conditions(
            run, view_frames, suite=suite, constants=constants, hashes=hashes, twins=options.twins
        ),
        files=writer.files,
        unavailable={},
    )
    return write_evaluation(folder, replace(evaluation, unavailable=without_value(suite, evaluation.means)))


def _with_clips(run: Run, results: Sequence[FrameResult], clips: ClipRecorder) -> list[FrameResult]:
    """The frames' results with the values of their camera's clip, which every one of them repeats."""
    values = {run.scene.views[view].name: methods for view, methods in clips.scores().items()}
    return [
        replace(
            result,
            scores={
                method: {**scores, **values.get(result.camera, {}).get(method, {})}
                for method, scores in result.scores.items()
            },
        )
        for result in results
    ]


def _view_frames(run: Run, views: Sequence[int], options: EvaluationOptions) -> list[ViewFrame]:
    frames = range(run.scene.num_frames) if options.frames is None else options.frames
    view_frames = [(view, frame) for view in views for frame in frames]
    if not view_frames:
        chosen = f"{counted(len(views), 'view')}, {counted(len(frames), 'frame')} chosen"
        raise ConfigError(f"{run.scene.root}: nothing to evaluate: {chosen}")
    if options.protocol not in PROTOCOLS:
        raise ConfigError(f"metric protocol {options.protocol!r} is unknown; choose one of {', '.join(PROTOCOLS)}")
    sizes = {(run.scene.views[view].camera.width, run.scene.views[view].camera.height) for view in views}
    if options.videos and len(sizes) > 1:
        raise ConfigError(
            f"{run.scene.root}: views of sizes {sorted(sizes)} cannot share a video; render without videos"
        )
    return view_frames


def _open_suite(run: Run, views: Sequence[int], options: EvaluationOptions) -> MetricSuite:
    request = MetricRequest(
        protocol=PROTOCOLS[options.protocol],
        cameras=[run.scene.views[view].camera for view in views],
        device=run.device,
        lpips_weights=options.lpips_weights,
        asked=options.metrics,
        frames_per_second=float(run.scene.frame_rate or FPS),
    )
    return open_suite(request, networks=options.networks)


def _fit_constants(run: Run, view_frames: Sequence[ViewFrame], options: EvaluationOptions) -> ConstantWeights | None:
    """Renders the frames once before they are scored: the weights must be there when the first frame is scored.

    The images wait in no memory for the scoring: 300 frames of four experts at 1352x1014 px take 20 GB.
    """
    if options.constant_frames == 0:
        return None
    chosen = tuple(view_frames[index] for index in evenly_spread(len(view_frames), options.constant_frames))

    def pairs() -> Iterator[tuple[Tensor, Tensor]]:
        shown = tracked(chosen, "Fitting constant weights", unit="frame", shown=options.progress, leave=False)
        with Prefetcher(run.scene, chosen, device=run.device) as truths:
            for view_frame in shown:
                images = mix_view(run, *view_frame).images
                yield images, next(truths)[2]

    noise = ROUNDING_NOISE if PROTOCOLS[options.protocol].eight_bit else NO_ROUNDING_NOISE
    weights = best_constants(pairs(), noise=noise)
    return ConstantWeights(weights=weights, fitted_on=chosen, evaluated=len(view_frames))


def _no_better_constants(
    results: Sequence[FrameResult], constants: ConstantWeights | None, experts: Sequence[str]
) -> tuple[tuple[FrameResult, ...], ConstantWeights | None]:
    """Equal weights or one expert alone, where their printed PSNR is above the fitted weights'.

    These are constant weights too. The fit does not know clamping and rounding, nor frames that it left out.
    """
    if constants is None:
        return tuple(results), None
    share = 1 / len(experts)
    others = {UNIFORM: (share,) * len(experts)} | {
        name: tuple(float(name == other) for other in experts) for name in experts
    }
    psnr = {name: psnr_of(mean_scores([frame.scores[name] for frame in results])) for name in (CONSTANT, *others)}
    best = max(psnr, key=lambda name: psnr[name])  # the fitted weights where several are equal
    if best == CONSTANT:
        return tuple(results), constants
    frames = (replace(frame, scores={**frame.scores, CONSTANT: frame.scores[best]}) for frame in results)
    return tuple(frames), replace(constants, weights=others[best])


def render_frame(run: Run, view_frame: ViewFrame, *, depths: bool = False) -> Mixture:
    """The mixture of a frame at one of the scene's cameras, once the device is done."""
    mixture = mix_view(run, *view_frame, depths=depths)
    wait(run.compute)
    return mixture


def hashed_images(run: Run, frame: FrameImages) -> dict[str, np.ndarray]:
    """The images whose hashes are recorded: the blend, each expert and their mean, which frame holds too."""
    assert frame.mean is not None
    experts = zip(run.experts, frame.experts, strict=True)
    return {MIXTURE: frame.image, **{expert.name: image for expert, image in experts}, UNIFORM: frame.mean}


def scored_images(
    run: Run,
    mixture: Mixture,
    truth: Tensor,
    *,
    constants: ConstantWeights | None,
    suite: MetricSuite | None,
) -> dict[str, Tensor]:
    """The images to score: the blend, each expert, the baselines, and the oracles of a suite's protocol.

    suite None: without oracles.
    """
    images = {MIXTURE: mixture.image}
    images |= {expert.name: image for expert, image in zip(run.experts, mixture.images, strict=True)}
    images[UNIFORM] = mixture.images.mean(dim=0)
    if constants is not None:
        images[CONSTANT] = constant_blend(mixture.images, constants.weights)
    if suite is not None:
        images |= oracle_images(mixture.images, prepared(suite.protocol, mixture.images), truth)
    return images


def _result(run: Run, scored: ScoredFrame[Mixture]) -> FrameResult:
    gates = scored.rendering.gates.mean(dim=(1, 2)).tolist()
    return FrameResult(
        camera=run.scene.views[scored.view].name,
        frame=scored.frame,
        seconds=scored.seconds,
        gates={expert.name: gate for expert, gate in zip(run.experts, gates, strict=True)},
        scores=scored.scores,
    )
