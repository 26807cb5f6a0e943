"""Every kernel on tiny scenes, for compute-sanitizer: for each of its tools memcheck, racecheck and initcheck

    PYTORCH_NO_CUDA_MEMORY_CACHING=1 compute-sanitizer --tool memcheck --error-exitcode 1 \
        python -m pytest -q submodules/diff-gaussian-rasterization/tests/cuda/test_cuda_sanitize.py

Without PyTorch's cache every tensor is an allocation of its own, whose ends and first values the tools then watch.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from moegs_rasterizer import Camera, Layer, RasterizerError, RasterSettings, rasterize
from moegs_rasterizer.cuda.reports import LEAST_CAPACITY, SLACK
from moegs_rasterizer.cuda.words import MOST_LAYERS
from moegs_rasterizer.reference.tiles import TILE
from moegs_rasterizer.validation import LARGEST_SIDE

from ..backends import one_thread, rendered
from ..random_layers import layer_of, run, tensors_of, with_tensors
from .cuda_scenes import assert_gradients_close, assert_images_close, assert_like_cpu, forward, instances, to_gpu

pytestmark = [pytest.mark.cuda, pytest.mark.usefixtures(one_thread.__name__)]

WIDTH, HEIGHT = 45, 35  # whole tiles and parts of tiles
SETTINGS = [
    RasterSettings(tile_rule=rule, depth=depth, **options)
    for rule in ("exact", "inria")
    for depth, options in (
        ("sum", {}),
        ("median", {}),
        ("mean", {"low_pass": 0.1, "compensate": True, "near": 2.5, "far": 9.0, "ndc_limit": 1.1}),
    )
]
# (SH degree, colours, features): 1, 3, 4, 9, 12, 20 and 40 channels, and SH of every degree.
WIDTHS = [(None, 1, 0), (0, 3, 0), (1, 3, 1), (None, 9, 0), (2, 3, 9), (3, 3, 17), (None, 17, 23)]


def layers_of(settings: RasterSettings, count: int = 60) -> tuple[list[Layer], Camera]:
    """A layer of each width; of two Gaussians fewer each time, so that no two begin at like addresses."""
    scenes = [
        layer_of(
            count - 2 * index,
            WIDTH,
            HEIGHT,
            seed=index,
            sh_degree=degree,
            colours=colours,
            features=features,
            settings=settings,
        )
        for index, (degree, colours, features) in enumerate(WIDTHS)
    ]
    return [layer for layer, _ in scenes], scenes[0][1]


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda one: f"{one.tile_rule}-{one.depth}")
def test_forward(settings):
    layers, camera = layers_of(settings)
    on_gpu, wanted = (rendered(layers, camera, backend) for backend in ("cuda", "cpu"))
    for one, other in zip(on_gpu, wanted, strict=True):
        assert_images_close(one, other)


@pytest.mark.parametrize("settings", SETTINGS[1:3], ids=lambda one: f"{one.tile_rule}-{one.depth}")
def test_full_backward(settings):
    assert_like_cpu(*layers_of(settings))


def test_full_backward_in_order():
    layers, camera = layers_of(SETTINGS[5])
    on_gpu = run(layers, camera, backend="cuda", deterministic=True)
    wanted = run(layers, camera, backend="cpu")
    for index in range(len(layers)):
        assert_gradients_close(on_gpu, wanted, index)


@pytest.mark.parametrize("deterministic", [False, True])
def test_features_backward(deterministic):
    layers, camera = layers_of(RasterSettings())
    carrying = [layer for layer in layers if layer.features is not None]
    gradients = []
    for backend, options in (("cuda", {"deterministic": deterministic}), ("cpu", {})):
        leaves = [layer.features.clone().requires_grad_() for layer in carrying]
        given = [replace(layer, features=leaf) for layer, leaf in zip(carrying, leaves, strict=True)]
        splats = rendered(given, camera, backend, grad="features", **options)
        sum(splat.features.square().sum() for splat in splats).backward()
        gradients.append([leaf.grad for leaf in leaves])
    for gradient, wanted in zip(*gradients, strict=True):
        assert (gradient - wanted).norm() <= 2e-5 * wanted.norm()


@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("settings", (SETTINGS[0], SETTINGS[3]), ids=lambda one: f"{one.tile_rule}-{one.depth}")
def test_more_instances_than_expected(settings, deterministic):
    """Seen from afar first: the room of that call is too small for the next. Some Gaussians are too faint to see.

    By the exact rule the 256 nearest have more instances than pass through a block's shared memory, the others fewer.
    """
    width = 2 * WIDTH + 2 * SETTINGS.index(settings) + deterministic  # each its own: room is remembered by size
    layer, near = layer_of(500, width, 2 * HEIGHT, sh_degree=1, settings=settings)
    opacities = 0.1 * layer.gaussians.opacities
    opacities[::3] = 0.003
    scales = 5 * layer.gaussians.scales
    layer = with_tensors(layer, tensors_of(layer) | {"scales": scales, "opacities": opacities})
    matrix = near.world_to_camera.clone()
    matrix[2, 3] += 500
    far = replace(near, world_to_camera=matrix)
    assert instances(layer, near) > 6_000 > LEAST_CAPACITY > SLACK * instances(layer, far)
    run([layer], far, backend="cuda", deterministic=deterministic)
    on_gpu = run([layer], near, backend="cuda", deterministic=deterministic)
    wanted = run([layer], near, backend="cpu")
    assert_images_close(on_gpu.splats[0], wanted.splats[0])
    assert_gradients_close(on_gpu, wanted, 0)


@pytest.mark.parametrize("size", [(1, 1), (17, 1), (1, 33)])
def test_slivers_and_empty_layers(size):
    (layer, camera), (empty, _) = layer_of(30, *size, sh_degree=1), layer_of(0, *size)
    hidden = replace(layer, settings=RasterSettings(near=100.0))
    assert_like_cpu([empty, layer, hidden], camera)
    assert_like_cpu([empty, hidden], camera)


def test_more_layers_than_one_launch_takes():
    """Full tables of 12 layers, then a layer by itself. Of the widths those that take one walk along a list."""
    layers, camera = layers_of(RasterSettings(), count=20)
    assert_like_cpu((3 * layers[:5])[: MOST_LAYERS + 1], camera)


@pytest.mark.parametrize("name", ["means", "features"])
def test_bad_values(name):
    layer, camera = layer_of(40, WIDTH, HEIGHT, sh_degree=1)
    tensor = tensors_of(layer)[name].clone()
    tensor[11] = float("nan")
    bad = with_tensors(layer, tensors_of(layer) | {name: tensor})
    one = forward(to_gpu(bad), camera)
    assert one.images()["colour"].isnan().all()
    with pytest.raises(RasterizerError, match=f"layer 0: {name}"):
        one.backward()
    assert rasterize([to_gpu(layer)], camera, backend="cuda")[0].colour.isfinite().all()


def test_gradients_of_one_output_alone():
    layer, camera = layer_of(40, WIDTH, HEIGHT, sh_degree=1)
    for part in ("colour", "features", "alpha", "means2d"):
        on_gpu, wanted = (run([layer], camera, backend=backend, parts=(part,)) for backend in ("cuda", "cpu"))
        assert_gradients_close(on_gpu, wanted, 0)
        assert torch.equal(on_gpu.splats[0].radii, wanted.splats[0].radii)


@pytest.mark.parametrize(("count", "across", "down"), [(5, 17, 771), (8, 2, 4096)], ids=["65535", "65536"])
def test_cells_at_the_limit_of_short_keys(count, across, down):
    """Tiles of all layers are numbered in 16 bits where these suffice, and in 32 where not.

    The layers differ in values or depth, so that each is blended by a launch of its own, of at most 13,107 blocks, and
    this test is the last: racecheck's time once ran out in a small test that followed launches of 65,536 blocks.
    """
    made = [
        layer_of(
            30,
            8,
            64,
            seed=index,
            colours=(1, 4, 7, 9, 12)[index % 5],
            features=0,
            settings=RasterSettings(depth="sum" if index < 5 else "median"),
        )
        for index in range(count)
    ]
    layers = [layer for layer, _ in made]
    width, height = TILE * (across - 1) + 1, min(TILE * down, LARGEST_SIDE)
    assert (-(-width // TILE), -(-height // TILE)) == (across, down)
    camera = replace(made[0][1], width=width, height=height, cx=width - 1, cy=height - 20)
    on_gpu, wanted = (rendered(layers, camera, backend) for backend in ("cuda", "cpu"))
    assert wanted[-1].alpha[TILE * (down - 1) :, TILE * (across - 1) :].max() > 0  # in the last cell of all
    for one, other in zip(on_gpu, wanted, strict=True):
        assert_images_close(one, other)
