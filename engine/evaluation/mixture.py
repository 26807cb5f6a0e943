"""Evaluation of a mixture: it, its experts, baselines and oracles are scored in one pass over views and frames.

The best constant weights take a pass of their own before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from common import ranks
from common.text.progress import tracked
from common.text.wording import counted
from engine.errors import ConfigError
from engine.evaluation.conditions import mixture_conditions
from engine.evaluation.measures.clips import ClipRecorder, clip_recorder
from engine.evaluation.measures.metric_types import MetricRequest
from engine.evaluation.measures.preparation import prepared
from engine.evaluation.measures.suite import MetricSuite, open_suite, without_value
from engine.evaluation.mixture_results import Evaluation, FrameResult, write_evaluation
from engine.evaluation.provenance import ImageHashes
from engine.evaluation.rivals.baselines import CONSTANT, UNIFORM, ConstantWeights, constant_blend
from engine.evaluation.rivals.fitted_constants import fit_constants, no_better_constants
from engine.evaluation.rivals.oracles import oracle_images
from engine.evaluation.rivals.twins import twin_images
from engine.evaluation.scoring import ScoredFrame, scored_frames
from engine.evaluation.seams import ScoredChange, seam_scores
from engine.evaluation.shares import OwnFrames, view_frames_of_rank
from engine.outputs.files import image_name
from engine.outputs.frame_images import FrameImages
from engine.outputs.render_writer import MIXTURE, RenderWriter
from engine.outputs.video import FPS
from engine.runs.device import wait
from engine.runs.run import Run, mix_view
from engine.settings.rendering.metric_protocols import DEFAULT_PROTOCOL, PROTOCOLS, ExtraMetric, ProtocolName
from engine.settings.rendering.render import EncoderChoice
from engine.settings.rendering.render_maps import MapName, need_depths
from experts import Expert
from router import Mixture
from scenes import ViewFrame


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
    temperature; memory does not grow with the number of frames. Several ranks take a block of the frames each, rank 0
    writes, and the numbers are those of one process. Raises ConfigError for what cannot be evaluated.
    """
    view_frames = _view_frames(run, views, options)
    own = view_frames_of_rank(view_frames, shown=options.progress)
    suite = _open_suite(run, views, options)
    constants = fit_constants(
        run,
        view_frames,
        frames=options.constant_frames,
        protocol=suite.protocol,
        progress=options.progress,
    )
    results = []
    with (
        ImageHashes() as hashes,
        _open_writer(run, folder, options) as writer,
        clip_recorder(suite.metrics, folder, view_frames) as clips,
    ):
        if need_depths(options.maps) and own.frames and own.lead:
            writer.images(render_frame(run, view_frames[0], depths=True))  # its depths give the colours of all frames
        for scored in _scored(run, own, options, constants=constants, suite=suite, clips=clips):
            results.append(_result(run, scored))
            frame = writer.images(scored.rendering, scored.truth, mean=True)
            hashes.add(hashed_images(run, frame), scored.truth)
            writer.write(image_name(results[-1].camera, scored.frame), frame)
        results = [result for part in ranks.gathered(results) for result in part]
        results = results if clips is None else _with_clips(run, results, clips)
    frames, constants = no_better_constants(results, constants, [expert.name for expert in run.experts])
    evaluation = Evaluation(
        frames=frames,
        conditions=mixture_conditions(
            run, view_frames, suite=suite, constants=constants, hashes=hashes, twins=options.twins
        ),
        files=writer.files,
        unavailable={},
        seams=_seams(run, frames, suite, options) if ranks.is_first() else None,
    )
    evaluation = replace(evaluation, unavailable=without_value(suite, evaluation.means))
    return write_evaluation(folder, evaluation) if ranks.is_first() else evaluation


def _seams(
    run: Run, frames: Sequence[FrameResult], suite: MetricSuite, options: EvaluationOptions
) -> dict[str, Any] | None:
    views = {view.name: index for index, view in enumerate(run.scene.views)}
    scored = [ScoredChange(view=views[each.camera], frame=each.frame, scores=each.scores) for each in frames]
    return seam_scores(run, scored, blend=MIXTURE, protocol=suite.protocol, progress=options.progress)


def _open_writer(run: Run, folder: Path, options: EvaluationOptions) -> RenderWriter:
    return RenderWriter(
        folder,
        [expert.name for expert in run.experts],
        fps=run.scene.frame_rate,
        videos=options.videos,
        pngs=options.images,
        maps=options.maps,
        encoder=options.encoder,
    )


def _scored(
    run: Run,
    own: OwnFrames,
    options: EvaluationOptions,
    *,
    constants: ConstantWeights | None,
    suite: MetricSuite,
    clips: ClipRecorder | None,
) -> Iterator[ScoredFrame[Mixture]]:
    """The frames' mixtures one after another, with the scores of all images that are compared."""
    depths = need_depths(options.maps)
    with_oracles = suite if options.oracles else None
    return scored_frames(
        run.scene,
        tracked(own.frames, "Scoring", unit="frame", shown=options.progress, leave=False),
        render=lambda view_frame: render_frame(run, view_frame, depths=depths),
        images_of=lambda view_frame, mixture, truth: {
            **scored_images(run, mixture, truth, constants=constants, suite=with_oracles),
            **twin_images(run, options.twins, view_frame, mixture),
        },
        suite=suite,
        device=run.device,
        clips=clips,
        lead=own.lead,
    )


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
