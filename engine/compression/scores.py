"""Scores of all Gaussians of a run, over its training views, by which pruning ranks them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from common.text.progress import tracked
from engine.compression.ranked_frames import all_frames, frames_of_blocks, ranked_frames
from engine.runs.experts.kept_frames import keeping_a_frame
from engine.runs.run import Run, mix_camera
from experts.windows.model import parts_at
from router.mixing import mix_gaussians
from router.pruning import ScoreKind, contribution_scores, gate_scores, image_scores
from scenes import View


def run_scores(run: Run, kind: ScoreKind, *, frames: int, progress: bool) -> list[Tensor]:
    """By expert [rows of its routing table]: the mean score over training cameras and some frames, evenly spread.

    The mean is over all of the clip: a segment's Gaussians count nothing in other frames than its own. Their mean over
    its own ranked frames therefore counts by its share of the clip. No frame of the footage is read.
    """
    ranked = ranked_frames(run, frames)
    totals = [torch.zeros(expert.num_gaussians, device=run.device) for expert in run.experts]
    generator = torch.Generator().manual_seed(0)
    run.router.requires_grad_(True)  # a loaded router learns nothing
    for frame in tracked(all_frames(ranked), "Scoring Gaussians", unit="frame", shown=progress):
        kept = keeping_a_frame(run)
        for view in run.scene.train:
            scores = _scores(kept, kind, run.scene.views[view], frame, generator)
            for expert, own, total, score in zip(run.experts, ranked, totals, scores, strict=True):
                if frame in own:
                    total[expert.rows(frame)] += score
    run.router.requires_grad_(False)
    for expert, own, total in zip(run.experts, ranked, totals, strict=True):
        for (start, stop), shown in frames_of_blocks(expert, run.scene.num_frames).items():
            of_clip = run.scene.num_frames / len(shown)
            total[start:stop] /= len([frame for frame in own if frame in shown]) * len(run.scene.train) * of_clip
    return totals


def _scores(run: Run, kind: ScoreKind, view: View, frame: int, generator: torch.Generator) -> Sequence[Tensor]:
    temperature = run.router.eval_temperature
    if kind == "gate":
        scores = gate_scores(
            run.router,
            lambda: mix_camera(run, view.camera, frame, camera_number=view.number, grad="features"),
            temperature=temperature,
        )
        # Where windows overlap, two of them are shown: the frame is that of the one with the larger share.
        mains = [part.rows == expert.rows(frame) for expert in run.experts for part in parts_at(expert, frame)]
        return [score for score, main in zip(scores, mains, strict=True) if main]
    gaussians = [run.frames.of(each, frame, camera=view.number).gaussians for each in run.experts]
    if kind == "contribution":
        gates = mix_camera(run, view.camera, frame, camera_number=view.number).gates
        return contribution_scores(run.experts, gaussians, view.camera, gates=gates, backend=run.backend)
    render = partial(
        mix_gaussians,
        run.router,
        run.experts,
        camera=view.camera,
        frame=frame,
        time=run.time(frame),
        temperature=temperature,
        grad="full",
        backend=run.backend,
        tile_rule=run.tile_rule,
    )
    return image_scores(gaussians, render, generator=generator)
