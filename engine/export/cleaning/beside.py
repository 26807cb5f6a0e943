"""Gaussians that an expert's rules hide beside the picture, and players show.

Ex4DGS and STG's variant of it do not draw a Gaussian whose centre lies far beside the picture, however large it is.
Training gets used to that: nothing holds down what such a Gaussian would add. Players have no such rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from moegs_rasterizer import Camera
from moegs_rasterizer.reference.projection import in_view, view_points
from torch import Tensor

from common.text.progress import tracked
from engine.export.cleaning.neighbours import between_neighbours
from engine.export.cleaning.weights import pixel_weights
from engine.export.players.convention import players_settings
from engine.runs.device import ComputeDevice
from experts.base import Expert

IMAGES = 480  # in which blending weights are summed
A_PIXEL = 1.0  # blending weight in all images together, summed over pixels, below which nothing is disturbed

MORE = 2.0  # times the weight where the expert hides a row over that where it shows it


@torch.no_grad()
def shown_beside(
    expert: Expert, cameras: Sequence[Camera], frames: Sequence[int], compute: ComputeDevice, *, progress: bool
) -> Tensor:
    """Mask [n] of the rows that players show more where the expert hides them than where it shows them.

    Blending weights are summed over the training cameras and those between neighbours. Without a limit of centres in
    the expert's settings no row is one.
    """
    hidden, shown = beside_weights(expert, cameras, frames, compute, progress=progress)
    return (hidden > A_PIXEL) & (hidden > MORE * shown)


def beside_weights(
    expert: Expert, cameras: Sequence[Camera], frames: Sequence[int], compute: ComputeDevice, *, progress: bool
) -> tuple[Tensor, Tensor]:
    """Blending weights [n] of rows where the expert hides them and players do not, and where the expert shows them."""
    hidden, shown = torch.zeros(2, expert.num_gaussians, device=compute.device)
    if expert.settings.ndc_limit is None:
        return hidden, shown
    open_settings = replace(expert.settings, near=players_settings(expert.settings).near, ndc_limit=None)
    views = [*cameras, *between_neighbours(cameras)]
    turns = max(1, -(-len(views) * len(frames) // IMAGES))  # so that all views come up, at some of the frames each
    numbers = tracked(frames, f"Looking beside the pictures ({expert.name})", unit="frame", shown=progress)
    for turn, number in enumerate(numbers):
        gaussians, rows = expert.at(number), expert.rows(number)
        for camera in views[turn % turns :: turns]:
            beside = ~in_view(view_points(gaussians.means, camera), camera, expert.settings)
            weights = pixel_weights(gaussians, camera, open_settings, compute)
            hidden[rows] += weights * beside
            shown[rows] += pixel_weights(gaussians, camera, expert.settings, compute)
    return hidden, shown
