"""Room for instances is guessed from earlier calls of the same sizes; a wrong guess costs time, never a pixel."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from moegs_rasterizer import Camera, Layer, RasterSettings

from ..backends import rendered
from ..random_layers import assert_same_bits, layer_of, run
from .cuda_scenes import (
    assert_equal_tensors,
    assert_gradients_close,
    assert_images_close,
    assert_like_cpu,
    forward,
    instances,
    to_gpu,
)

pytestmark = pytest.mark.cuda

CASES = {
    "exact": {"sh_degree": 1},
    "inria": {"colours": 9, "settings": RasterSettings(tile_rule="inria", depth="median")},
    "40-channels": {"colours": 23, "features": 17, "settings": RasterSettings(depth="mean")},
}


def away(camera: Camera, distance: float) -> Camera:
    """The camera moved backwards by this many world units."""
    moved = camera.world_to_camera.clone()
    moved[2, 3] += distance
    return replace(camera, world_to_camera=moved)


def scene(width: int, case: str) -> tuple[Layer, Camera, Camera]:
    """A layer, and cameras that see it from afar and from near; of a width that no other test has met before."""
    layer, near = layer_of(250, width, 768, **CASES[case])
    given = layer.gaussians
    # Wide and faint: the whole of a long list is blended.
    layer = replace(layer, gaussians=replace(given, scales=2 * given.scales, opacities=0.2 * given.opacities))
    far = away(near, 300.0)
    assert instances(layer, near) > max(50 * instances(layer, far), 300_000)
    return layer, far, near


@pytest.mark.parametrize("case", CASES)
def test_the_first_call_is_right(case):
    layer, _, near = scene(1000 + list(CASES).index(case), case)
    assert_like_cpu([layer], near)


@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_a_call_with_50_times_more_instances_is_right(case, deterministic):
    layer, far, near = scene(1010 + 10 * deterministic + list(CASES).index(case), case)
    for _ in range(3):
        run([layer], far, backend="cuda", deterministic=deterministic)
    on_gpu = run([layer], near, backend="cuda", deterministic=deterministic)
    wanted = run([layer], near, backend="cpu")
    assert_images_close(on_gpu.splats[0], wanted.splats[0])
    assert_gradients_close(on_gpu, wanted, 0)
    # Now the room is known. When the host learns of it is a matter of chance, so the bits must not tell.
    again = run([layer], near, backend="cuda", deterministic=True)
    assert torch.equal(on_gpu.splats[0].colour, again.splats[0].colour)
    if deterministic:
        assert_same_bits(on_gpu, again)
    back = run([layer], far, backend="cuda", deterministic=True)
    assert_images_close(back.splats[0], run([layer], far, backend="cpu").splats[0])


def test_calls_that_overflow_one_after_the_other():
    """The host learns of the overflow late: calls sent meanwhile are right as well, forward and features backward."""
    layer, far, near = scene(1030, "exact")
    layer = to_gpu(layer)
    forward(layer, far, grad="none")
    torch.cuda.synchronize()
    torch.cuda._sleep(100_000_000)
    passes = [forward(layer, view, grad="features", deterministic=True) for view in (near, far, near, near)]
    for one in passes:
        one.backward()
    torch.cuda.synchronize()
    first, _, *others = passes
    for other in others:
        assert_equal_tensors(other.images(), first.images())
        assert_equal_tensors(other.gradients(), first.gradients())
    wanted = rendered([layer], near, "cpu")[0]
    assert_images_close(rendered([layer], near, "cuda")[0], wanted)
    assert float((first.images()["colour"] - wanted.colour).abs().mean()) <= 1e-6


def test_one_layer_of_several_grows():
    """Layers share the room: the one that stays small is right too."""
    grows, far, near = scene(1031, "exact")
    small, _ = layer_of(400, 1031, 768, seed=9, colours=2, features=1)
    small = replace(small, gaussians=replace(small.gaussians, scales=small.gaussians.scales * 0.05))
    layers = [small, grows, small]
    for _ in range(2):
        rendered(layers, far, "cuda")
    assert_like_cpu(layers, near)


def test_scenes_of_the_same_sizes_take_turns():
    """The guess made for one scene is used for another of the same sizes."""
    layer, far, near = scene(1032, "exact")
    other = replace(layer, gaussians=replace(layer.gaussians, scales=layer.gaussians.scales * 0.01))
    wanted = [rendered([one], near, "cpu")[0] for one in (layer, other)]
    for _ in range(3):
        for one, right in zip((layer, other), wanted, strict=True):
            assert_images_close(rendered([one], near, "cuda")[0], right)
            rendered([one], far, "cuda")


@pytest.mark.parametrize("rule", ["exact", "inria"])
def test_gaussians_too_faint_to_see_stay_unseen(rule):
    """Those below 1/255 have tiles ("inria") but nothing to draw, not even what another call left in the memory."""
    layer, far, near = scene(1040, "exact")
    layer = replace(layer, settings=RasterSettings(tile_rule=rule))
    given = layer.gaussians
    bright = replace(layer, gaussians=replace(given, opacities=torch.full_like(given.opacities, 0.9)))
    faint = torch.where(torch.arange(given.count) % 2 == 0, 0.003, given.opacities)
    half = replace(layer, gaussians=replace(given, opacities=faint))
    for _ in range(3):
        rendered([bright], far, "cuda")
    assert_images_close(rendered([half], near, "cuda")[0], rendered([half], near, "cpu")[0])
