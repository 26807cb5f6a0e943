"""The fused scene: the Gaussians of all experts in one, as opaque as the mixture's gates make them on average.

The mixture blends images, and each expert's image has a transmittance of its own. One scene of Gaussians has a single
one, so that no such scene is the mixture. The fused scene is the nearest that needs no training.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from moegs_rasterizer import Camera, Gaussians, RasterSettings, Splat
from torch import Tensor

from common.text.progress import tracked
from engine.evaluation.scoring import evenly_spread
from engine.export.frames import FrameReader
from engine.runs.experts.kept_frames import keeping_a_frame
from engine.runs.run import Run, mix_camera
from experts.base import Expert, Provenance
from router.pruning import contribution_scores

FUSED = "fused"
GATE_FRAMES = 10  # at which gates are averaged, of each training camera


def mean_gates(run: Run, *, frames: int = GATE_FRAMES, progress: bool = False) -> list[Tensor]:
    """By expert [rows of its routing table]: the mean gate where a Gaussian is seen, over training cameras.

    Pixels count by alpha x transmittance of the Gaussian there. One that no camera sees has its expert's mean gate.
    """
    chosen = evenly_spread(run.scene.num_frames, frames)
    gated, seen = ([torch.zeros(each.num_gaussians, device=run.device) for each in run.experts] for _ in range(2))
    for frame in tracked(chosen, "Averaging gates", unit="frame", shown=progress):
        kept = keeping_a_frame(run)
        for view in (run.scene.views[index] for index in run.scene.train):
            gates = mix_camera(kept, view.camera, frame, camera_number=view.number).gates
            gaussians = [kept.frames.of(each, frame, camera=view.number).gaussians for each in run.experts]
            for totals, maps in ((gated, gates), (seen, torch.ones_like(gates))):
                scores = contribution_scores(run.experts, gaussians, view.camera, gates=maps, backend=run.backend)
                for expert, total, score in zip(run.experts, totals, scores, strict=True):
                    total[expert.rows(frame)] += score
    return [
        torch.where(weight > 0, part / weight.clamp(min=1e-12), part.sum() / weight.sum().clamp(min=1e-12))
        for part, weight in zip(gated, seen, strict=True)
    ]


class Fused:
    """All experts' Gaussians as one expert, by their mean gates; it is splatted as 3DGS does."""

    name = FUSED
    same_for_all_cameras = True
    background: tuple[float, ...] = (0.0, 0.0, 0.0)

    def __init__(self, experts: Sequence[Expert], gates: Sequence[Tensor]) -> None:
        """Raises ConfigError, from `at`, where colours of an expert are not spherical harmonics."""
        self.gates, self._readers = torch.cat(list(gates)), [FrameReader(each) for each in experts]
        self.settings = RasterSettings(near=min(each.settings.near for each in experts))
        self.background = tuple(experts[0].background[:3])
        files = tuple(file for each in experts for file in each.provenance.files)
        self.provenance = Provenance(files=files, iteration=0)

    @property
    def num_gaussians(self) -> int:
        """Rows of all experts."""
        return len(self.gates)

    def rows(self, frame: float) -> slice:
        """All rows; those that the frame does not show have opacity 0."""
        return slice(0, self.num_gaussians)

    def at(self, frame: float, *, camera: int | None = None) -> Gaussians:
        """The Gaussians of all experts at a frame, the same for every camera."""
        frames = [reader.at(frame) for reader in self._readers]
        return Gaussians(
            means=torch.cat([each.means for each in frames]),
            scales=torch.cat([each.log_scales for each in frames]).exp(),
            quats=torch.cat([each.quats for each in frames]),
            opacities=gated(torch.cat([each.opacities for each in frames]), self.gates),
            sh=torch.cat([each.sh for each in frames]),
        )

    def colour(self, splat: Splat, camera: Camera, *, frame: float) -> Tensor:
        """The splatted colour as it is."""
        return splat.colour


def gated(opacities: Tensor, gates: Tensor) -> Tensor:
    """Opacities [n] scaled by gates [n] in the exponent of what they let through: 1 - (1 - opacity)^gate.

    Surfaces that all experts have stay opaque: their gates sum to 1, and what lies behind them does not show. With
    opacity x gate four surfaces of gate 1/4 would let a third of it through.
    """
    return 1 - (1 - opacities.clamp(max=1 - 1e-6)) ** gates
