"""Ex4DGS: static Gaussians that drift linearly, dynamic ones interpolated between keyframes (Lee et al., 2024)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from moegs_rasterizer import Camera, Gaussians, RasterSettings, Splat
from torch import Tensor, nn

from experts.base import Provenance
from experts.ex4dgs.motion import Arcs, KeyframeTimeline, along, arcs, interpolate, opacity_window, slerp
from experts.frozen import FrozenCache
from experts.training.recipes.presets import DataLayout


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
        sh_dc: Tensor,  # [n, 1, 3]
        sh_rest: Tensor,  # [n, 15, 3]
    ) -> None:
        super().__init__()
        self.means = nn.Parameter(means)
        self.displacements = nn.Parameter(displacements)
        self.log_scales = nn.Parameter(log_scales)
        self.quats = nn.Parameter(quats)
        self.opacity_logits = nn.Parameter(opacity_logits)
        self.sh_dc = nn.Parameter(sh_dc)
        self.sh_rest = nn.Parameter(sh_rest)

    def means_at(self, frame: float, timeline: KeyframeTimeline) -> Tensor:
        """Means [n, 3] at a frame, in model units."""
        return torch.add(self.means, self.displacements, alpha=frame / timeline.duration)


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
        sh_dc: Tensor,  # [m, 1, 3]
        sh_rest: Tensor,  # [m, 15, 3]
    ) -> None:
        super().__init__()
        self.means = nn.Parameter(means)
        self.quats = nn.Parameter(quats)
        self.log_scales = nn.Parameter(log_scales)
        self.opacity_logits = nn.Parameter(opacity_logits)
        self.opacity_centres = nn.Parameter(opacity_centres)
        self.opacity_log_widths = nn.Parameter(opacity_log_widths)
        self.sh_dc = nn.Parameter(sh_dc)
        self.sh_rest = nn.Parameter(sh_rest)
        self._arcs: FrozenCache[Arcs] = FrozenCache()

    def means_at(self, frame: float, timeline: KeyframeTimeline) -> Tensor:
        """Means [m, 3] at a frame that the keyframes cover, in model units."""
        return interpolate(self.means, timeline.position(frame), timeline.interpolation)

    def quats_at(self, frame: float, timeline: KeyframeTimeline) -> Tensor:
        """Unit quaternions [m, 4] at a frame that the keyframes cover."""
        position = timeline.position(frame)
        index = int(position)
        if self.quats.requires_grad:
            return slerp(self.quats[:, index], self.quats[:, index + 1], position - index)
        way = self._arcs.of([self.quats], lambda: arcs(self.quats.transpose(0, 1).contiguous()))
        return along(way, index, position - index)

    def window_at(self, frame: float, timeline: KeyframeTimeline) -> Tensor:
        """Factors [m] of the opacities at a frame."""
        smallest = timeline.var_pad / timeline.interval
        position = timeline.position(frame)
        return opacity_window(self.opacity_centres, self.opacity_log_widths, position, smallest=smallest)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Still:
    """Values that no frame changes."""

    scales: Tensor  # [n + m, 3] in model units
    opacities: Tensor  # [n] of static Gaussians
    highest: Tensor  # [m] of dynamic ones, before their window
    sh: Tensor  # [n + m, 16, 3]


def world_scale_of(layout: DataLayout, rig_radius: float) -> float:
    """Data units per unit of a model: Ex4DGS trains Technicolor's scenes in a world divided by the rig's radius."""
    return rig_radius if layout == "technicolor" else 1.0


class Ex4DGS(nn.Module):
    """An Ex4DGS model as an expert: all static Gaussians, then all dynamic ones.

    near, far: culling planes in model units. world_scale: data units per model unit (Technicolor models live in a
    world divided by the rig's radius); `at` and `settings` give data units.
    """

    name = "Ex4DGS"
    same_for_all_cameras = True
    background: tuple[float, ...] = (1.0, 1.0, 1.0)

    def __init__(
        self,
        *,
        static: StaticGaussians,
        dynamic: DynamicGaussians,
        timeline: KeyframeTimeline,
        near: float,
        far: float,
        low_pass: float = 0.1,
        world_scale: float = 1.0,
        provenance: Provenance | None = None,
    ) -> None:
        super().__init__()
        self.static = static
        self.dynamic = dynamic
        self.timeline = timeline
        self.near, self.far = near, far
        self.low_pass = low_pass
        self.world_scale = world_scale
        self.provenance = provenance or Provenance(files=(), iteration=0)
        self._frozen: FrozenCache[_Still] = FrozenCache()

    @property
    def num_gaussians(self) -> int:
        return self.static.means.shape[0] + self.dynamic.means.shape[0]

    @property
    def row_modules(self) -> tuple[tuple[nn.Module, ...], ...]:
        """Modules with a row a Gaussian: static ones, then dynamic ones."""
        return ((self.static,), (self.dynamic,))

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
        still = self._still()
        means, opacities = [self.static.means_at(frame, self.timeline)], [still.opacities]
        quats: list[Tensor] = [self.static.quats]
        if self.dynamic.means.shape[0] > 0:
            means.append(self.dynamic.means_at(frame, self.timeline))
            quats.append(self.dynamic.quats_at(frame, self.timeline))
            opacities.append(self.dynamic.window_at(frame, self.timeline) * still.highest)
        return Gaussians(
            means=self._in_data_units(torch.cat(means)),
            scales=self._in_data_units(still.scales),
            quats=torch.cat(quats),
            opacities=torch.cat(opacities),
            sh=still.sh,
        )

    def _in_data_units(self, lengths: Tensor) -> Tensor:
        return lengths if self.world_scale == 1 else lengths * self.world_scale

    def _still(self) -> _Still:
        first, last = self.static, self.dynamic
        log_scales, logits = (first.log_scales, last.log_scales), (first.opacity_logits, last.opacity_logits)
        sh_dc, sh_rest = (first.sh_dc, last.sh_dc), (first.sh_rest, last.sh_rest)
        return self._frozen.of(
            [*log_scales, *logits, *sh_dc, *sh_rest],
            lambda: _Still(
                scales=torch.cat(log_scales).exp(),
                opacities=logits[0].sigmoid(),
                highest=logits[1].sigmoid(),
                sh=torch.cat([torch.cat(sh_dc), torch.cat(sh_rest)], dim=1),
            ),
        )

    def colour(self, splat: Splat, camera: Camera, *, frame: float) -> Tensor:
        """The splatted colour as it is."""
        return splat.colour
