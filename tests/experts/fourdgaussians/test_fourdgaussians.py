"""4DGaussians' formulas against direct evaluations, and initial models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import pytest
import torch
from torch import Tensor

from experts.base import Expert
from experts.fourdgaussians.deformation import quaternion_product
from experts.fourdgaussians.model import FourDGaussians
from experts.fourdgaussians.planes import PLANES, EmptyVoxel, HexPlanes
from experts.fourdgaussians.planes_fused import FusedHexPlanes
from experts.fourdgaussians.recipe import FourDGaussiansOptions, NetworkShape
from tests.experts.canonical_models import new_fourdgaussians
from tests.plain_and_fused import assert_same

SHAPE = NetworkShape(width=16, channels=4, resolutions=((5, 6, 7, 8), (10, 12, 14, 8)))
CUBES = replace(SHAPE, resolutions=((6, 6, 6, 8), (11, 11, 11, 8)))  # as published: planes of one shape


def small(options: FourDGaussiansOptions | None = None, shape: NetworkShape = SHAPE) -> FourDGaussians:
    generator = torch.Generator().manual_seed(2)
    points = torch.randn(40, 3, generator=generator)
    colours = torch.rand(40, 3, generator=generator)
    expert = new_fourdgaussians(points, colours, num_frames=20, options=options, shape=shape)
    for parameter in expert.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    return expert


def bilinear(plane: Tensor, x: float, y: float) -> Tensor:
    """Channels of a plane [c, height, width] at cell coordinates, edges going on outside."""
    height, width = plane.shape[1:]
    x, y = min(max(x, 0.0), width - 1.0), min(max(y, 0.0), height - 1.0)
    left, top = min(int(x), width - 2), min(int(y), height - 2)
    value = torch.zeros(plane.shape[0], dtype=plane.dtype)
    for dx, dy in product((0, 1), (0, 1)):
        weight = (1 - abs(x - left - dx)) * (1 - abs(y - top - dy))
        value += weight * plane[:, top + dy, left + dx]
    return value


def features(grid: HexPlanes, point: Tensor, time: float) -> Tensor:
    """The specification for one point: per level the product of six bilinear look-ups."""
    largest, smallest = grid.get_buffer("aabb").double()
    at = [*((point.double() - largest) * 2 / (smallest - largest) - 1).tolist(), time]
    levels = []
    for planes in grid.grids:
        value = torch.ones((), dtype=torch.float64)
        for plane, (first, second) in zip(planes, PLANES, strict=True):  # type: ignore[call-overload]
            height, width = plane.shape[2:]
            cell = (at[first] + 1) / 2 * (width - 1), (at[second] + 1) / 2 * (height - 1)
            value = value * bilinear(plane[0].double(), *cell)
        levels.append(value)
    return torch.cat(levels)


@torch.no_grad()
@pytest.mark.parametrize("shape", [SHAPE, CUBES], ids=["shapes differ", "one shape"])
@pytest.mark.parametrize("time", [-1.5, -1.0, 0.0, 0.37, 0.9966, 1.0, 1.2])
def test_plane_features_are_products_of_bilinear_lookups(time: float, shape: NetworkShape) -> None:
    grid = small(shape=shape).deformation.deformation_net.grid
    grid.aabb = torch.tensor([[1.5, 1.0, 2.0], [-1.0, -2.0, -0.5]])
    points = torch.cat([torch.randn(20, 3), grid.aabb])  # several outside the box, two at its corners
    found = grid(points, time)
    assert found.shape == (22, 8)
    expected = torch.stack([features(grid, point, time) for point in points])
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("resolutions", [SHAPE.resolutions, CUBES.resolutions, [(4, 4, 4, 1)]])
@pytest.mark.parametrize("time", [-1.5, 0.0, 0.37, 0.9966, 1.2])
def test_fused_planes_are_the_plain_ones(resolutions: Sequence[Sequence[int]], time: float) -> None:
    plain, fused = (kind(channels=4, resolutions=resolutions) for kind in (HexPlanes, FusedHexPlanes))
    generator = torch.Generator().manual_seed(0)
    for parameter in plain.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator).double()
    fused.grids = plain.grids
    plain.aabb = fused.aabb = torch.tensor([[1.5, 1.0, 2.0], [-1.0, -2.0, -0.5]]).double()
    points = torch.randn(30, 3, generator=generator).double().requires_grad_()  # several outside the box
    learned = [points, *plain.parameters()]
    assert_same(lambda: plain(points, time), lambda: fused(points, time), learned, atol=1e-12)


@torch.no_grad()
@pytest.mark.parametrize("kind", [HexPlanes, FusedHexPlanes])
def test_the_largest_corner_is_the_first_cell(kind: type[HexPlanes]) -> None:
    grid = kind(channels=1, resolutions=[(4, 5, 6, 7)])
    for planes in grid.grids:
        for plane in planes:  # type: ignore[union-attr]
            plane.data.fill_(1.0)
    grid.grids[0][0].data[0, 0, 0, 0] = 5.0  # type: ignore[index]
    grid.aabb = torch.tensor([[3.0, 2.0, 1.0], [-3.0, -2.0, -1.0]])
    assert grid(torch.tensor([[3.0, 2.0, 0.0], [-3.0, -2.0, 0.0]]), 0.0).flatten().tolist() == [5.0, 1.0]


@torch.no_grad()
@pytest.mark.parametrize(
    ("options", "shape"),
    [
        (FourDGaussiansOptions(), SHAPE),
        (FourDGaussiansOptions(no_dx=True, no_dr=True), replace(SHAPE, depth=3)),
        (FourDGaussiansOptions(no_ds=True, no_do=True, no_dshs=True), SHAPE),
        (FourDGaussiansOptions(apply_rotation=True), replace(SHAPE, static_mlp=True)),
        (FourDGaussiansOptions(no_dshs=True), replace(SHAPE, empty_voxel=(3, 4, 5), colour_head=False)),
    ],
)
def test_model_is_the_specification_under_every_switch(options: FourDGaussiansOptions, shape: NetworkShape) -> None:
    expert, frame = small(options, shape), 7.5
    network, raw = expert.deformation.deformation_net, {k: v.double() for k, v in expert.gaussians.raw().items()}
    inputs = torch.stack([features(network.grid, point, frame / 20) for point in expert.gaussians.means])
    network.double()
    hidden = network.feature_out(inputs)
    factor = 1.0
    if network.static_mlp is not None:
        factor = network.static_mlp(hidden)
    elif network.empty_voxel is not None:
        factor = network.empty_voxel(raw["means"])
    keys = {"pos": "means", "scales": "log_scales", "rotations": "quats", "opacity": "opacity_logits", "shs": "sh"}
    for name, key in keys.items():
        if options.enabled()[key]:
            residual = network.get_submodule(f"{name}_deform")(hidden)
            if key != "quats":
                raw[key] = raw[key] * factor + residual
            else:
                raw[key] = quaternion_product(raw[key], residual) if options.apply_rotation else raw[key] + residual
    network.float()
    found = expert.at(frame)
    for ours, theirs in (
        (found.means, raw["means"]),
        (found.scales, raw["log_scales"].exp()),
        (found.quats, raw["quats"] / raw["quats"].norm(dim=1, keepdim=True)),
        (found.opacities, raw["opacity_logits"].sigmoid()[:, 0]),
        (found.sh, raw["sh"].reshape(-1, 16, 3)),
    ):
        assert ours is not None
        error = (ours.double() - theirs).abs().max() / theirs.abs().max()
        assert error < 2e-6, error


def test_quaternion_product() -> None:
    i, j, k = torch.eye(4)[1:, None].unbind(0)
    assert torch.equal(quaternion_product(i, j), k) and torch.equal(quaternion_product(j, i), -k)
    first, second = torch.randn(2, 5, 4).unbind(0)
    torch.testing.assert_close(
        quaternion_product(first, second).norm(dim=1), first.norm(dim=1) * second.norm(dim=1), rtol=1e-5, atol=0
    )


def test_empty_voxel_reads_x_along_the_first_axis_and_is_zero_outside() -> None:
    voxel = EmptyVoxel(size=(2, 3, 4))
    voxel.xyz_min, voxel.xyz_max = torch.tensor([-1.0, 0, 0]), torch.tensor([1.0, 2, 3])
    voxel.grid.data = torch.arange(24.0).reshape(1, 1, 2, 3, 4)
    points = torch.tensor([[-1.0, 0, 0], [1.0, 2, 3], [0.0, 1, 1.5], [1.0, 0, 0], [5.0, 0, 0]])
    torch.testing.assert_close(voxel(points), torch.tensor([[0.0], [23.0], [11.5], [12.0], [0.0]]))


def test_gradients_reach_what_is_used() -> None:
    expert = small()
    found = expert.at(3)
    assert found.sh is not None
    parts = (found.means, found.scales, found.quats, found.opacities, found.sh)
    sum((part * torch.randn_like(part)).sum() for part in parts).backward()  # type: ignore[union-attr]
    for name, parameter in expert.named_parameters():
        assert (parameter.grad is None) == ("timenet" in name), name
        assert parameter.grad is None or parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("shape", [SHAPE, CUBES], ids=["shapes differ", "one shape"])
def test_gradient_of_planes_and_means_is_right(shape: NetworkShape) -> None:
    expert = small(shape=shape).double()
    planes = expert.deformation.deformation_net.grid.grids[1]
    for parameter in (*planes, expert.gaussians.means):  # type: ignore[misc]
        weight = torch.randn(40, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        expert.zero_grad()
        (expert.at(5).means * weight).sum().backward()
        index = int(parameter.grad.abs().flatten().argmax())
        values = []
        with torch.no_grad():
            for step in (1e-6, -2e-6):
                parameter.view(-1)[index] += step
                values.append(float((expert.at(5).means * weight).sum()))
        expected = (values[0] - values[1]) / 2e-6
        assert float(parameter.grad.flatten()[index]) == pytest.approx(expected, rel=1e-4)


def test_new_model_starts_like_4dgaussians() -> None:
    points, colours = torch.randn(30, 3), torch.rand(30, 3)
    expert = new_fourdgaussians(points, colours, num_frames=10)
    assert isinstance(expert, Expert) and expert.rows(3) == slice(0, 30)
    grid = expert.deformation.deformation_net.grid
    assert torch.equal(grid.aabb, torch.stack([points.amax(0), points.amin(0)]))
    for planes in grid.grids:
        for plane, axes in zip(planes, PLANES, strict=True):  # type: ignore[call-overload]
            assert bool((plane == 1).all()) if 3 in axes else 0.1 <= plane.min() < plane.max() <= 0.5
    with torch.no_grad():
        assert not torch.equal(expert.at(0).means, points)  # the heads do not start at zero
