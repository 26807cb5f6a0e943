"""FreeTime: Gaussians that live around a moment and move on a straight line, of one population for the whole clip.

The idea is FreeTimeGS's (Wang et al., CVPR 2025), the gate FreeTimeGS++'s, the flat top and motion that ends where a
Gaussian lasts SharpTimeGS's.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from moegs_rasterizer import Camera, Gaussians, RasterSettings, Splat
from torch import Tensor, nn

from experts.base import Provenance
from experts.canonical.gaussians import CanonicalGaussians, activate
from experts.freetime.recipe import LifeSettings

FRAMES_A_SECOND = 30.0  # by which a life in frames is one in seconds, the unit of SharpTimeGS's rule
MAX_RAW = 30.0  # of widths and holds, of either sign: e^30 frames outlast any clip, and squares still fit float32


class FreeTime(nn.Module):
    """A FreeTime model as an expert. Time is in frames of the clip.

    num_frames: of the clip it was trained on, by which files divide time; rendering does not need it.
    """

    name = "FreeTime"
    same_for_all_cameras = True
    background: tuple[float, ...] = (0.0, 0.0, 0.0)

    def __init__(
        self,
        *,
        gaussians: CanonicalGaussians,  # where they are at their moment
        times: Tensor,  # [n] frame of a Gaussian's moment
        widths: Tensor,  # [n] log of the standard deviation of its life in frames, or a logit (settings.limit)
        velocities: Tensor,  # [n, 3] scene units per frame
        gates: Tensor,  # [n] raw
        log_holds: Tensor | None = None,  # [n] log of half the flat top in frames, of the kernel "flat" alone
        settings: LifeSettings,
        num_frames: int,
        provenance: Provenance | None = None,
    ) -> None:
        super().__init__()
        if (log_holds is None) != (settings.kernel == "bell"):
            raise ValueError(
                f"FreeTime: kernel {settings.kernel!r} {'with' if log_holds is not None else 'without'} holds"
            )
        self.gaussians = gaussians
        self.times = nn.Parameter(times)
        self.widths = nn.Parameter(widths)
        self.velocities = nn.Parameter(velocities)
        self.gates = nn.Parameter(gates)
        self.log_holds = None if log_holds is None else nn.Parameter(log_holds)
        self.life = settings
        self.num_frames = num_frames
        self.provenance = provenance or Provenance(files=(), iteration=0)

    @property
    def num_gaussians(self) -> int:
        return len(self.times)

    @property
    def row_modules(self) -> tuple[tuple[nn.Module, ...], ...]:
        """Modules with a row a Gaussian, in one block."""
        return ((self.gaussians, self),)

    @property
    def settings(self) -> RasterSettings:
        """That of the plain 3DGS rasterizer in gsplat, which the published models use: near plane 0.01."""
        return RasterSettings(near=0.01, depth="median")

    def rows(self, frame: float) -> slice:
        """All rows, at every frame; the rasterizer drops those that the frame does not show."""
        return slice(0, self.num_gaussians)

    def at(self, frame: float, *, camera: int | None = None) -> Gaussians:
        """Gaussians at a frame, the same for every camera: mean + motion x offset, opacity x lifespan."""
        offsets = frame - self.times
        gates = self.gate_values()
        raw = self.gaussians.raw()
        shares = self.motion_shares(gates)
        moving = offsets if shares is None else shares * offsets
        raw["means"] = torch.addcmul(raw["means"], moving[:, None], self.velocities)
        gaussians = activate(raw)
        return replace(gaussians, opacities=gaussians.opacities * self._lifespans(offsets, gates))

    def colour(self, splat: Splat, camera: Camera, *, frame: float) -> Tensor:
        """The splatted colour as it is."""
        return splat.colour

    def lifespans(self, frame: float | Tensor) -> Tensor:
        """Share [n] of a Gaussian's opacity that a frame shows: gate + (1 - gate) x kernel.

        frame: of all, or [n] one for each.
        """
        return self._lifespans(frame - self.times, self.gate_values())

    def gate_values(self) -> Tensor | None:
        """Share [n] of each Gaussian's opacity that is there at all frames; None for a model without gates."""
        return (self.life.sharpness * self.gates).sigmoid() if self.life.has_gate else None

    def motion_shares(self, gates: Tensor | None) -> Tensor | None:
        """Share [n] of its velocity at which each Gaussian moves; None: all of it.

        gates: `gate_values()`. 1 - gate, or SharpTimeGS's 1 / (1 + max(1, (s + r)^2)) for a standard deviation s and
        half a flat top r in seconds: half of the velocity up to lives of a second, then less and less.
        """
        if self.life.still == "lasting":
            lives = self.durations() if self.log_holds is None else self.durations() + self._holds(self.log_holds)
            return 1 / (1 + (lives / FRAMES_A_SECOND).square().clamp(min=1))
        return 1 - gates if self.life.still and gates is not None else None

    def clearest_frames(self) -> Tensor:
        """The frame [n] of the clip, a whole number, that shows most of each Gaussian."""
        return self.times.detach().round().clamp(0, self.num_frames - 1)

    def durations(self) -> Tensor:
        """Standard deviation [n] of each Gaussian's life, frames."""
        raw = self.widths.clamp(-MAX_RAW, MAX_RAW)
        return raw.exp() if self.life.limit is None else self.life.limit * raw.sigmoid()

    def _lifespans(self, offsets: Tensor, gates: Tensor | None) -> Tensor:
        beyond = offsets
        if self.log_holds is not None:
            beyond = (offsets.abs() - self._holds(self.log_holds)).relu()
        kernel = (beyond / self.durations()).square().mul(-0.5).exp()
        return kernel if gates is None else gates + (1 - gates) * kernel

    @staticmethod
    def _holds(log_holds: Tensor) -> Tensor:
        return log_holds.clamp(-MAX_RAW, MAX_RAW).exp()
