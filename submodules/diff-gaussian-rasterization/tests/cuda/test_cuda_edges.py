"""The CUDA back-end at the edges: nothing to draw, a huge Gaussian, a crowded tile, odd tensors, 3M Gaussians."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from moegs_rasterizer import Camera, Layer, RasterSettings, rasterize
from moegs_rasterizer.random_scenes import random_scene
from torch import Tensor

from ..backends import one_thread, rendered, require
from ..random_layers import double, layer_of, run, tensors_of, with_tensors
from .brute_force import values_at
from .cuda_scenes import (
    GRADIENT_TOLERANCE,
    assert_equal_tensors,
    assert_gradients_close,
    assert_images_close,
    assert_like_cpu,
    forward,
    to_gpu,
)

pytestmark = [pytest.mark.cuda, pytest.mark.usefixtures(one_thread.__name__)]

LARGEST_MEMORY = 24 * 2**30  # bytes: 3M Gaussians with all gradients go onto a card of 24 GB


def test_no_layers():
    assert rasterize([], layer_of(1, 8, 8)[1], backend=require("cuda")) == []


@pytest.mark.parametrize("grad", ["none", "features", "full"])
def test_nothing_but_empty_layers(grad):
    """Not one instance in the whole call."""
    empty, camera = layer_of(0, 40, 30, sh_degree=2, features=2)
    hidden, _ = layer_of(500, 40, 30, colours=9, features=5, settings=RasterSettings(near=100.0, depth="median"))
    layers = [empty, hidden, empty]
    leaves = [layer.features.clone().requires_grad_() for layer in layers]
    given = [replace(layer, features=leaf) for layer, leaf in zip(layers, leaves, strict=True)]
    splats = rendered(given, camera, "cuda", grad=grad)
    for layer, splat in zip(layers, splats, strict=True):
        image = torch.cat([splat.colour, splat.features])
        assert torch.equal(image, layer.background[:, None, None].expand_as(image))
        assert not splat.alpha.any()
        assert not splat.radii.any()
        assert torch.equal(splat.means2d.cpu(), torch.zeros(layer.gaussians.count, 2))
    if grad != "none":
        sum(splat.features.sum() for splat in splats).backward()
        assert all(torch.equal(leaf.grad, torch.zeros_like(leaf)) for leaf in leaves)


def one_wall(width: int, height: int) -> tuple[Layer, Camera]:
    """One Gaussian that covers the whole view, off its centre."""
    layer, camera = layer_of(1, width, height, features=2)
    right, _, onward = camera.camera_to_world[:3, :3].T
    tensors = tensors_of(layer) | {
        "means": (camera.centre + 5 * onward + 0.8 * right)[None],
        "scales": torch.tensor([[4.0, 3.0, 2.0]]),
        "opacities": torch.tensor([0.7]),
    }
    return with_tensors(layer, tensors), camera


def test_one_gaussian_covers_everything():
    layer, camera = one_wall(1352, 1014)
    on_gpu = assert_like_cpu([layer], camera)
    assert on_gpu.splats[0].alpha.min() > 0.1


@pytest.mark.parametrize("opacity", [(0.005, 0.02), (0.02, 1.0)])
def test_100k_gaussians_in_one_tile(opacity):
    """A list of 100 000, most of it looked at by some pixel (faint) or hardly any (strong)."""
    count = 100_000
    layer, camera = layer_of(count, 64, 48, sh_degree=1, features=4)
    draw = torch.Generator().manual_seed(0)
    pixels = torch.rand(count, 2, generator=draw) * 12 + 18  # well inside the second tile of the second row
    depth = 3 + 4 * torch.rand(count, 1, generator=draw)
    offsets = (pixels - torch.tensor([camera.cx, camera.cy])) / camera.fx * depth
    to_world = camera.camera_to_world
    low, high = opacity
    tensors = tensors_of(layer) | {
        "means": torch.cat([offsets, depth], dim=1) @ to_world[:3, :3].T + to_world[:3, 3],
        "scales": 0.2 * depth.expand(count, 3) / camera.fx,
        "opacities": low + (high - low) * torch.rand(count, generator=draw),
    }
    assert_like_cpu([with_tensors(layer, tensors)], camera)  # seen between cpu and float64: 3e-6


@pytest.mark.parametrize("rule", ["exact", "inria"])
def test_opacities_of_0_and_1(rule):
    layer, camera = layer_of(600, 90, 70, settings=RasterSettings(tile_rule=rule))
    opacities = (torch.arange(600) % 3 == 0).float()
    assert_like_cpu([with_tensors(layer, tensors_of(layer) | {"opacities": opacities})], camera)


def test_gaussians_that_overflow_are_culled():
    """Finite input whose projection is not: culled by every back-end, whatever its neighbours."""
    layer, camera = layer_of(40, 48, 32, sh_degree=2)
    given = {name: tensor.clone() for name, tensor in tensors_of(layer).items()}
    given["scales"][::5] = 1e25
    given["means"][1::5] = 1e30
    given["quats"][2::5] = 0
    given["quats"][3::10] = 1e15
    layer = with_tensors(layer, given)
    on_gpu, wanted = run([layer], camera, backend="cuda"), run([layer], camera, backend="cpu")
    assert_images_close(on_gpu.splats[0], wanted.splats[0])
    assert not on_gpu.splats[0].radii[::5].any()
    assert_gradients_close(on_gpu, wanted, 0)


@pytest.mark.parametrize(("colours", "features"), [(1, 0), (16, 0), (17, 0), (32, 1), (3, 70), (130, 130)])
def test_any_number_of_channels(colours, features):
    assert_like_cpu(*as_list(layer_of(300, 70, 53, colours=colours, features=features)))


@pytest.mark.parametrize("deterministic", [False, True])
def test_no_channels_at_all(deterministic):
    """Somebody may want alpha alone."""
    layer, camera = layer_of(200, 40, 30, colours=0, features=0)
    on_gpu = run([layer], camera, backend="cuda", parts=("alpha",), deterministic=deterministic)
    wanted = run([layer], camera, backend="cpu", parts=("alpha",))
    assert on_gpu.splats[0].colour.shape == (0, 30, 40)
    assert_images_close(on_gpu.splats[0], wanted.splats[0])
    assert_gradients_close(on_gpu, wanted, 0)


def test_features_of_no_channels():
    layer, camera = layer_of(200, 40, 30, features=0)
    layer = replace(layer, features=torch.zeros(200, 0))
    assert assert_like_cpu([layer], camera).splats[0].features.shape == (0, 30, 40)


def as_list(scene: tuple[Layer, Camera]) -> tuple[list[Layer], Camera]:
    return [scene[0]], scene[1]


def elsewhere(tensor: Tensor) -> Tensor:
    """The same values from an address that is a multiple of 4 bytes and of no more."""
    room = torch.empty(tensor.numel() + 1, device=tensor.device)[1:]
    return room.view(tensor.shape).copy_(tensor)


def strided(tensor: Tensor) -> Tensor:
    """The same values, each apart from the next."""
    room = torch.empty(*tensor.shape, 2, device=tensor.device)
    room[..., 0] = tensor
    return room[..., 0]


@pytest.mark.parametrize("moved", [elsewhere, strided])
def test_tensors_may_lie_anyhow(moved):
    layer, camera = layer_of(500, 70, 53, sh_degree=3, features=5)
    layer = to_gpu(layer)
    odd = with_tensors(layer, {name: moved(tensor) for name, tensor in tensors_of(layer).items()})
    splat, wanted = (rasterize([one], camera, backend="cuda")[0] for one in (odd, layer))
    assert torch.equal(splat.colour, wanted.colour)
    assert torch.equal(splat.features, wanted.features)


@pytest.mark.parametrize("moved", [elsewhere, strided])
def test_gradients_may_lie_anyhow(moved):
    layer, camera = layer_of(500, 70, 53, sh_degree=3, features=5)
    layer = to_gpu(layer)
    first, second = (forward(layer, camera, deterministic=True) for _ in range(2))
    first.backward()
    parts = [getattr(second.splat, name) for name in second.weights]
    torch.autograd.backward(parts, [moved(weight) for weight in second.weights.values()])
    assert_equal_tensors(second.gradients(), first.gradients())


def test_one_background_for_all_channels():
    """Expanded: its values share one address."""
    layer, camera = layer_of(100, 40, 30)
    grey = torch.full((1,), 0.3).expand(6)
    splat, wanted = (rendered([replace(layer, background=one)], camera, "cuda")[0] for one in (grey, grey.contiguous()))
    assert torch.equal(splat.colour, wanted.colour)


def test_a_camera_on_the_gpu():
    layer, camera = layer_of(300, 70, 53, sh_degree=3)
    there = replace(camera, world_to_camera=camera.world_to_camera.to("cuda"))
    splat, wanted = (rendered([layer], one, "cuda")[0] for one in (there, camera))
    assert torch.equal(splat.colour, wanted.colour)


def test_auto_takes_cuda_for_tensors_of_the_gpu():
    layer, camera = layer_of(300, 70, 53, sh_degree=3)
    layer = to_gpu(layer)
    splat, wanted = (rasterize([layer], camera, backend=backend)[0] for backend in ("auto", "cuda"))
    assert splat.colour.device == layer.background.device
    assert torch.equal(splat.colour, wanted.colour)


@pytest.mark.parametrize(
    ("count", "width", "height", "tolerance"),
    # Beyond 2048 pixels, positions in float32 lie 2.4e-4 pixels apart; seen: 3.5e-5.
    [(20_000, 320, 240, GRADIENT_TOLERANCE), pytest.param(3_000_000, 2704, 2028, 1e-4, marks=pytest.mark.slow)],
)
def test_large_scenes_pixel_by_pixel(count, width, height, tolerance):
    """Pixels all over the image, and the gradients of a loss on them alone, against float64 without tiles."""
    gaussians, camera = random_scene(count=count, width=width, height=height, sh_degree=3)
    draw = torch.Generator().manual_seed(1)
    features, background = torch.rand(count, 3, generator=draw), torch.rand(6, generator=draw)
    layer = Layer(gaussians=gaussians, settings=RasterSettings(), features=features, background=background)
    pixels = torch.stack([torch.randint(size, (64,), generator=draw) for size in (width, height)], dim=1)
    weights = torch.rand(64, 6, generator=draw)
    layer = to_gpu(layer)
    torch.cuda.reset_peak_memory_stats()
    one = forward(layer, camera)
    x, y = pixels.to(layer.background.device).unbind(1)
    image = torch.cat([one.splat.colour, one.splat.features])
    values = image[:, y, x].T
    (values * weights.to(values)).sum().backward()
    assert torch.cuda.max_memory_allocated() <= LARGEST_MEMORY
    assert image.isfinite().all()

    leaves = {name: tensor.requires_grad_() for name, tensor in tensors_of(double(layer)).items()}
    wanted = values_at(with_tensors(layer, leaves), camera, torch.stack([x, y], dim=1))
    (wanted * weights.to(wanted)).sum().backward()
    error = (values - wanted).detach().abs().amax(1)
    assert (error <= 1e-5).double().mean() >= 0.95  # of 64: up to three may have flipped at a threshold
    assert error.max() <= 0.01
    for name, leaf in leaves.items():
        gap = (one.leaves[name].grad - leaf.grad).norm() / leaf.grad.norm()
        assert gap <= tolerance, f"{name}: {gap:.1e}"
