"""Malformed input is refused in one line that names the layer, the tensor, what was found and what to do."""

from __future__ import annotations

import warnings
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from moegs_rasterizer import Camera, Layer, RasterizerError, api, cpu, rasterize

from .backends import COMPILED, CUDA, on, one_thread
from .scenes import camera_of, small_layer

pytestmark = pytest.mark.usefixtures(one_thread.__name__)

# What is looked at before any back-end is the same for tensors on the GPU; values there: test_cuda_values.py.
everywhere = pytest.mark.parametrize("backend", COMPILED)

COUNT = 20
TENSORS = ("means", "scales", "quats", "opacities", "colours", "features", "background")


def sound() -> Layer:
    return small_layer(COUNT, dtype=torch.float32, features=2)


def tensor_of(layer: Layer, name: str) -> torch.Tensor:
    return getattr(layer if name in ("features", "background") else layer.gaussians, name)


def changed(layer: Layer, **tensors: object) -> Layer:
    own = {name: value for name, value in tensors.items() if name in ("features", "background", "settings")}
    inner = {name: value for name, value in tensors.items() if name not in own}
    return replace(layer, gaussians=replace(layer.gaussians, **inner), **own)


def refusal(layers: object, camera: Camera | None = None, **options: str) -> str:
    with pytest.raises(RasterizerError) as caught:
        rasterize(layers, camera or camera_of(8, 8), **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(TENSORS),
    index=st.integers(0, 1),
    value=st.sampled_from([float("nan"), float("inf"), float("-inf")]),
    data=st.data(),
)
def test_nan_and_infinite_values_are_counted_and_placed(name, index, value, data):
    layers = [sound(), sound()]
    tensor = tensor_of(layers[index], name).clone()
    marked = data.draw(st.sets(st.integers(0, tensor.numel() - 1), min_size=1, max_size=3))
    tensor.view(-1)[list(marked)] = value
    layers[index] = changed(layers[index], **{name: tensor})
    first = min(marked) // (tensor.numel() // tensor.shape[0])
    message = refusal(layers)
    assert message.startswith(f"layer {index}: {name} has {len(marked)} NaN or infinite values, first at row {first}: ")


def test_finite_values_whose_sum_overflows_are_accepted():
    features = torch.full((COUNT, 2), 3e38)
    rasterize([changed(sound(), features=features)], camera_of(8, 8), backend="torch")


@everywhere
@pytest.mark.parametrize(
    ("name", "shape", "wanted"),
    [
        ("means", (COUNT, 2), "[20, 3]"),
        ("means", (COUNT,), "[20, 3]"),
        ("scales", (COUNT, 1), "[20, 3]"),
        ("quats", (COUNT + 1, 4), "[20, 4]"),
        ("opacities", (COUNT, 1), "[20]"),
        ("colours", (COUNT - 1, 3), "[20, k]"),
        ("features", (COUNT,), "[20, c]"),
        ("background", (3,), "[5]"),
    ],
)
def test_wrong_shapes(name, shape, wanted, backend):
    message = refusal([on(backend, changed(sound(), **{name: torch.ones(shape)}))], backend=backend)
    assert message.startswith(f"layer 0: {name} has shape {list(shape)}, expected {wanted}")


@everywhere
def test_sh_and_colours_exclude_each_other(backend):
    def message(**tensors: torch.Tensor | None) -> str:
        return refusal([on(backend, changed(sound(), **tensors))], backend=backend)

    assert message(sh=torch.zeros(COUNT, 4, 3)).startswith("layer 0: both of sh and colours")
    assert message(colours=None).startswith("layer 0: neither of sh and colours")
    wrong = message(colours=None, sh=torch.zeros(COUNT, 5, 3))
    assert wrong.startswith("layer 0: sh has 5 coefficients, expected 1, 4, 9 or 16")


def test_ranges():
    scales = sound().gaussians.scales.clone()
    scales[7, 1] = -0.5
    assert refusal([changed(sound(), scales=scales)]).startswith(
        "layer 0: scales goes down to -0.5, first below 0 at row 7"
    )
    for value in (-0.001, 1.001):
        opacities = sound().gaussians.opacities.clone()
        opacities[3] = value
        assert refusal([changed(sound(), opacities=opacities)]).startswith("layer 0: opacities span [")
    for value in (-5e-7, 1 + 5e-7):
        opacities = torch.full((COUNT,), value)
        rasterize([changed(sound(), opacities=opacities)], camera_of(8, 8), backend="torch")


