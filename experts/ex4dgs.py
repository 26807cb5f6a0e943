"""Ex4DGS: static Gaussians that drift linearly, dynamic ones interpolated between keyframes (Lee et al., 2024)."""

from __future__ import annotations

import torch
from moegs_rasterizer import Camera, Gaussians, RasterSettings, Splat
from torch import Tensor, nn

from .base import Provenance
from .ex4dgs_motion import Timeline, interpolate, opacity_window, slerp


class StaticGaussians(nn.Module):
    """The first rows: Gaussians that move by `displacements` over the clip. Raw tensors of point_cloud.ply."""

    def __init__(
        self,
        *,
        means: Tensor,  # [n, 3] at frame 0
        displacements: Tensor,  # [n, 3]
        log_scales: Tensor,  # [n, 3]
        quats: Tensor,  # [n, 4], used as they are: their length changes the covariance
        opacity_logits: Tensor,  # [n]
        sh: Tensor,  # [n, 16, 3]
    ) -> None:
        super().__init__()
        self.means = nn.Parameter(means)
        self.displacements = nn.Parameter(displacements)
        self.log_scales = nn.Parameter(log_scales)
        self.quats = nn.Parameter(quats)
        self.opacity_logits = nn.Parameter(opacity_logits)
        self.sh = nn.Parameter(sh)

    def forward(self, frame: float, timeline: Timeline) -> Gaussians:
        """Gaussians at a frame, in model units."""
        return Gaussians(
            means=self.means + self.displacements * (frame / timeline.duration),
            scales=self.log_scales.exp(),
            quats=self.quats,
            opacities=self.opacity_logits.sigmoid(),
            sh=self.sh,
        )


class DynamicGaussians(nn.Module):
    """The last rows: Gaussians with keyframes and an opacity window. Raw tensors of dynamic_point_cloud.ply."""

    def __init__(
        self,
        *,
        means: Tensor,  # [m, k, 3]
        quats: Tensor,  # [m, k, 4]
        log_scales: Tensor,  # [m, 3]
        opacity_logits: Tensor,  # [m]
        opacity_centres: Tensor,  # [m, 2] in units of keyframes
        opacity_log_widths: Tensor,  # [m, 2] before the first centre, after it
        sh: Tensor,  # [m, 16, 3]
    ) -> None:
        super().__init__()
        self.means = nn.Parameter(means)
        self.quats = nn.Parameter(quats)
        self.log_scales = nn.Parameter(log_scales)
        self.opacity_logits = nn.Parameter(opacity_logits)
        self.opacity_centres = nn.Parameter(opacity_centres)
        self.opacity_log_widths = nn.Parameter(opacity_log_widths)
        self.sh = nn.Parameter(sh)

    def forward(self, frame: float, timeline: Timeline) -> Gaussians:
        """Gaussians at a frame that the keyframes cover, in model units."""
        position = timeline.position(frame)
        index = int(position)
        smallest = timeline.var_pad / timeline.interval
        window = opacity_window(self.opacity_centres, self.opacity_log_widths, position, smallest=smallest)
        return Gaussians(
            means=interpolate(self.means, position, timeline.interpolation),
            scales=self.log_scales.exp(),
            quats=slerp(self.quats[:, index], self.quats[:, index + 1], position - index),
            opacities=window * self.opacity_logits.sigmoid(),
            sh=self.sh,
        )


class Ex4DGS(nn.Module):
    """An Ex4DGS model as an expert: all static Gaussians, then all dynamic ones.

    near, far: culling planes in model units. world_scale: data units per model unit (Technicolor models live in a
    world divided by the rig's radius); `at` and `settings` give data units.
    """

    name = "Ex4DGS"
    background: tuple[float, ...] = (1.0, 1.0, 1.0)

    def __init__(
        self,
        *,
        static: StaticGaussians,
        dynamic: DynamicGaussians,
        timeline: Timeline,
        near: float,
        far: float,
        low_pass: float = 0.1,
        world_scale: float = 1.0,
        provenance: Provenance | None = None,
    ) -> None:
        super().__init__()
        self.static = static
        self.dynamic = dynamic
        self.num_gaussians = static.means.shape[0] + dynamic.means.shape[0]
        self.timeline = timeline
        self.near, self.far = near, far
        self.low_pass = low_pass
        self.world_scale = world_scale
        self.provenance = provenance or Provenance(files=(), iteration=0)

    @property
    def settings(self) -> RasterSettings:
        """Ex4DGS's own rasterizer: small low-pass with opacity compensation, near, far and side culling."""
        return RasterSettings(
            low_pass=self.low_pass,
            compensate=True,
            near=self.near * self.world_scale,
            far=self.far * self.world_scale,
            ndc_limit=1.3,
            depth="mean",
        )

    @property
    def frames(self) -> tuple[float, float]:
        """First frame (included) and last frame (excluded) that `at` accepts."""
        if self.dynamic.means.shape[0] == 0:
            return -float("inf"), float("inf")
        return self.timeline.frames(self.dynamic.means.shape[1])

    def rows(self, frame: float) -> slice:
        """All rows, at every frame."""
        return slice(0, self.num_gaussians)

    def at(self, frame: float, *, camera: int | None = None) -> Gaussians:
        """Gaussians at a frame in data units; raises ValueError outside the frames that the keyframes cover."""
        first, last = self.frames
        if not first <= frame < last:
            raise ValueError(f"Ex4DGS: frame {frame:g} lies outside {first:g} to {last:g}, which its keyframes cover")
        parts = [self.static(frame, self.timeline)]
        if self.dynamic.means.shape[0] > 0:
            parts.append(self.dynamic(frame, self.timeline))
        return Gaussians(
            means=torch.cat([part.means for part in parts]) * self.world_scale,
            scales=torch.cat([part.scales for part in parts]) * self.world_scale,
            quats=torch.cat([part.quats for part in parts]),
            opacities=torch.cat([part.opacities for part in parts]),
            sh=torch.cat([part.sh for part in parts]),
        )

    def colour(self, splat: Splat, camera: Camera, *, frame: float) -> Tensor:
        """The splatted colour as it is."""
        return splat.colour
