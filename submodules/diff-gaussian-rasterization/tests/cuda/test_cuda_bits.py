"""The CUDA back-end gives the same bits run after run, whatever else runs beside it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from moegs_rasterizer import Camera, Layer, RasterSettings

from ..backends import one_thread, rendered
from ..random_layers import PLANES, assert_same_bits, gradients_of, layer_of, run, tensors_of, with_tensors
from .cuda_scenes import assert_equal_tensors, forward, to_gpu

pytestmark = [pytest.mark.cuda, pytest.mark.usefixtures(one_thread.__name__)]

EX4DGS = RasterSettings(low_pass=0.1, compensate=True, near=3.0, far=9.0, ndc_limit=0.9, depth="mean")
CONVENTIONS = (RasterSettings(), RasterSettings(tile_rule="inria", depth="median"), EX4DGS)
# Colours and features: totals of 1, 3, 4, 9, 12, 15, 16, 17, 20, 33 and 40 channels.
WIDTHS = ((1, 0), (3, 0), (3, 1), (9, 0), (3, 9), (3, 12), (12, 4), (3, 14), (16, 4), (3, 30), (40, 0))


def scene() -> tuple[Layer, Camera]:
    return layer_of(20_000, 400, 300, sh_degree=3)


def ragged(count: int, width: int, height: int) -> tuple[list[Layer], Camera]:
    """Layers that differ in everything: Gaussians, channels, convention, background; SH for some."""
    layers = []
    for index in range(count):
        colours, features = WIDTHS[index % len(WIDTHS)]
        layer, camera = layer_of(
            200 + 137 * (index * index % 11),
            width,
            height,
            seed=index,
            sh_degree=index % 4 if colours == 3 else None,
            colours=colours,
            features=features,
            settings=CONVENTIONS[index % len(CONVENTIONS)],
        )
        layers.append(layer)
    return layers, camera


def test_forward_repeats():
    layer, camera = scene()
    layer = to_gpu(layer)
    first = forward(layer, camera, grad="none")
    for grad in ("none", "none", "features", "full", "none"):
        again = forward(layer, camera, grad=grad)
        assert_equal_tensors(again.images(), first.images())
        assert torch.equal(again.splat.radii, first.splat.radii)
        assert torch.equal(again.splat.means2d, first.splat.means2d)


@pytest.mark.parametrize("grad", ["features", "full"])
def test_deterministic_backward_repeats(grad):
    layer, camera = scene()
    layer = to_gpu(layer)
    passes = [forward(layer, camera, grad=grad, deterministic=True) for _ in range(4)]
    for one in passes:
        one.backward()
    for one in passes[1:]:
        assert_equal_tensors(one.gradients(), passes[0].gradients())


@pytest.mark.parametrize("grad", ["features", "full"])
def test_deterministic_changes_only_the_rounding_of_gradients(grad):
    layer, camera = scene()
    layer = to_gpu(layer)
    plain, ordered = (forward(layer, camera, grad=grad, deterministic=choice) for choice in (False, True))
    assert_equal_tensors(plain.images(), ordered.images())
    plain.backward()
    ordered.backward()
    wanted = ordered.gradients()
    for name, gradient in plain.gradients().items():
        assert wanted[name].norm() > 0, name
        error = (gradient - wanted[name]).norm() / wanted[name].norm()
        assert error <= 1e-5, f"{name}: {error:.1e}"


# One call carries 12 layers to the kernels; more are split.
@pytest.mark.parametrize("count", [3, 11, 13, 40])
def test_layers_together_equal_layers_apart(count):
    layers, camera = ragged(count, 150, 110)
    together = run(layers, camera, backend="cuda", deterministic=True)
    for index, layer in enumerate(layers):
        alone = run([layer], camera, backend="cuda", deterministic=True, first=index)
        assert_same_bits(together, alone, index, 0)
        assert any(gradient.norm() > 0 for gradient in gradients_of(alone, 0).values())


@pytest.mark.parametrize(("colours", "features"), [(3, 3), (1, 20), (9, 1), (40, 17)])
def test_features_alone_get_the_gradient_of_full(colours, features):
    layer, camera = layer_of(3000, 150, 110, colours=colours, features=features)
    full = run([layer], camera, backend="cuda", deterministic=True)
    leaf = layer.features.clone().requires_grad_()
    carried = with_tensors(layer, {**tensors_of(layer), "features": leaf})
    splat = rendered([carried], camera, "cuda", grad="features", deterministic=True)[0]
    assert not splat.means2d.requires_grad
    assert not splat.colour.requires_grad
    (splat.features * full.weights[0]["features"]).sum().backward()
    assert torch.equal(leaf.grad, gradients_of(full, 0)["features"])
    for name in PLANES:
        assert torch.equal(getattr(splat, name), getattr(full.splats[0], name)), name


def test_two_forwards_before_two_backwards():
    """Each pass keeps its own data for its backward pass; later passes do not overwrite them."""
    first, camera = scene()
    second, _ = layer_of(20_000, 400, 300, seed=5, sh_degree=3)
    smaller, other_camera = layer_of(900, 70, 50, seed=6, colours=9)
    inputs = [(to_gpu(first), camera), (to_gpu(second), camera), (to_gpu(smaller), other_camera)]
    wanted = []
    for layer, view in inputs:
        one = forward(layer, view, deterministic=True)
        one.backward()
        wanted.append((one.images(), one.gradients()))
    passes = [forward(layer, view, deterministic=True) for layer, view in inputs]
    forward(inputs[0][0], camera, grad="none")
    for one in (passes[1], passes[0], passes[2]):
        one.backward()
    for one, (images, gradients) in zip(passes, wanted, strict=True):
        assert_equal_tensors(one.images(), images)
        assert_equal_tensors(one.gradients(), gradients)


def test_a_graph_kept_gives_its_gradients_again():
    layer, camera = layer_of(2000, 150, 110, sh_degree=1)
    one = forward(to_gpu(layer), camera, deterministic=True)
    loss = sum((getattr(one.splat, name) * weight).sum() for name, weight in one.weights.items())
    first, second = (torch.autograd.grad(loss, list(one.leaves.values()), retain_graph=True) for _ in range(2))
    for name, a, b in zip(one.leaves, first, second, strict=True):
        assert torch.equal(a, b), name


def test_another_stream_gives_the_same():
    """A pass runs on the current stream. Its inputs come late there; any other stream would not wait for them."""
    layer, camera = scene()
    layer = to_gpu(layer)
    wanted = forward(layer, camera, deterministic=True)
    wanted.backward()
    late = {name: torch.full_like(tensor, 0.25) for name, tensor in tensors_of(layer).items()}
    stream = torch.cuda.Stream()
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(200_000_000)  # cycles: about a tenth of a second
        for name, tensor in tensors_of(layer).items():
            late[name].copy_(tensor)
        behind = forward(with_tensors(layer, late), camera, deterministic=True)
        behind.backward()
    torch.cuda.synchronize()
    assert_equal_tensors(behind.images(), wanted.images())
    assert_equal_tensors(behind.gradients(), wanted.gradients())


def test_a_backward_while_another_stream_is_behind():
    """A backward pass reads the report of its own forward pass, not one that came earlier from another stream."""
    scenes = [layer_of(4000, 200, 150, seed=seed, sh_degree=1) for seed in range(2)]
    inputs = [(to_gpu(layer), camera) for layer, camera in scenes]
    wanted = [forward(layer, camera, deterministic=True) for layer, camera in inputs]
    for one in wanted:
        one.backward()
    torch.cuda.synchronize()
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        torch.cuda._sleep(200_000_000)
        slow = forward(*inputs[0], deterministic=True)
    quick = forward(*inputs[1], deterministic=True)
    quick.backward()
    torch.cuda.current_stream().wait_stream(side)  # the loss is made here
    slow.backward()
    torch.cuda.synchronize()
    for one, right in zip((slow, quick), wanted, strict=True):
        assert_equal_tensors(one.gradients(), right.gradients())


def test_streams_and_threads_at_once():
    """Passes that run at once, on a stream and a thread each, do not overwrite each other's data."""
    scenes = [layer_of(4000, 200, 150, seed=seed, sh_degree=1) for seed in range(4)]
    inputs = [(to_gpu(layer), camera) for layer, camera in scenes]
    wanted = []
    for layer, camera in inputs:
        one = forward(layer, camera, deterministic=True)
        one.backward()
        wanted.append((one.images(), one.gradients()))
    torch.cuda.synchronize()

    def work(index: int) -> None:
        layer, camera = inputs[index]
        with torch.cuda.stream(torch.cuda.Stream()):
            for _ in range(5):
                torch.cuda._sleep(2_000_000)
                one = forward(layer, camera, deterministic=True)
                one.backward()
                assert_equal_tensors(one.images(), wanted[index][0])
                assert_equal_tensors(one.gradients(), wanted[index][1])

    with ThreadPoolExecutor(len(inputs)) as pool:
        list(pool.map(work, range(len(inputs))))
