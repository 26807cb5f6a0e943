"""STG, Spacetime Gaussians (Li et al., CVPR 2024): polynomial motion and a temporal window, one model per segment."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import cast

import torch
from moegs_rasterizer import Camera, Gaussians, RasterSettings, Splat, camera_rays
from torch import Tensor, nn

from experts.base import Provenance
from experts.frozen import FrozenCache
from experts.stg.decoder import SandwichDecoder
from experts.stg.motion import Moving, plain_moved
from experts.stg.motion_cuda import has_motion_kernel, moved_by_kernel


class STGSegment(nn.Module):
    """The model of frames first ... first + num_frames - 1: the raw tensors of its point_cloud.ply.

    Colour is one of three: `sh_dc` and `sh_rest` (MoE-GS's variant); six `features`, `time_features` and a `decoder`
    (original, full); three `features` (original, lite).
    """

    def __init__(
        self,
        *,
        first: int,
        num_frames: int,
        means: Tensor,  # [n, 3] at the window's centre
        motion: Tensor,  # [n, 9] coefficients of time, its square and its cube, xyz each
        quats: Tensor,  # [n, 4] at the window's centre; zero means no rotation
        omegas: Tensor,  # [n, 4] change of the quaternion per unit of time
        log_scales: Tensor,  # [n, 3]
        opacity_logits: Tensor,  # [n]
        trbf_centres: Tensor,  # [n] in segment time: 0 at its first frame, 1 after its last
        trbf_log_widths: Tensor,  # [n]
        sh_dc: Tensor | None = None,  # [n, 1, 3]
        sh_rest: Tensor | None = None,  # [n, 15, 3]
        features: Tensor | None = None,  # [n, 6] or [n, 3]
        time_features: Tensor | None = None,  # [n, 3]
        decoder: SandwichDecoder | None = None,
    ) -> None:
        super().__init__()
        lacking = [part is None for part in (sh_dc, sh_rest)]
        if lacking != 2 * [features is not None] or (time_features is None) != (decoder is None):
            raise ValueError(
                "STG segment: give sh_dc and sh_rest, or features (with time_features and decoder, or without both)"
            )
        self.first, self.num_frames = first, num_frames
        self.means = nn.Parameter(means)
        self.motion = nn.Parameter(motion)
        self.quats = nn.Parameter(quats)
        self.omegas = nn.Parameter(omegas)
        self.log_scales = nn.Parameter(log_scales)
        self.opacity_logits = nn.Parameter(opacity_logits)
        self.trbf_centres = nn.Parameter(trbf_centres)
        self.trbf_log_widths = nn.Parameter(trbf_log_widths)
        self.sh_dc = None if sh_dc is None else nn.Parameter(sh_dc)
        self.sh_rest = None if sh_rest is None else nn.Parameter(sh_rest)
        self.features = None if features is None else nn.Parameter(features)
        self.time_features = None if time_features is None else nn.Parameter(time_features)
        self.decoder = decoder
        self._scales: FrozenCache[Tensor] = FrozenCache()
        self._sh: FrozenCache[Tensor] = FrozenCache()

    @property
    def colour_channels(self) -> int:
        if self.features is None:
            return 3
        return self.features.shape[1] + (0 if self.time_features is None else self.time_features.shape[1])

    def forward(self, frame: float) -> Gaussians:
        """Gaussians at a frame of the clip (STG eqs. 7-10; opacity without the factor 1/2, as in its code).

        The window's centre gets gradient through the opacity alone.
        """
        time = (frame - self.first) / self.num_frames
        raw = Moving(
            means=self.means,
            motion=self.motion,
            quats=self.quats,
            omegas=self.omegas,
            opacity_logits=self.opacity_logits,
            window_centres=self.trbf_centres,
            log_widths=self.trbf_log_widths,
        )
        # The choice: both give the same up to rounding, the readable one in a dozen launches and with gradients.
        moved = moved_by_kernel(raw, time) if has_motion_kernel(raw) else plain_moved(raw, time)
        return Gaussians(
            means=moved.means,
            scales=self._scales.of((self.log_scales,), self.log_scales.exp),
            quats=moved.quats,
            opacities=moved.opacities,
            sh=self._joined_sh(),
            colours=self._colours(time),
        )

    def _joined_sh(self) -> Tensor | None:
        if self.sh_dc is None or self.sh_rest is None:
            return None
        parts = self.sh_dc, self.sh_rest
        return self._sh.of(parts, lambda: torch.cat(parts, dim=1))

    def _colours(self, time: float) -> Tensor | None:
        if self.features is None or self.time_features is None:
            return self.features
        offset = (time - self.trbf_centres).detach().unsqueeze(1)
        return torch.cat([self.features, self.time_features * offset], dim=1)


class STG(nn.Module):
    """One or more STG segments that follow each other, as one expert; rows of all segments, in their order.

    near, far: culling planes of the SH variant, which is splatted with Ex4DGS's rasterizer (MoE-GS). The original
    variants have 3DGS's near plane and no far one.
    """

    name = "STG"
    same_for_all_cameras = True

    def __init__(
        self,
        *,
        segments: Sequence[STGSegment],
        near: float = 0.2,
        far: float = 300.0,
        low_pass: float = 0.1,
        provenance: Provenance | None = None,
    ) -> None:
        super().__init__()
        if len({(segment.colour_channels, segment.sh_dc is None) for segment in segments}) != 1:
            raise ValueError("STG: one segment or more is needed, all of one kind (sh, full or lite)")
        self.segments = nn.ModuleList(segments)
        self.background = (0.0,) * segments[0].colour_channels
        self.near, self.far = near, far
        self.low_pass = low_pass
        self.provenance = provenance or Provenance(files=(), iteration=0)

    @property
    def num_gaussians(self) -> int:
        return sum(segment.means.shape[0] for segment in self.parts)

    @property
    def parts(self) -> tuple[STGSegment, ...]:
        """The segments in time order."""
        return tuple(cast(STGSegment, segment) for segment in self.segments)

    @property
    def row_modules(self) -> tuple[tuple[nn.Module, ...], ...]:
        """Modules with a row a Gaussian: the segments."""
        return tuple((segment,) for segment in self.parts)

    @property
    def settings(self) -> RasterSettings:
        """Ex4DGS's convention for the SH variant, 3DGS's for the original ones."""
        if self.parts[0].sh_dc is None:
            return RasterSettings(depth="median")
        return RasterSettings(
            low_pass=self.low_pass, compensate=True, near=self.near, far=self.far, ndc_limit=1.3, depth="mean"
        )

    @property
    def num_frames(self) -> int:
        """Frames that the segments cover, from 0."""
        return sum(segment.num_frames for segment in self.parts)

    def rows(self, frame: float) -> slice:
        """Rows of the segment that shows a frame."""
        index = self._active(frame)
        starts = list(itertools.accumulate((segment.means.shape[0] for segment in self.parts), initial=0))
        return slice(starts[index], starts[index + 1])

    def at(self, frame: float, *, camera: int | None = None) -> Gaussians:
        """Gaussians of the segment that shows a frame; raises ValueError for frames that no segment covers."""
        gaussians: Gaussians = self.parts[self._active(frame)](frame)
        return gaussians

    def colour(self, splat: Splat, camera: Camera, *, frame: float) -> Tensor:
        """The splatted colour; the full variant decodes it, with the camera's rays, by its segment's network."""
        decoder = self.parts[self._active(frame)].decoder
        if decoder is None:
            return splat.colour
        decoded: Tensor = decoder(
            splat.colour, camera_rays(camera, dtype=splat.colour.dtype, device=splat.colour.device)
        )
        return decoded

    def _active(self, frame: float) -> int:
        """A fractional frame between two segments belongs to the earlier one."""
        whole = math.floor(frame)
        for index, segment in enumerate(self.parts):
            if 0 <= whole - segment.first < segment.num_frames:
                return index
        raise ValueError(f"STG: frame {frame:g} lies outside 0 to {self.num_frames - 1}, which its segments cover")
