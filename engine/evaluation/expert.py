"""Evaluation of one expert alone, on the cameras that it did not see."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from common import ranks
from common.disk.files import write_json
from common.maths.tensors import to_uint8
from common.text.progress import tracked
from engine.evaluation.conditions import expert_conditions
from engine.evaluation.measures.metric_types import MetricRequest
from engine.evaluation.measures.suite import MetricSuite, Scores, open_suite, weights_facts
from engine.evaluation.provenance import ImageHashes, frames_per_second, keep_other_results
from engine.evaluation.scoring import ScoredFrame, evenly_spread, mean_scores, mean_seconds, scored_frames
from engine.evaluation.shares import view_frames_of_rank
from engine.outputs.files import image_name, write_png
from engine.runs.device import ComputeDevice, wait
from engine.runs.experts.images import image_of
from engine.settings.rendering.metric_protocols import DEFAULT_PROTOCOL, PROTOCOLS
from experts.base import Expert
from router.novel_views import PLAIN, NovelViews
from scenes import Scene, ViewFrame

PROTOCOL = PROTOCOLS[DEFAULT_PROTOCOL]  # render_*.py's default
METRICS_FILE = "metrics.json"
SHOWN = 4  # frames of each camera that are left as PNGs, evenly spread
ALONE = "expert"  # the name of the only image that is scored


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertScores:
    """Scores of an expert, as its training logs and reports them."""

    scores: Scores  # means over frames
    frames: int  # of all cameras together
    seconds: float  # mean of rendering a frame
    frames_per_second: float  # by the median of rendering a frame
    hashes: Mapping[str, Any]  # ImageHashes.facts
    weights: Mapping[str, str | None]  # suite.weights_facts
    file: Path  # every frame's scores


def evaluate_expert(
    expert: Expert,
    scene: Scene,
    *,
    compute: ComputeDevice,
    folder: Path,
    frames: Sequence[int],
    networks: bool,
    quiet: bool,
    lpips_weights: Path | None = None,
    novel: NovelViews = PLAIN,
) -> ExpertScores:
    """Scores an expert on the scene's held-out cameras; writes metrics.json and SHOWN PNGs a camera with their truth.

    networks: with the metrics that need a network (LPIPS). novel: the rules at these cameras. The PNGs are
    `renders/<camera>_<frame>.png` and `gt/...`, as those of render_*.py. Several ranks take a block of the frames each,
    and get the scores of one process.
    """
    cameras = [scene.views[view].camera for view in scene.test]
    request = MetricRequest(protocol=PROTOCOL, cameras=cameras, device=compute.device, lpips_weights=lpips_weights)
    suite = open_suite(request, networks=networks)
    shown = {frames[index] for index in evenly_spread(len(frames), SHOWN)}
    view_frames = [(view, frame) for view in scene.test for frame in frames]
    own = view_frames_of_rank(view_frames, shown=not quiet)
    with ImageHashes() as hashes:
        followed = tracked(own.frames, f"Scoring {expert.name}", unit="frame", shown=not quiet, leave=False)
        scored = _scored(expert, scene, followed, own.lead, compute=compute, suite=suite, novel=novel)
        per_frame, seconds = _of_frames(scored, scene, folder, shown=shown, hashes=hashes)
    per_frame = [frame for part in ranks.gathered(per_frame) for frame in part]
    seconds = [each for part in ranks.gathered(seconds) for each in part]
    report = {
        **expert_conditions(scene, compute, suite=suite, hashes=hashes, novel=novel),
        **_means(per_frame, seconds),
        "per_frame": per_frame,
    }
    file = folder / METRICS_FILE
    if ranks.is_first():
        keep_other_results(file, report)
        write_json(file, report)
    return ExpertScores(
        scores=report["means"],
        frames=len(per_frame),
        seconds=report["seconds_a_frame"],
        frames_per_second=report["frames_per_second"],
        hashes=hashes.facts(),
        weights=weights_facts(suite),
        file=file,
    )


def _of_frames(
    scored: Iterable[ScoredFrame[Tensor]], scene: Scene, folder: Path, *, shown: Collection[int], hashes: ImageHashes
) -> tuple[list[dict[str, Any]], list[float]]:
    """Scores of each frame, as metrics.json has them, and seconds of rendering it.

    hashes: take in the images. shown: frames that are written as PNGs.
    """
    per_frame, seconds = [], []
    for each in scored:
        camera = scene.views[each.view].name
        per_frame.append({"camera": camera, "frame": each.frame, "scores": each.scores[ALONE]})
        seconds.append(each.seconds)
        hashes.add({ALONE: to_uint8(each.rendering)}, each.truth)
        if each.frame in shown:
            _write_pngs(folder, image_name(camera, each.frame), each)
    return per_frame, seconds


def _means(per_frame: Sequence[Mapping[str, Any]], seconds: Sequence[float]) -> dict[str, Any]:
    """Means over frames of the scores and of rendering, as metrics.json has them."""
    return {
        "means": mean_scores([frame["scores"] for frame in per_frame]),
        "seconds_a_frame": mean_seconds(seconds),
        "frames_per_second": frames_per_second(seconds),
    }


def _scored(
    expert: Expert,
    scene: Scene,
    view_frames: Iterable[ViewFrame],
    lead: Sequence[ViewFrame],
    *,
    compute: ComputeDevice,
    suite: MetricSuite,
    novel: NovelViews,
) -> Iterator[ScoredFrame[Tensor]]:
    """The expert's images of frames one after another, with their scores."""

    def render(view_frame: ViewFrame) -> Tensor:
        view, frame = view_frame
        image = image_of(expert, scene.views[view].camera, frame, compute=compute, novel=novel)
        wait(compute)
        return image

    return scored_frames(
        scene,
        view_frames,
        render=render,
        images_of=lambda _, image, __: {ALONE: image},
        suite=suite,
        device=compute.device,
        lead=lead,
    )


def _write_pngs(folder: Path, name: str, scored: ScoredFrame[Tensor]) -> None:
    write_png(folder / "renders" / f"{name}.png", to_uint8(scored.rendering))
    write_png(folder / "gt" / f"{name}.png", scored.truth)
