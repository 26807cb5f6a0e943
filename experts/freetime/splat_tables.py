"""Tables of raw Gaussians as trainers on gsplat store them, under its names and checked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from experts.base import CheckpointError
from experts.canonical.gaussians import CanonicalGaussians
from experts.formats.torch_files import require_finite

_SH_REST = (0, 3, 8, 15)  # coefficients above the constant one, by degree


def row_count(stored: Mapping[str, Any], name: str, path: Path) -> int:
    """Rows of a tensor that a file must have; raises CheckpointError."""
    value = stored.get(name)
    if not isinstance(value, Tensor) or value.dim() == 0:
        raise CheckpointError(f"{path}: no tensor {name}; another model's file?")
    return len(value)


def gaussian_shapes(count: int) -> dict[str, tuple[int, ...]]:
    """Shapes of all but the harmonics."""
    return {"means": (count, 3), "scales": (count, 3), "quats": (count, 4), "opacities": (count,)}


def tensors_of(stored: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], path: Path) -> dict[str, Tensor]:
    """float32 tensors of some shapes, a last dimension of 1 more or less; CheckpointError for others and for NaN."""
    tensors = {}
    for name, shape in shapes.items():
        value = stored.get(name)
        found = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
        if not isinstance(value, Tensor) or tuple(value.shape) not in (shape, (*shape, 1)):
            raise CheckpointError(f"{path}: {name} is {found}, {list(shape)} expected; damaged file?")
        tensors[name] = value.detach().to(torch.float32).reshape(shape).clone()
    checked = {name: _without_infinity(value) if name == "opacities" else value for name, value in tensors.items()}
    require_finite(checked, path)
    return tensors


def _without_infinity(logits: Tensor) -> Tensor:
    """Infinite opacity logits are opacities of 1 and 0."""
    return logits.masked_fill(logits.isinf(), 0)


def gaussians_of(
    stored: Mapping[str, Any], tensors: Mapping[str, Tensor], *, names: tuple[str, str], path: Path
) -> CanonicalGaussians:
    """Gaussians of tensors, and of harmonics [n, 1, 3] and [n, k, 3] of some names, to degree 3 with zeros."""
    count, (first, others) = len(tensors["means"]), names
    rest = stored.get(others)
    width = rest.shape[1] if isinstance(rest, Tensor) and rest.dim() == 3 else -1
    if width not in _SH_REST:
        raise CheckpointError(f"{path}: {others} is no tensor [{count}, 0, 3, 8 or 15, 3]; damaged file?")
    sh = tensors_of(stored, {first: (count, 1, 3), others: (count, width, 3)}, path)
    return CanonicalGaussians(
        means=tensors["means"],
        log_scales=tensors["scales"],
        quats=tensors["quats"],
        opacity_logits=tensors["opacities"],
        sh_dc=sh[first],
        sh_rest=pad(sh[others], (0, 0, 0, _SH_REST[-1] - width)),
    )