@everywhere
def test_types(backend):
    there = on(backend, sound()).background.device
    whole = on(backend, changed(sound(), means=torch.zeros(COUNT, 3, dtype=torch.long)))
    message = refusal([whole], backend=backend)
    assert message == "layer 0: means is torch.int64, expected torch.float32 or torch.float64"
    message = refusal([on(backend, sound()), on(backend, small_layer(3))], backend=backend)
    start = f"layer 1: means is torch.float64 on {there}, but layer 0: means is torch.float32 on {there}"
    assert message.startswith(start)


def test_kinds():
    assert refusal([changed(sound(), quats=torch.zeros(COUNT, 4).numpy())]).startswith("layer 0: quats is a ndarray")
    assert refusal([sound().gaussians]) == "layer 0 is a Gaussians, expected a Layer"
    assert "write rasterize([layer], camera)" in refusal(sound())
    assert refusal([replace(sound(), settings=None)]) == "layer 0: settings is a NoneType, expected RasterSettings"
    assert refusal([replace(sound(), gaussians=None)]) == "layer 0: gaussians is a NoneType, expected Gaussians"


@everywhere
def test_a_missing_camera(backend):
    with pytest.raises(RasterizerError, match=r"^camera is a NoneType, expected a moegs_rasterizer\.Camera$"):
        rasterize([on(backend, sound())], None, backend=backend)


@everywhere
@pytest.mark.parametrize("name", TENSORS)
@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda tensor: tensor.to_sparse(), "a tensor of layout torch.sparse_coo, expected a dense one; convert it"),
        (
            lambda tensor: tensor.reshape(-1, 1).to_sparse_csr(),
            "a tensor of layout torch.sparse_csr, expected a dense one",
        ),
        (lambda tensor: torch.nested.nested_tensor([tensor, tensor]), "a nested tensor, expected a dense one"),
        (lambda tensor: tensor.to(torch.complex64), "torch.complex64, expected torch.float32 or torch.float64"),
    ],
    ids=["sparse", "csr", "nested", "complex"],
)
def test_tensors_of_other_kinds(change, found, name, backend):
    layer = on(backend, changed(sound(), **{name: change(tensor_of(sound(), name))}))
    assert refusal([layer], backend=backend).startswith(f"layer 0: {name} is {found}")


@pytest.mark.parametrize("elsewhere", ["meta", CUDA])
def test_tensors_of_one_call_lie_on_one_device(elsewhere):
    """ "meta" stands in for another device where there is none."""
    for name in TENSORS[1:]:
        moved = tensor_of(sound(), name).to(elsewhere)
        start = f"layer 0: {name} is torch.float32 on {moved.device}, but layer 0: means is torch.float32 on cpu"
        assert refusal([changed(sound(), **{name: moved})]).startswith(start)
    for backend in ("auto", "cpu", "torch", "cuda"):
        away = changed(sound(), **{name: tensor_of(sound(), name).to(elsewhere) for name in TENSORS})
        message = refusal([sound(), away], backend=backend)
        assert message.startswith(f"layer 1: means is torch.float32 on {moved.device}, but layer 0: means is ")


def test_meta_tensors():
    layer = changed(sound(), **{name: tensor_of(sound(), name).to("meta") for name in TENSORS})
    assert refusal([layer]) == "layer 0: means is a meta tensor, which has no values; load its values first"


@pytest.mark.parametrize(
    ("options", "start"),
    [
        ({"low_pass": -0.1}, "layer 0: low_pass is -0.1"),
        ({"near": float("nan")}, "layer 0: near is nan"),
        ({"near": 2.0, "far": 1.0}, "layer 0: far is 1.0"),
        ({"ndc_limit": -1.0}, "layer 0: ndc_limit is -1.0"),
        (
            {"tile_rule": "exakt"},
            "layer 0: tile_rule is 'exakt', expected one of exact, inria; did you mean \"exact\"?",
        ),
        ({"depth": "median "}, "layer 0: depth is 'median ', expected one of sum, mean, median"),
    ],
)
def test_settings(options, start):
    layer = sound()
    assert refusal([replace(layer, settings=replace(layer.settings, **options))]).startswith(start)


