"""E-D3DGS's deformation: networks of a Gaussian's embedding and a temporal one (Bae et al., ECCV 2024)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from experts.canonical.gaussians import Raw
from experts.canonical.heads import Affine, affine_layers, head, run_networks, trunk
from experts.ed3dgs.temporal import layers_at_time, temporal_embeddings

ANNEAL = 1000  # iterations over which a residual grows to its full size
_OUTPUTS: tuple[tuple[Literal["means", "log_scales", "quats", "opacity_logits", "sh"], str, int], ...] = (
    ("means", "pos_deform", 3),
    ("log_scales", "scales_deform", 3),
    ("quats", "rotations_deform", 4),
    ("opacity_logits", "opacity_deform", 1),
    ("sh", "rgb_deform", 48),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ED3DGSOptions:
    """What the tensors do not tell, under E-D3DGS's own names; the defaults are its N3V preset."""

    min_embeddings: int = 30  # rows of the temporal table as the coarse network sees it
    use_coarse_temporal_embedding: bool = True  # False: the coarse network sees as many as the fine one
    no_c2f_temporal_embedding: bool = False  # True: the fine network sees all rows from the start
    c2f_temporal_iter: int = 10000  # iteration from which it sees all rows
    use_anneal: bool = True
    deform_from_iter: int = 5000  # annealing of scales, opacities and colours starts here
    no_ds: bool = False
    no_dr: bool = False
    no_do: bool = False
    no_dc: bool = False
    no_coarse_deform: bool = False
    no_fine_deform: bool = False

    @property
    def finished(self) -> int:
        """Iteration from which training changes nothing but the tensors."""
        return max(self.c2f_temporal_iter, self.deform_from_iter + ANNEAL)

    def enabled(self) -> dict[str, bool]:
        """Which raw tensors are deformed."""
        return {
            "means": True,
            "log_scales": not self.no_ds,
            "quats": not self.no_dr,
            "opacity_logits": not self.no_do,
            "sh": not self.no_dc,
        }

    def stages(self) -> tuple[str, ...]:
        """Suffixes of the networks in use, in their order."""
        return ("c",) * (not self.no_coarse_deform) + ("f",) * (not self.no_fine_deform)


N3V = ED3DGSOptions()
TECHNICOLOR = ED3DGSOptions(
    min_embeddings=5, no_c2f_temporal_embedding=True, use_anneal=False, deform_from_iter=0, no_dc=True
)


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
        """Raw tensors at a time (float64 scalar, offset included) from the canonical ones and embeddings [n, 32]."""
        stages, enabled = self.options.stages(), self.options.enabled()
        outputs = {key: name for key, name, _ in _OUTPUTS if enabled[key]}
        deformed = raw.copy()
        if not stages:
            return deformed
        temporal = temporal_embeddings(self.weight, time, [self.rows(stage, iteration) for stage in stages])
        trunks = [affine_layers(self.get_submodule(f"feature_out_{stage}")) for stage in stages]
        firsts, *rest = zip(*trunks, strict=True)
        layers = [layers_at_time(firsts, temporal), *map(_stacked, rest)]
        heads = [[self.get_submodule(f"{name}_{stage}") for name in outputs.values()] for stage in stages]
        residuals = dict(zip(outputs, run_networks(embeddings, layers, heads), strict=True))
        factors = {key: self._anneal(key, iteration) for key in outputs}
        for factor in dict.fromkeys(factors.values()):
            keys = [key for key in outputs if factors[key] == factor]
            sums = torch._foreach_add([raw[key] for key in keys], [residuals[key] for key in keys], alpha=factor)
            for key, value in zip(keys, sums, strict=True):
                deformed[key] = value
        return deformed

    def _anneal(self, key: str, iteration: int) -> float:
        if not self.options.use_anneal:
            return 1.0
        start = 0 if key in ("means", "quats") else self.options.deform_from_iter
        return min(max((iteration - start) / ANNEAL, 0.0), 1.0)


def _stacked(layers: Sequence[Affine]) -> Affine:
    weights, biases = zip(*layers, strict=True)
    return torch.stack(weights), torch.stack(biases)
