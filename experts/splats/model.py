"""Splats: Gaussians on straight lines, each there for a part of the clip; what files of other methods are read as."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from moegs_rasterizer import Camera, Gaussians, RasterSettings, Splat
from torch import Tensor, nn

from experts.base import Provenance
from experts.canonical.gaussians import CanonicalGaussians, activate
from experts.frozen import FrozenCache


class Splats(nn.Module):
    """Moving splats as an expert. Time is in frames of the clip.

    A Gaussian is at its mean at its moment, and its opacity is `bell` of that: exp(-((frame - time) / width)^2 / 2).
    Outside of its window it is not there. A Gaussian of another method that does not move on a line is several
    Gaussians here, one after the other (engine/export/following/lines.py).

    Rows are put in the order of their windows' first frames, so that those of a frame lie together.
    """

    name = "Splats"
    same_for_all_cameras = True
    background: tuple[float, ...] = (0.0, 0.0, 0.0)
    times: Tensor
    widths: Tensor
    windows: Tensor

    def __init__(
        self,
        *,
        gaussians: CanonicalGaussians,  # where they are at their moment
        times: Tensor,  # [n] frame of a Gaussian's moment
        widths: Tensor,  # [n] standard deviation of its opacity in frames; inf: it does not fade
        velocities: Tensor,  # [n, 3] scene units per frame
        windows: Tensor,  # [n, 2] frames: the first that shows it, and where it is gone
        num_frames: int,
        first_frame: int | None = None,  # of the footage, as the files tell: the clip's first
        settings: RasterSettings | None = None,
        background: Sequence[float] = (0.0, 0.0, 0.0),
        provenance: Provenance | None = None,
    ) -> None:
        super().__init__()
        order = windows[:, 0].argsort(stable=True)
        self.gaussians = CanonicalGaussians(
            **{name: parameter.detach()[order] for name, parameter in gaussians.named_parameters()}
        )
        self.velocities = nn.Parameter(velocities[order])
        self.register_buffer("times", times[order])
        self.register_buffer("widths", widths[order])
        self.register_buffer("windows", windows[order])
        self._ends: FrozenCache[np.ndarray] = FrozenCache()
        self.num_frames = num_frames
        self.first_frame = first_frame
        self.settings = settings or RasterSettings()
        self.background = tuple(background)
        self.provenance = provenance or Provenance(files=(), iteration=0)

    @property
    def num_gaussians(self) -> int:
        return len(self.velocities)

    @property
    def row_modules(self) -> tuple[tuple[nn.Module, ...], ...]:
        """Modules with a row a Gaussian, in one block."""
        return ((self.gaussians, self),)

    def rows(self, frame: float) -> slice:
        """The rows from the first to the last that the frame shows; some between them may be gone."""
        ends = self._ends.of([self.windows], lambda: self.windows.cpu().numpy())  # a GPU is waited for once
        there = np.flatnonzero((ends[:, 0] <= frame) & (frame < ends[:, 1]))
        return slice(int(there[0]), int(there[-1]) + 1) if len(there) else slice(0, 0)

    def at(self, frame: float, *, camera: int | None = None) -> Gaussians:
        """Gaussians at a frame, the same for every camera: mean + velocity x offset, opacity x bell."""
        rows = self.rows(frame)
        raw = self.gaussians.raw()
        offsets = frame - self.times[rows]
        raw["means"] = torch.addcmul(raw["means"][rows], offsets[:, None], self.velocities[rows])
        raw["log_scales"], raw["quats"] = raw["log_scales"][rows], raw["quats"][rows]
        raw["opacity_logits"], raw["sh"] = raw["opacity_logits"][rows], raw["sh"][rows]
        gaussians = activate(raw)
        there = (self.windows[rows, 0] <= frame) & (frame < self.windows[rows, 1])
        return replace(gaussians, opacities=gaussians.opacities * bell(offsets, self.widths[rows]) * there)

    def colour(self, splat: Splat, camera: Camera, *, frame: float) -> Tensor:
        """The splatted colour as it is."""
        return splat.colour


def bell(offsets: Tensor, widths: Tensor) -> Tensor:
    """Share of an opacity at frames from a Gaussian's moment; widths: standard deviations, inf allowed."""
    return (offsets / widths).square().mul(-0.5).exp()
