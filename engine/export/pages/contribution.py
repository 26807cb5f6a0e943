"""The contribution of each Gaussian to the blended image, by which pages leave out the least."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from common.text.progress import tracked
from engine.checks.probes import shrunk
from engine.evaluation.scoring import evenly_spread
from engine.export.cleaning.weights import WIDTH
from engine.runs.experts.kept_frames import keeping_a_frame
from engine.runs.run import Run, mix_camera
from experts.base import Expert
from router.pruning import contribution_scores
from scenes import View

IMAGES = 240  # of training views, together
FRAMES = 120  # at most: the more, the fewer views of each; a Gaussian may be there for a few frames only


@torch.no_grad()
def most_contributions(run: Run, experts: Sequence[Expert], *, progress: bool = False) -> list[Tensor]:
    """By expert [rows]: the most that a Gaussian's colour weighs in a training image, in pixels.

    The weight is gate x alpha x transmittance, summed over the pixels. experts: all of the run's, or one, whose gate is
    then 1. A row that no image shows has 0.
    """
    frames = evenly_spread(run.scene.num_frames, FRAMES)
    turns = max(1, -(-len(frames) * len(run.scene.train) // IMAGES))
    most = [torch.zeros(expert.num_gaussians, device=run.device) for expert in experts]
    for turn, frame in enumerate(tracked(frames, "Weighing Gaussians", unit="frame", shown=progress)):
        kept = keeping_a_frame(run)
        for view in run.scene.train[turn % turns :: turns]:
            scores = _contributions(kept, experts, run.scene.views[view], frame)
            for expert, highest, score in zip(experts, most, scores, strict=True):
                rows = expert.rows(frame)
                highest[rows] = torch.maximum(highest[rows], score)
    return most


def _contributions(run: Run, experts: Sequence[Expert], view: View, frame: int) -> list[Tensor]:
    """By expert [its rows at the frame]: the weights in a training view's image, in pixels of its full size."""
    camera, number = shrunk(view.camera, WIDTH), view.number
    if len(experts) > 1:
        gates = mix_camera(run, camera, frame, camera_number=number).gates
    else:
        gates = torch.ones(1, camera.height, camera.width, device=run.device)
    given = [run.frames.of(each, frame, camera=number).gaussians for each in experts]
    scores = contribution_scores(experts, given, camera, gates=gates, backend=run.backend)
    return [score * (view.camera.width / camera.width) ** 2 for score in scores]
