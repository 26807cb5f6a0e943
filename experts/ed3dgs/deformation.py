"""E-D3DGS's deformation: networks of a Gaussian's embedding and a temporal one (Bae et al., ECCV 2024)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from experts.canonical.gaussians import Raw
from experts.canonical.heads import head, plain_heads, trunk
from experts.ed3dgs.deformation_fused import fused_residuals
from experts.ed3dgs.recipe import ANNEAL, ED3DGSOptions
from experts.ed3dgs.temporal_fused import fused_temporal_embeddings

Key = Literal["means", "log_scales", "quats", "opacity_logits", "sh"]  # of a raw tensor
_OUTPUTS: tuple[tuple[Key, str, int], ...] = (  # with its head's name and width
    ("means", "pos_deform", 3),
    ("log_scales", "scales_deform", 3),
    ("quats", "rotations_deform", 4),
    ("opacity_logits", "opacity_deform", 1),
    ("sh", "rgb_deform", 48),
)


def plain_residuals(
    embeddings: Tensor, temporal: Tensor, trunks: Sequence[nn.Module], heads: Sequence[Sequence[nn.Module]]
) -> list[Tensor]:
    """One residual [n, outputs] per head, summed over s networks (E-D3DGS, "coarse-fine deformation").

    Every network sees a Gaussian's embedding [n, e] behind a temporal one of its own, a row of [s, t].
    """
    by_network = []
    for at_time, before, own in zip(temporal, trunks, heads, strict=True):
        inputs = torch.cat([at_time.expand(len(embeddings), -1), embeddings], dim=1)
        by_network.append(plain_heads(inputs, before, own))
    return [torch.stack(residuals).sum(0) for residuals in zip(*by_network, strict=True)]


class ED3DGSDeformation(nn.Module):
    """Both networks, the temporal table and the cameras' time offsets, under the names of deformation.pth."""

    def __init__(
        self,
        options: ED3DGSOptions,
        *,
        width: int = 128,
        depth: int = 1,
        max_embeddings: int = 150,
        temporal_width: int = 256,
        embedding_width: int = 32,
        cameras: int = 30,
    ) -> None:
        super().__init__()
        self.options = options
        self.weight = nn.Parameter(torch.empty(max_embeddings, temporal_width))
        self.offsets = nn.Parameter(torch.zeros(cameras, 1))
        for stage in ("c", "f"):
            self.add_module(f"feature_out_{stage}", trunk(temporal_width + embedding_width, width, depth))
            for _, name, outputs in _OUTPUTS:
                self.add_module(f"{name}_{stage}", head(width, outputs))

    def offset(self, camera: int | None) -> Tensor:
        """Time offset (float64 scalar) of a training camera; for None the mean of the offsets that were trained."""
        if camera is not None and not 0 <= camera < self.offsets.shape[0]:
            last = self.offsets.shape[0] - 1
            raise ValueError(f"E-D3DGS: camera {camera} has no time offset, only 0 ... {last}; pass None for others")
        if camera is not None:
            return self.offsets.view(-1)[camera].double()
        trained = (self.offsets != 0).double()  # as factors: choosing rows by a mask would wait for a GPU
        return (self.offsets.double() * trained).sum() / trained.sum().clamp(min=1)

    def rows(self, stage: str, iteration: int) -> int:
        """Rows to which the temporal table is resampled for a network at a training iteration."""
        smallest, largest = self.options.min_embeddings, self.weight.shape[0]
        if stage == "c" and self.options.use_coarse_temporal_embedding:
            return smallest
        last = self.options.c2f_temporal_iter
        if self.options.no_c2f_temporal_embedding or iteration >= last:
            return largest
        return int(smallest + (largest - smallest) * max(iteration, 0) / last)

    def forward(self, raw: Raw, embeddings: Tensor, time: Tensor, *, iteration: int) -> Raw:
        """Raw tensors at a time (float64 scalar, offset included) from the canonical ones and embeddings [n, 32].

        Each becomes raw + annealing factor * residual.
        """
        stages, enabled = self.options.stages(), self.options.enabled()
        if not stages:
            return raw.copy()
        names = {key: name for key, name, _ in _OUTPUTS if enabled[key]}
        rows = [self.rows(stage, iteration) for stage in stages]
        trunks = [self.get_submodule(f"feature_out_{stage}") for stage in stages]
        heads = [[self.get_submodule(f"{name}_{stage}") for name in names.values()] for stage in stages]
        # The choice: plain_temporal_embeddings and plain_residuals give the same up to rounding, in many more launches.
        temporal = fused_temporal_embeddings(self.weight, time, rows)
        residuals = dict(zip(names, fused_residuals(embeddings, temporal, trunks, heads), strict=True))
        return self._annealed(raw, residuals, iteration)

    def _annealed(self, raw: Raw, residuals: Mapping[Key, Tensor], iteration: int) -> Raw:
        """raw + factor * residual, those of one factor in one launch."""
        moved = raw.copy()
        factors = {key: self._factor(key, iteration) for key in residuals}
        for factor in dict.fromkeys(factors.values()):
            keys = [key for key in residuals if factors[key] == factor]
            sums = torch._foreach_add([raw[key] for key in keys], [residuals[key] for key in keys], alpha=factor)
            for key, value in zip(keys, sums, strict=True):
                moved[key] = value
        return moved

    def _factor(self, key: str, iteration: int) -> float:
        """Annealing factor of a tensor's residual, 0 ... 1 (E-D3DGS's code)."""
        if not self.options.use_anneal:
            return 1.0
        start = 0 if key in ("means", "quats") else self.options.deform_from_iter
        return min(max((iteration - start) / ANNEAL, 0.0), 1.0)
