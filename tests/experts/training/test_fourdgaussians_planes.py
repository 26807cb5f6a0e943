"""Plane regularisers against sums written out."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from experts.fourdgaussians_planes import PLANES, HexPlanes
from experts.training.fourdgaussians_planes import PlaneWeights, plane_regulariser, roughness

TIME = 3


def direct_roughness(plane: Tensor, *, along_height: bool) -> float:
    rows = plane[0] if along_height else plane[0].transpose(1, 2)
    channels, cells, lines = rows.shape
    total = 0.0
    for c in range(channels):
        for i in range(1, cells - 1):
            for line in range(lines):
                total += float(rows[c, i - 1, line] - 2 * rows[c, i, line] + rows[c, i + 1, line]) ** 2
    return total / (channels * (cells - 2) * lines)


def small_grid() -> HexPlanes:
    grid = HexPlanes(channels=2, resolutions=[(4, 5, 6, 7), (3, 4, 5, 7)]).double()
    generator = torch.Generator().manual_seed(0)
    for parameter in grid.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return grid


@torch.no_grad()
@pytest.mark.parametrize("both", [False, True])
def test_the_regulariser_is_the_specifications_sum(both: bool) -> None:
    grid, weights = small_grid(), PlaneWeights(space=0.3, time=0.7, still=0.11, smooth_both_axes=both)
    expected = 0.0
    for planes in grid.grids:
        for plane, axes in zip(planes, PLANES, strict=True):  # type: ignore[call-overload]
            if TIME in axes:
                expected += 0.7 * direct_roughness(plane, along_height=True) + 0.11 * float((1 - plane).abs().mean())
            else:
                expected += 0.3 * direct_roughness(plane, along_height=True)
                expected += 0.3 * direct_roughness(plane, along_height=False) if both else 0.0
    assert float(plane_regulariser(grid, weights)) == pytest.approx(expected, rel=1e-12)


@torch.no_grad()
def test_time_planes_are_smoothed_along_time_only() -> None:
    grid = small_grid()
    for planes in grid.grids:
        for plane, axes in zip(planes, PLANES, strict=True):  # type: ignore[call-overload]
            steps = torch.arange(plane.shape[2 if TIME not in axes else 3], dtype=torch.float64).square()
            plane.data[:] = steps[:, None] if TIME not in axes else steps  # curved along space, straight along time
    weights = PlaneWeights(space=0.0, time=1.0, still=0.0)
    assert float(plane_regulariser(grid, weights)) == 0.0
    assert float(plane_regulariser(grid, replace(weights, space=1.0))) == pytest.approx(6 * 2.0**2)


def test_two_cells_are_smooth_and_give_no_nan() -> None:
    plane = torch.randn(1, 2, 2, 5, requires_grad=True)
    assert float(roughness(plane, 2)) == 0.0
    assert torch.isfinite(roughness(plane, 3))
