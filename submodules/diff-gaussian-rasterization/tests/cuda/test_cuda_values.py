"""Bad values are noticed by the kernels: the image is NaN at once, the error follows by the next call at the latest."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

import pytest
import torch
from moegs_rasterizer import Camera, Layer, RasterizerError, cuda, rasterize

from ..backends import off, one_thread, rendered, require
from ..random_layers import layer_of, tensors_of, with_tensors
from .cuda_scenes import forward, to_gpu

pytestmark = [pytest.mark.cuda, pytest.mark.usefixtures(one_thread.__name__)]

COUNT = 700
GAUSSIANS = ("means", "scales", "quats", "opacities", "sh", "colours", "features")
RANGES = [("scales", -0.5), ("opacities", 1.5), ("opacities", -0.01)]
BAD = [(name, float(value)) for name in (*GAUSSIANS, "background") for value in ("nan", "inf", "-inf")] + RANGES


@pytest.fixture(autouse=True)
def settled() -> Iterator[None]:
    """No test leaves an error for the next."""
    yield
    with contextlib.suppress(RasterizerError):
        cuda.check()


def sound(name: str = "sh", seed: int = 0) -> tuple[Layer, Camera]:
    """A layer that has a tensor of this name."""
    return layer_of(COUNT, 80, 60, seed=seed, sh_degree=None if name == "colours" else 2, features=3)


def broken(layer: Layer, name: str, value: float, rows: tuple[int, ...] = (5,)) -> Layer:
    tensor = tensors_of(layer)[name].clone()
    for row in rows:
        tensor[row].view(-1)[-1] = value
    return with_tensors(layer, tensors_of(layer) | {name: tensor})


def is_nan(layer: Layer, camera: Camera) -> bool:
    splat = off(rasterize([to_gpu(layer)], camera, backend="cuda")[0])
    return bool(torch.cat([splat.colour, splat.features]).isnan().all())


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_bad_value_is_told_once_and_done_with(name, value):
    (good, camera), (other, _) = sound(seed=1), sound(name)
    wanted = rendered([good], camera, "cuda")[0]
    bad = broken(other, name, value)
    # A background is small enough to be looked at at once.
    with pytest.raises(RasterizerError) as caught:
        rasterize([to_gpu(good), to_gpu(bad)], camera, backend="cuda")
        cuda.check()
    message = str(caught.value)
    assert message.startswith(f"layer 1: {name}")
    assert re.search(r"row 5\b", message), message
    assert "\n" not in message
    cuda.check()
    assert torch.equal(rendered([good], camera, "cuda")[0].colour, wanted.colour)


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, value in BAD if name != "background"])
def test_the_image_of_a_bad_layer_is_nan(name, value):
    (good, camera), (other, _) = sound(seed=1), sound(name)
    wanted = rendered([good], camera, "cuda")[0]
    first, second, third = rendered([good, broken(other, name, value), good], camera, "cuda")
    assert torch.cat([second.colour, second.features]).isnan().all()
    assert torch.equal(first.colour, wanted.colour)
    assert torch.equal(third.colour, wanted.colour)


@pytest.mark.parametrize("name", GAUSSIANS)
def test_a_row_that_is_not_seen_counts_too(name):
    """As on the CPU: an input is bad or not, whatever the camera looks at."""
    layer, camera = sound(name)
    means = layer.gaussians.means.clone()
    means[40] = camera.centre - 3 * camera.camera_to_world[:3, 2]
    hidden = with_tensors(layer, tensors_of(layer) | {"means": means})
    assert not rendered([hidden], camera, "cuda")[0].radii[40]
    with pytest.raises(RasterizerError, match=rf"layer 0: {name} .*row 40\b"):
        rasterize([to_gpu(broken(hidden, name, float("nan"), rows=(40,)))], camera, backend="cuda")
        cuda.check()


def test_the_first_bad_row_is_named():
    layer, camera = sound()
    with pytest.raises(RasterizerError, match=r"layer 0: quats .*row 123\b"):
        rasterize([to_gpu(broken(layer, "quats", float("inf"), rows=(699, 123, 124)))], camera, backend="cuda")
        cuda.check()


def test_the_layer_is_that_of_the_call_however_many_there_are():
    layer, camera = sound()
    layers = [to_gpu(layer)] * 30
    layers[25] = to_gpu(broken(layer, "means", float("nan")))
    with pytest.raises(RasterizerError, match=r"layer 25: means .*row 5\b"):
        rasterize(layers, camera, backend="cuda")
        cuda.check()


def test_the_next_call_tells():
    layer, camera = sound()
    assert is_nan(broken(layer, "means", float("nan")), camera)
    with pytest.raises(RasterizerError, match="layer 0: means"):
        rasterize([to_gpu(layer)], camera, backend="cuda")
    assert not is_nan(layer, camera)


@pytest.mark.parametrize("grad", ["features", "full"])
def test_no_gradient_is_written(grad):
    layer, camera = sound()
    one = forward(to_gpu(broken(layer, "opacities", 1.5)), camera, grad=grad)
    with pytest.raises(RasterizerError, match="layer 0: opacities"):
        one.backward()
    assert all(leaf.grad is None for leaf in one.leaves.values())
    good = forward(to_gpu(layer), camera, grad=grad)
    good.backward()
    assert all(gradient.isfinite().all() for gradient in good.gradients().values())


def test_an_error_already_told_does_not_make_its_gradient_sound():
    """check() said it and the caller went on: the pass's own backward raises again, or its gradients show it."""
    layer, camera = sound()
    one = forward(to_gpu(broken(layer, "means", float("nan"))), camera)
    with pytest.raises(RasterizerError, match="layer 0: means"):
        cuda.check()
    with contextlib.suppress(RasterizerError):
        one.backward()
    assert not any(leaf.grad is not None and leaf.grad.isfinite().all() for leaf in one.leaves.values())


@pytest.mark.parametrize(
    ("name", "value"), [("opacities", 1 + 5e-7), ("opacities", -5e-7), ("features", 3e38), ("scales", 0.0)]
)
def test_values_at_the_edge_are_accepted(name, value):
    layer, camera = sound()
    rasterize([to_gpu(broken(layer, name, value))], camera, backend=require("cuda"))
    cuda.check()


def test_an_error_is_not_lost_behind_a_good_backward():
    """The bad call has no backward of its own, and the GPU was too busy for the next call to know."""
    layer, camera = sound()
    bad, good = to_gpu(broken(layer, "means", float("nan"))), to_gpu(layer)
    torch.cuda.synchronize()
    with pytest.raises(RasterizerError, match="layer 0: means"):
        torch.cuda._sleep(200_000_000)  # cycles: about a tenth of a second
        rasterize([bad], camera, backend="cuda")
        forward(good, camera).backward()
        cuda.check()


@pytest.mark.parametrize(("name", "value"), [("means", float("nan")), ("opacities", 1.5)])
def test_the_pytorch_back_end_refuses_bad_values_on_the_gpu_too(name, value):
    layer, camera = sound()
    with pytest.raises(RasterizerError, match=f"layer 0: {name}"):
        rasterize([to_gpu(broken(layer, name, value))], camera, backend="torch")
