from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from common.maths.geometry import onto_image, rotation_of, transformed, turned


def motion(generator: torch.Generator) -> torch.Tensor:
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[:3, :3] = rotation_of(torch.randn(4, generator=generator).tolist())
    matrix[:3, 3] = torch.randn(3, generator=generator)
    return matrix


def test_motions_are_those_of_homogeneous_coordinates():
    generator = torch.Generator().manual_seed(0)
    matrix, points = motion(generator), torch.randn(6, 3, generator=generator, dtype=torch.float64)
    expected = (matrix @ torch.cat([points, torch.ones(6, 1, dtype=torch.float64)], dim=1).T).T[:, :3]
    torch.testing.assert_close(transformed(points, matrix), expected, rtol=0, atol=1e-14)
    torch.testing.assert_close(transformed(points.view(2, 3, 3), matrix), expected.view(2, 3, 3), rtol=0, atol=1e-14)
    np.testing.assert_allclose(transformed(points.numpy(), matrix.numpy()), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("focal_first", [False, True])
def test_pixels_lie_right_of_and_below_the_principal_point(focal_first):
    local = torch.tensor([[0.0, 0.0, 3.0], [1.0, 2.0, 2.0], [-3.0, 1.0, 4.0]])
    pixels = onto_image(local, (100.0, 50.0), (32.0, 24.0), focal_first=focal_first)
    assert pixels.tolist() == [[32.0, 24.0], [82.0, 74.0], [-43.0, 36.5]]


def test_the_order_of_operations_is_as_asked():
    local = torch.randn(1000, 3, generator=torch.Generator().manual_seed(0))
    x, z = local[:, 0], local[:, 2]
    focal, centre = (211.3, 1.0), (80.7, 0.0)
    first = onto_image(local, focal, centre, focal_first=True)[:, 0]
    last = onto_image(local, focal, centre)[:, 0]
    assert torch.equal(first, 211.3 * x / z + 80.7)
    assert torch.equal(last, x / z * 211.3 + 80.7)
    assert not torch.equal(first, last)


def test_turning_is_the_rotation_of_the_quaternion():
    quats = torch.randn(5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    vectors = torch.randn(5, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    expected = torch.stack([rotation_of(quat) @ vector for quat, vector in zip(quats.tolist(), vectors, strict=True)])
    torch.testing.assert_close(turned(vectors, quats), expected, rtol=0, atol=1e-14)
    assert torch.equal(turned(vectors, torch.zeros(5, 4, dtype=torch.float64)), vectors)


def test_a_quarter_turn_about_z():
    quat = [math.cos(math.pi / 4), 0.0, 0.0, math.sin(math.pi / 4)]
    expected = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    torch.testing.assert_close(rotation_of(quat), expected, rtol=0, atol=1e-15)
    torch.testing.assert_close(rotation_of([3 * part for part in quat]), expected, rtol=0, atol=1e-15)
