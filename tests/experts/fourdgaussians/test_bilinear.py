"""Bilinear look-up: gradients of grid_sample, and of differences, in whole numbers."""

import pytest
import torch
from torch.autograd import gradcheck

from experts.fourdgaussians.bilinear_look_up import plain_bilinear
from experts.fourdgaussians.bilinear_look_up_fused import repeatable_bilinear
from experts.fourdgaussians.planes_fused import bilinear


def case(shape, *, count=5000, dtype=torch.float32, device="cpu"):
    generator = torch.Generator().manual_seed(0)
    planes = torch.randn(shape, generator=generator, dtype=dtype)
    coordinates = torch.rand(shape[0], 1, count, 2, generator=generator, dtype=dtype) * 2.6 - 1.3  # some lie outside
    coordinates[:, 0, :3] = torch.tensor([[1.0, 1.0], [-1.0, 1.0], [0.0, -1.0]])
    weights = torch.randn(shape[0], shape[1], 1, count, generator=generator, dtype=dtype)
    return planes.to(device).requires_grad_(), coordinates.to(device).requires_grad_(), weights.to(device)


def results(function, planes, coordinates, weights):
    values = function(planes, coordinates)
    return values.detach(), *torch.autograd.grad((values * weights).sum(), [planes, coordinates])


@pytest.mark.parametrize("shape", [(3, 4, 5, 7), (2, 3, 1, 6), (2, 3, 6, 1), (1, 2, 1, 1), (1, 16, 64, 64)])
def test_values_and_gradients_are_those_of_grid_sample(shape):
    given = case(shape)
    values, of_planes, of_places = results(repeatable_bilinear, *given)
    theirs = results(plain_bilinear, *given)
    assert torch.equal(values, theirs[0]) and torch.equal(of_places, theirs[2])
    assert theirs[1].abs().max() > 1
    torch.testing.assert_close(of_planes, theirs[1], atol=5e-6 * float(theirs[1].abs().max()), rtol=0)


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1e30])
def test_gradients_of_any_size_keep_their_digits(scale):
    planes, coordinates, weights = case((1, 2, 4, 4), count=50)
    (_, ours, _), (_, theirs, _) = (
        results(which, planes, coordinates, weights * scale) for which in (repeatable_bilinear, plain_bilinear)
    )
    torch.testing.assert_close(ours / scale, theirs / scale, atol=1e-5, rtol=1e-5)


def test_no_gradients_give_none():
    planes, coordinates, weights = case((1, 2, 4, 4), count=50)
    assert results(repeatable_bilinear, planes, coordinates, weights * 0)[1].abs().max() == 0


def test_no_points_give_none():
    planes, coordinates, weights = case((1, 2, 4, 4), count=3)
    none = (planes, coordinates[:, :, :0], weights[..., :0])
    assert not any(gradient.any() for gradient in results(repeatable_bilinear, *none)[1:])


def test_gradients_are_differences():
    planes, coordinates, _ = case((2, 2, 3, 4), count=6, dtype=torch.float64)
    assert gradcheck(lambda planes: repeatable_bilinear(planes, coordinates.detach()), (planes,))


def test_the_order_of_points_does_not_change_a_bit():
    planes, coordinates, weights = case((1, 8, 4, 4), count=20_000)
    order = torch.randperm(20_000, generator=torch.Generator().manual_seed(1))
    (_, straight, _), (_, shuffled, _) = (
        results(repeatable_bilinear, planes, coordinates[:, :, which], weights[..., which])
        for which in (slice(None), order)
    )
    assert torch.equal(straight, shuffled)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def test_points_without_gradients_change_no_bit(device):
    planes, coordinates, weights = case((3, 2, 4, 4), count=40_000, device=device)
    weights[..., ::3] = 0
    weights[..., 20_000:] = 0
    used = weights.any(1).any(0).flatten()
    assert 0.3 < used.float().mean() < 0.4
    whole = results(repeatable_bilinear, planes, coordinates, weights)
    part = results(repeatable_bilinear, planes, coordinates[:, :, used], weights[..., used])
    assert torch.equal(whole[1], part[1]) and part[1].abs().max() > 0


def test_a_place_that_is_no_number_where_nothing_is_seen_changes_no_bit():
    planes, coordinates, weights = case((3, 2, 4, 4), count=100)
    weights[..., 20:] = 0
    whole = results(repeatable_bilinear, planes, coordinates, weights)[1]
    coordinates = coordinates.detach().clone()
    coordinates[0, 0, 21] = float("nan")
    assert torch.equal(torch.autograd.grad(repeatable_bilinear(planes, coordinates), planes, weights)[0], whole)


def test_places_that_are_no_numbers_do_not_break_the_look_up():
    planes, coordinates, weights = case((1, 2, 4, 4), count=50)
    with torch.no_grad():
        coordinates[0, 0, 7] = float("nan")
    bilinear(planes, coordinates).mul(weights).sum().backward()  # torch's grid_sample alone dies of it on a CPU
    assert planes.grad.isfinite().all() and coordinates.grad.isfinite().all()
    repeatable_bilinear(planes, coordinates.detach()).mul(weights).sum().backward()


@pytest.mark.cuda
@pytest.mark.parametrize("shape", [(3, 16, 64, 64), (3, 16, 1, 64)])
def test_a_gpu_repeats_its_gradients_to_the_bit(shape):
    found = [results(bilinear, *case(shape, count=100_000, device="cuda"))[1] for _ in range(5)]
    assert all(torch.equal(found[0], other) for other in found)
    theirs = results(plain_bilinear, *case(shape, count=100_000))[1]
    torch.testing.assert_close(found[0].cpu(), theirs, atol=1e-5 * float(theirs.abs().max()), rtol=0)
