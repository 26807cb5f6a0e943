"""Scores of all Gaussians of a run, over its training views, by which pruning ranks them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from common.text.progress import tracked
from engine.evaluation.scoring import evenly_spread
from engine.runs.run import Run, mix_camera
from router.layers import gaussians_of
from router.mixing import mix_gaussians
from router.pruning import ScoreKind, contribution_scores, gate_scores, image_scores
from scenes import View


def run_scores(run: Run, kind: ScoreKind, *, frames: int, progress: bool) -> list[Tensor]:
    """By expert [rows of its routing table]: the mean score over training cameras and some frames, evenly spread.

    No frame of the footage is read.
    """
    moments = [
        (run.scene.views[view], frame)
        for frame in evenly_spread(run.scene.num_frames, frames)
        for view in run.scene.train
    ]
    totals = [torch.zeros(expert.num_gaussians, device=run.device) for expert in run.experts]
    generator = torch.Generator().manual_seed(0)
    run.router.requires_grad_(True)  # a loaded router learns nothing
    for view, frame in tracked(moments, "Scoring Gaussians", unit="image", shown=progress):
        scores = _scores(run, kind, view, frame, generator)
        for expert, total, score in zip(run.experts, totals, scores, strict=True):
            total[expert.rows(frame)] += score
    run.router.requires_grad_(False)
    return [total / len(moments) for total in totals]


def _scores(run: Run, kind: ScoreKind, view: View, frame: int, generator: torch.Generator) -> Sequence[Tensor]:
    temperature = run.router.eval_temperature
    if kind == "gate":
        return gate_scores(
            run.router,
            lambda: mix_camera(run, view.camera, frame, camera_number=view.number, grad="features"),
            temperature=temperature,
        )
    gaussians = [gaussians_of(each, view.camera, frame, camera_number=view.number) for each in run.experts]
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
