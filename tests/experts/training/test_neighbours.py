"""Neighbours among points, and the scales that follow from them."""

from __future__ import annotations

import pytest
import torch

from experts.training.gaussians.initial import neighbour_log_scales
from experts.training.gaussians.neighbours import nearest_neighbours
from experts.training.start import StartPoints


def test_neighbours_are_those_of_all_pairs():
    points = torch.randn(500, 3, generator=torch.Generator().manual_seed(0))
    distances, indices = nearest_neighbours(points, 4)
    pairs = (points[:, None].double() - points.double()).norm(dim=2)
    expected = pairs.fill_diagonal_(torch.inf).topk(4, largest=False)
    assert torch.equal(indices, expected.indices)
    torch.testing.assert_close(distances, expected.values.float())
    assert distances.dtype == points.dtype


@pytest.mark.parametrize("copies", [2, 4, 9])
def test_points_at_one_place_are_neighbours_but_not_of_themselves(copies):
    places = torch.tensor([[0.0, 0, 0], [1.0, 0, 0]])
    distances, indices = nearest_neighbours(places.repeat_interleave(copies, dim=0), 3)
    own = torch.arange(2 * copies)[:, None]
    assert (indices != own).all()
    assert all(len(set(row)) == 3 for row in indices.tolist())
    assert torch.equal(distances, ((indices // copies) != (own // copies)).float())
    assert ((distances == 0).sum(1) == min(3, copies - 1)).all()


@pytest.mark.parametrize(("count", "columns"), [(0, 0), (1, 0), (2, 1), (3, 2), (4, 3), (5, 3)])
def test_few_points_have_few_neighbours(count, columns):
    distances, indices = nearest_neighbours(torch.rand(count, 3), 3)
    assert distances.shape == indices.shape == (count, columns)
    assert neighbour_log_scales(torch.rand(count, 3)).shape == (count, 3)


def test_small_distances_far_from_the_origin_keep_their_digits():
    line = torch.tensor([1000.0, 0, 0]) + torch.arange(5)[:, None] * torch.tensor([0.0, 2**-10, 0])
    assert nearest_neighbours(line, 1)[0].flatten().tolist() == [2**-10] * 5


def test_points_that_are_not_finite_are_refused():
    points = torch.rand(10, 3)
    points[4, 1] = torch.nan
    with pytest.raises(ValueError, match="1 of 10 points are not finite"):
        nearest_neighbours(points, 3)


@pytest.mark.cuda
def test_neighbours_come_back_on_the_points_device():
    points = torch.rand(100, 3)
    for here, there in zip(nearest_neighbours(points, 3), nearest_neighbours(points.cuda(), 3), strict=True):
        assert there.is_cuda and torch.equal(here, there.cpu())
    torch.testing.assert_close(neighbour_log_scales(points.cuda()).cpu(), neighbour_log_scales(points))


def test_start_points_move_together():
    points = StartPoints(positions=torch.rand(4, 3), colours=torch.rand(4, 3), frames=torch.arange(4.0))
    moved = points.to("meta")
    assert moved.positions.is_meta and moved.colours.is_meta and moved.frames.is_meta and moved.count == 4
