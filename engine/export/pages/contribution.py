"""The contribution of each Gaussian to the blended image, by which pages leave out the least."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from common.text.progress import tracked
from engine.checks.probes import shrunk
from engine.evaluation.scoring import evenly_spread
from engine.export.weights import WIDTH
from engine.runs.run import Run, mix_camera
from experts.base import Expert
from router.layers import gaussians_of
from router.pruning import contribution_scores

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
        for view in run.scene.train[turn % turns :: turns]:
            whole = run.scene.views[view].camera
            camera = shrunk(whole, WIDTH)
            gates = camera.world_to_camera.new_ones((1, camera.height, camera.width)).to(run.device)
            if len(experts) > 1:
                gates = mix_camera(run, camera, frame, camera_number=view).gates
            given = [gaussians_of(each, camera, frame, camera_number=view) for each in experts]
            scores = contribution_scores(experts, given, camera, gates=gates, backend=run.backend)
            for expert, highest, score in zip(experts, most, scores, strict=True):
                rows = expert.rows(frame)
                highest[rows] = torch.maximum(highest[rows], score * (whole.width / camera.width) ** 2)
    return most
