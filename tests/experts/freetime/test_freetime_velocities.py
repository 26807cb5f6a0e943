"""Velocities of clouds that move as a whole, or do not."""

from __future__ import annotations

import pytest
import torch

from experts.freetime.starts.velocities import MovingPoints, neighbour_velocities, spacings

VELOCITY = torch.tensor([0.004, -0.002, 0.001])


def grid(side: int = 9, *, spacing: float = 0.1) -> MovingPoints:
    """A jittered grid, coloured at random, so that a point's colour is its own."""
    generator = torch.Generator().manual_seed(0)
    line = spacing * torch.arange(side)
    positions = torch.cartesian_prod(line, line, line)
    positions += 0.2 * spacing * torch.rand(positions.shape, generator=generator)
    return MovingPoints(positions=positions, colours=torch.rand(positions.shape, generator=generator))


def moved(points: MovingPoints, step: torch.Tensor) -> MovingPoints:
    return MovingPoints(positions=points.positions + step, colours=points.colours)


@pytest.mark.parametrize("gap", [10.0, -10.0, 1.0])
def test_a_moved_cloud_has_its_velocity(gap):
    cloud = grid()
    order = torch.randperm(len(cloud.positions), generator=torch.Generator().manual_seed(1))
    following = moved(cloud, gap * VELOCITY)
    shuffled = MovingPoints(positions=following.positions[order], colours=following.colours[order])
    velocities = neighbour_velocities(cloud, shuffled, gap=gap)
    error = (velocities - VELOCITY).norm(dim=1)
    assert (error < 1e-4).float().mean() > 0.95  # others share a neighbour's colour
    assert torch.allclose(velocities.median(dim=0).values, VELOCITY, atol=1e-6)


def test_of_a_sheet_of_one_colour_only_motion_across_it_is_found():
    cloud = grid()
    flat = torch.tensor([1.0, 1, 0]) * cloud.positions[cloud.positions[:, 2] < 0.05]
    sheet = MovingPoints(positions=flat, colours=torch.full_like(flat, 0.5))
    velocities = neighbour_velocities(sheet, moved(sheet, torch.tensor([0.04, 0.0, 0.05])), gap=10)
    assert torch.allclose(velocities[:, 2], torch.tensor(0.005), atol=1e-7)
    assert abs(velocities[:, 0].mean()) < 0.002  # the sheet moved by 0.004


def test_what_is_far_or_of_another_colour_stands_still():
    cloud = grid(4)
    assert not neighbour_velocities(cloud, moved(cloud, torch.tensor([0.0, 9.0, 0.0])), gap=1).any()
    other = MovingPoints(positions=cloud.positions + 0.01, colours=(cloud.colours + 0.5) % 1)
    assert (neighbour_velocities(cloud, other, gap=1) == 0).all(1).float().mean() > 0.9
    single = MovingPoints(positions=cloud.positions[:1], colours=cloud.colours[:1])
    nothing = MovingPoints(positions=cloud.positions[:0], colours=cloud.colours[:0])
    assert not neighbour_velocities(cloud, nothing, gap=1).any()
    assert neighbour_velocities(nothing, cloud, gap=1).shape == (0, 3)
    assert not neighbour_velocities(single, cloud, gap=1).any()  # no spacing to judge by


def test_neighbours_are_mutual():
    """Of two points before one, only those count that it has among its own three nearest."""
    line = torch.tensor([0.0, 0.1, 0.2, 0.3, 1.0])
    points = MovingPoints(positions=torch.stack([line, 0 * line, 0 * line], 1), colours=torch.zeros(5, 3))
    one = MovingPoints(positions=torch.tensor([[0.05, 0.0, 0.0]]), colours=torch.zeros(1, 3))
    velocities = neighbour_velocities(points, one, gap=1)[:, 0]
    assert torch.allclose(velocities, torch.tensor([0.05, -0.05, -0.15, 0.0, 0.0]))


def test_spacings_are_those_to_the_three_nearest():
    square = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]])
    assert torch.allclose(spacings(square), torch.full((4,), (4 / 3) ** 0.5))
    assert spacings(square[:1]).tolist() == [0.0]
