"""Plane regularisers against sums written out."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor

from experts.fourdgaussians.plane_regularisers import plain_plane_regulariser
from experts.fourdgaussians.plane_regularisers_fused import fused_plane_regulariser
from experts.fourdgaussians.planes import PLANES, HexPlanes
from experts.fourdgaussians.recipe import PlaneWeights
from tests.plain_and_fused import assert_same

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


def small_grid(*resolutions: tuple[int, ...]) -> HexPlanes:
    grid = HexPlanes(channels=2, resolutions=resolutions or [(4, 5, 6, 7), (3, 4, 5, 7), (4, 4, 4, 5)]).double()
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
    assert float(plain_plane_regulariser(grid, weights)) == pytest.approx(expected, rel=1e-12)
    assert float(fused_plane_regulariser(grid, weights)) == pytest.approx(expected, rel=1e-12)


@torch.no_grad()
def test_time_planes_are_smoothed_along_time_only() -> None:
    grid = small_grid()
    for planes in grid.grids:
        for plane, axes in zip(planes, PLANES, strict=True):  # type: ignore[call-overload]
            steps = torch.arange(plane.shape[2 if TIME not in axes else 3], dtype=torch.float64).square()
            plane.data[:] = steps[:, None] if TIME not in axes else steps  # curved along space, straight along time
    weights = PlaneWeights(space=0.0, time=1.0, still=0.0)
    assert abs(float(fused_plane_regulariser(grid, weights))) < 1e-12  # seen: 0
    assert float(fused_plane_regulariser(grid, replace(weights, space=1.0))) == pytest.approx(9 * 2.0**2)


@pytest.mark.parametrize("both", [False, True])
def test_gradients_are_the_sum_s(both: bool) -> None:
    grid, weights = small_grid(), PlaneWeights(space=0.3, time=0.7, still=0.11, smooth_both_axes=both)
    planes = tuple(grid.parameters())
    assert torch.autograd.gradcheck(lambda *_: 3 * fused_plane_regulariser(grid, weights), planes, fast_mode=True)


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("resolutions", [[(4, 5, 6, 7), (3, 4, 5, 7), (4, 4, 4, 5)], [(6, 6, 6, 8)], [(2, 2, 2, 3)]])
def test_the_fused_regulariser_is_the_plain_one(both: bool, resolutions: list[tuple[int, ...]]) -> None:
    grid, weights = small_grid(*resolutions), PlaneWeights(space=0.3, time=0.7, still=0.11, smooth_both_axes=both)
    learned = [plane for plane in grid.parameters() if not (len(resolutions) == 1 and plane.shape[2] == 2)]
    plain, fused = (partial(which, grid, weights) for which in (plain_plane_regulariser, fused_plane_regulariser))
    assert_same(plain, fused, learned, atol=1e-13)


def test_single_precision_is_enough() -> None:
    exact = small_grid((32, 32, 32, 50), (20, 24, 28, 50))
    weights, found = PlaneWeights(smooth_both_axes=True), copy.deepcopy(exact).float()
    value, expected = fused_plane_regulariser(found, weights), plain_plane_regulariser(exact, weights)
    (value.backward(), expected.backward())
    torch.testing.assert_close(value.double(), expected, rtol=1e-6, atol=0)  # seen: 1.3e-8
    for ours, theirs in zip(found.parameters(), exact.parameters(), strict=True):
        error = (ours.grad.double() - theirs.grad).abs().max() / theirs.grad.abs().max()
        assert error < 1e-6, error  # seen: 1.5e-7


def test_time_planes_of_ones_are_left_alone() -> None:
    grid = HexPlanes(channels=2, resolutions=[(32, 32, 32, 150)])
    for parameter in grid.parameters():
        parameter.data.fill_(1.0)
    fused_plane_regulariser(grid, PlaneWeights()).backward()
    for plane, axes in zip(grid.grids[0], PLANES, strict=True):  # type: ignore[call-overload]
        assert TIME not in axes or bool((plane.grad == 0).all())


@pytest.mark.parametrize("cells", [1, 2])
def test_two_cells_are_smooth_and_give_no_nan(cells: int) -> None:
    grid = small_grid((cells, cells, cells, 2))
    value = fused_plane_regulariser(grid, PlaneWeights(still=0.0, smooth_both_axes=True))
    value.backward()
    assert float(value.detach()) == 0.0
    assert all(bool((parameter.grad == 0).all()) for parameter in grid.parameters())