@pytest.mark.parametrize(
    ("change", "start"),
    [
        ({"width": 0}, "camera: width is 0"),
        ({"height": 2.5}, "camera: height is 2.5"),
        ({"fx": 0.0}, "camera: fx is 0.0"),
        ({"cy": float("inf")}, "camera: cy is inf"),
        ({"fx": None}, "camera: fx is None, expected a finite number of pixels"),
        ({"fx": 10**400}, "camera: fx is 1000"),
        ({"world_to_camera": None}, "camera: world_to_camera is a NoneType, expected a torch.Tensor"),
        (
            {"world_to_camera": torch.eye(4).to_sparse()},
            "camera: world_to_camera is a tensor of layout torch.sparse_co",
        ),
        ({"world_to_camera": torch.eye(4, device="meta")}, "camera: world_to_camera is a meta tensor, which has no"),
        ({"world_to_camera": torch.eye(4) * (1 + 0j)}, "camera: world_to_camera is torch.complex64, expected a real"),
        ({"world_to_camera": torch.eye(3)}, "camera: world_to_camera has shape [3, 3]"),
        (
            {"world_to_camera": torch.full((4, 4), float("nan"))},
            "camera: world_to_camera has 16 NaN or infinite values",
        ),
        ({"world_to_camera": torch.zeros(4, 4)}, "camera: world_to_camera is not an invertible"),
        ({"world_to_camera": camera_of(8, 8).world_to_camera.T}, "camera: world_to_camera is not an invertible"),
    ],
)
def test_cameras(change, start):
    assert refusal([sound()], replace(camera_of(8, 8), **change)).startswith(start)


def test_options():
    assert 'did you mean "features"?' in refusal([sound()], grad="feature")
    assert refusal([sound()], backend="gpu").startswith(
        "backend is 'gpu', expected one of auto, cuda, cuda-half, cpu, torch"
    )


def test_no_layers_give_no_splats():
    assert rasterize([], camera_of(8, 8)) == []


@pytest.mark.parametrize(
    ("given", "backend", "move"),
    [("cpu", "cuda", ".cuda()"), pytest.param("cuda", "cpu", ".cpu()", marks=pytest.mark.cuda)],
)
def test_tensors_that_the_back_end_cannot_reach(given, backend, move):
    layer = on(given, sound())
    message = refusal([layer], backend=backend)
    assert message.startswith(
        f'backend="{backend}" cannot use tensors on {layer.background.device}; move them with {move}'
    )


@everywhere
def test_compiled_back_ends_refuse_float64(backend):
    message = refusal([on(backend, small_layer(3))], backend=backend)
    assert message.startswith(f'backend="{backend}" takes float32')


def test_without_the_cpp_back_end_auto_warns_once_and_cpu_is_refused(monkeypatch):
    monkeypatch.setattr(cpu, "unavailable_reason", lambda: "no C++ compiler was found; install g++")
    assert refusal([sound()], backend="cpu").endswith("no C++ compiler was found; install g++")
    api._warn_slow.cache_clear()
    with pytest.warns(RuntimeWarning, match="install g\\+\\+"):
        splat = rasterize([sound()], camera_of(8, 8))[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rasterize([sound()], camera_of(8, 8))
        rasterize([small_layer(3)], camera_of(8, 8))
    assert torch.equal(splat.colour, rasterize([sound()], camera_of(8, 8), backend="torch")[0].colour)


def test_auto_takes_the_cpp_back_end_where_it_can(monkeypatch):
    called = []

    def record(layers: list[Layer], camera: Camera, grad: str) -> None:
        called.append((grad, [name for name in TENSORS if tensor_of(layers[1], name).requires_grad]))

    monkeypatch.setattr(cpu, "unavailable_reason", lambda: None)
    monkeypatch.setattr(cpu, "rasterize_layers", record)
    layers = [sound(), sound()]
    for name in TENSORS:
        tensor_of(layers[1], name).requires_grad_()
    for grad in ("none", "features", "full"):
        rasterize(layers, camera_of(8, 8), grad=grad)
    assert called == [("none", []), ("features", ["features"]), ("full", list(TENSORS))]
