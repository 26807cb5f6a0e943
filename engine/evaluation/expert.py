"""Scores of one expert alone on cameras that it did not see, by the same metrics and protocol as a rendered mixture."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from common.files import write_json
from common.tensors import to_uint8
from engine.evaluation.evaluator import to_tensor
from engine.evaluation.lpips_weights import LoadedLpips, lpips_for
from engine.evaluation.measured_under import versions
from engine.evaluation.metrics import PROTOCOLS, MetricSuite, Scores, mean_scores, prepare_target, score
from engine.outputs.files import write_png
from engine.runs.device import ComputeDevice, device_name, gpu_versions
from engine.runs.expert_views import image_of
from experts.base import Expert
from scenes import Scene

PROTOCOL = PROTOCOLS["8bit"]  # render_*.py's default
SHOWN = 4  # frames of each camera that are left as PNGs, evenly spread


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertScores:
    """What an evaluation of an expert found."""

    scores: Scores  # means over frames
    frames: int  # of all cameras together
    seconds: float  # mean of rendering a frame
    lpips_source: str  # where LPIPS's weights came from, or why it was not measured
    file: Path  # every frame's scores


def spread(count: int, wanted: int | None) -> list[int]:
    """`wanted` of the frames 0 ... count - 1, evenly spread; all of them for None."""
    chosen = min(count if wanted is None else wanted, count)
    return [index * count // chosen for index in range(chosen)]


def evaluate_expert(
    expert: Expert,
    scene: Scene,
    *,
    compute: ComputeDevice,
    folder: Path,
    frames: Sequence[int],
    lpips: bool,
    quiet: bool,
    lpips_weights: Path | None = None,
) -> ExpertScores:
    """Scores an expert on the scene's held-out cameras; writes metrics.json and SHOWN PNGs a camera with their truth.

    The PNGs are `renders/<camera>_<frame>.png` and `gt/...`, as those of render_*.py.
    """
    views = [(view, frame) for view in scene.test for frame in frames]
    loaded = LoadedLpips(metric=None, source="not asked for")
    if lpips:
        cameras = [scene.views[view].camera for view in scene.test]
        loaded = lpips_for(cameras, PROTOCOL.lpips_net, path=lpips_weights, device=compute.device)
    suite = MetricSuite(protocol=PROTOCOL, lpips=loaded.metric)
    found, seconds = [], []
    shown = set(spread(len(frames), SHOWN))
    bar = tqdm(views, desc="evaluate", unit="frame", leave=False, disable=quiet or None)
    for index, (view, frame) in enumerate(bar):
        keep = folder if index % len(frames) in shown else None
        scores, took = _score_frame(expert, scene, (view, frame), suite=suite, compute=compute, keep=keep)
        found.append({"camera": scene.views[view].name, "frame": frame, "scores": scores})
        seconds.append(took)
    means = mean_scores([one["scores"] for one in found])
    timed = seconds[1:] or seconds  # the first frame warms up
    report = _report(scene, compute, suite=suite, loaded=loaded) | {
        "means": asdict(means),
        "seconds_a_frame": sum(timed) / len(timed),
        "per_frame": [one | {"scores": asdict(one["scores"])} for one in found],
    }
    return ExpertScores(
        scores=means,
        frames=len(found),
        seconds=report["seconds_a_frame"],
        lpips_source=loaded.source,
        file=write_json(folder / "metrics.json", report),
    )


def _score_frame(
    expert: Expert,
    scene: Scene,
    view_frame: tuple[int, int],
    *,
    suite: MetricSuite,
    compute: ComputeDevice,
    keep: Path | None,
) -> tuple[Scores, float]:
    """The scores of a (view, frame), and the seconds its rendering took; `keep`: write both images there."""
    view, frame = view_frame
    begun = time.perf_counter()
    image = image_of(expert, scene.views[view].camera, frame, compute=compute)
    if compute.device.type == "cuda":
        torch.cuda.synchronize()
    seconds = time.perf_counter() - begun
    truth = scene.frames.read(view, frame)
    if keep is not None:
        name = f"{scene.views[view].name}_{frame:05d}.png"
        write_png(keep / "renders" / name, to_uint8(image))
        write_png(keep / "gt" / name, truth)
    return score(suite, image, prepare_target(suite, to_tensor(truth, image))), seconds


def _report(scene: Scene, compute: ComputeDevice, *, suite: MetricSuite, loaded: LoadedLpips) -> dict[str, Any]:
    return {
        "protocol": suite.protocol.describe(),
        "lpips_weights": loaded.source,
        "scene": scene.name,
        "first_frame": scene.start,
        "cameras": [scene.views[view].name for view in scene.test],
        "device": device_name(compute.device),
        "versions": versions() | gpu_versions(compute.device),
    }
