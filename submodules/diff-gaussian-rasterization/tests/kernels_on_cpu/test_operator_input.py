"""The forward operator checks a call's input by itself, and takes what the other back-ends take."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from moegs_rasterizer import RasterizerError, RasterSettings
from moegs_rasterizer.cuda import passes
from moegs_rasterizer.validation import validate
from moegs_rasterizer.views import view_rows

from ..backends import KERNELS, one_thread, rendered
from ..random_layers import PLANES, assert_same_bits, layer_of, run, tensors_of, with_tensors
from . import player

pytestmark = pytest.mark.usefixtures(one_thread.__name__)

COUNT = 20
TENSORS = ("means", "scales", "quats", "opacities", "sh", "features", "background")


def sound():
    return layer_of(COUNT, 20, 17, sh_degree=1, features=2)


def refusal(layers, camera, **options) -> str:
    with pytest.raises(RasterizerError) as caught:
        player.rasterize(layers, camera, **options)
    return str(caught.value)


@pytest.mark.parametrize("name", TENSORS)
@pytest.mark.parametrize(
    "change",
    [
        lambda tensor: tensor[:-1],
        lambda tensor: tensor[None],
        lambda tensor: tensor.double(),
        lambda tensor: tensor.to("meta"),
        lambda tensor: tensor.numpy(),
        lambda tensor: tensor.long(),
        lambda tensor: torch.cat([tensor, tensor], -1),
        lambda tensor: tensor.to_sparse(),
        lambda tensor: torch.nested.nested_tensor([tensor.reshape(-1, 1)] * 2),
        lambda tensor: tensor * (1 + 0j),
    ],
    ids=["shorter", "deeper", "double", "elsewhere", "numpy", "whole", "wider", "sparse", "nested", "complex"],
)
def test_tensors_that_do_not_fit_are_refused_in_the_same_words(name, change):
    layer, camera = sound()
    tensors = tensors_of(layer)
    layers = [layer, with_tensors(layer, tensors | {name: change(tensors[name])})]
    with pytest.raises(RasterizerError, match=r"^layer 1: ") as caught:
        validate(layers, camera)
    assert refusal(layers, camera) == str(caught.value)


@pytest.mark.parametrize(
    ("change", "start"),
    [
        ({"low_pass": -0.1}, "layer 1: low_pass is -0.1"),
        ({"near": float("nan")}, "layer 1: near is nan"),
        ({"near": 2.0, "far": 1.0}, "layer 1: far is 1.0"),
        ({"tile_rule": "exakt"}, "layer 1: tile_rule is 'exakt', expected one of"),
        ({"depth": ["sum"]}, "layer 1: depth is ['sum'], expected one of"),
    ],
)
def test_settings_that_do_not_fit_are_refused_by_name(change, start):
    layer, camera = sound()
    for _ in range(2):  # sound ones are remembered, these are not
        assert refusal([layer, replace(layer, settings=replace(layer.settings, **change))], camera).startswith(start)


@pytest.mark.parametrize(
    ("change", "start"),
    [
        ({"width": 0}, "camera: width is 0"),
        ({"height": 2.5}, "camera: height is 2.5"),
        ({"fx": 0.0}, "camera: fx is 0.0"),
        ({"fy": -1.0}, "camera: fy is -1.0"),
        ({"cy": float("inf")}, "camera: cy is inf"),
        ({"width": 65536}, "camera: width is 65536, expected a whole number of pixels from 1 to 65535"),
        ({"height": 2**70}, "camera: height is 1180591620717411303424"),
        ({"fx": None}, "camera: fx is None"),
        ({"world_to_camera": None}, "camera: world_to_camera is a NoneType, expected a torch.Tensor"),
        (
            {"world_to_camera": torch.eye(4).to_sparse()},
            "camera: world_to_camera is a tensor of layout torch.sparse_co",
        ),
        ({"world_to_camera": torch.eye(4, device="meta")}, "camera: world_to_camera is a meta tensor, which has no"),
        ({"world_to_camera": torch.eye(4) * (1 + 0j)}, "camera: world_to_camera is torch.complex64, expected a real"),
        ({"world_to_camera": torch.eye(3)}, "camera: world_to_camera has shape [3, 3]"),
        ({"world_to_camera": torch.full((4, 4), float("nan"))}, "camera: world_to_camera has 16 NaN"),
        ({"world_to_camera": torch.zeros(4, 4)}, "camera: world_to_camera is not an invertible"),
        ({"world_to_camera": torch.diag(torch.tensor([1.0, 1.0, 0.0, 1.0]))}, "camera: world_to_camera is not an inv"),
        ({"world_to_camera": torch.eye(4) + torch.eye(4)[3:].T @ torch.ones(1, 4)}, "camera: world_to_camera is not"),
    ],
)
def test_cameras_that_do_not_fit_are_refused_by_name(change, start):
    layer, camera = sound()
    assert refusal([layer], replace(camera, **change)).startswith(start)


@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.float16])
@pytest.mark.parametrize("transposed", [False, True])
def test_the_camera_is_that_of_the_other_back_ends_to_the_bit(kind, transposed):
    layer, camera = sound()
    settings = RasterSettings(low_pass=0.1, near=0.3, far=50.0, ndc_limit=1.3, tile_rule="inria", compensate=True)
    layer = replace(layer, settings=settings)
    matrix = torch.eye(4)
    matrix[:3, :3] = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(3)))[0] * 1.1
    matrix[:3, 3] = torch.tensor([0.3, -0.7, 5.1])
    matrix = matrix.to(kind)
    camera = replace(camera, world_to_camera=matrix.T.contiguous().T if transposed else matrix)
    player.mailbox()
    cuda_pass = passes.pass_of(camera, torch.device("cpu"), first_layer=0, deterministic=False)
    views = passes.made_of(cuda_pass, passes.given_of([layer])).views
    assert views.tolist() == view_rows(camera, [settings])


def test_strided_tensors_give_the_bits_of_contiguous_ones():
    layer, camera = sound()
    strided = {name: torch.stack([tensor, tensor], -1)[..., 0] for name, tensor in tensors_of(layer).items()}
    assert not any(tensor.is_contiguous() for tensor in strided.values())
    wanted = run([layer], camera, backend=KERNELS, deterministic=True)
    given = run([with_tensors(layer, strided)], camera, backend=KERNELS, deterministic=True)
    assert_same_bits(given, wanted)
    plain = rendered([with_tensors(layer, strided)], camera, KERNELS)[0]
    for name in PLANES:
        assert torch.equal(getattr(plain, name), getattr(wanted.splats[0], name)), name


def test_a_captured_call_reads_its_views_from_memory_that_a_camera_can_be_written_to(monkeypatch):
    layer, camera = sound()
    other = replace(layer, settings=RasterSettings(low_pass=0.1, far=40.0, depth="mean"))
    wanted = rendered([layer, other], camera, KERNELS)
    with monkeypatch.context() as patched:
        patched.setattr(passes, "captured", lambda: True)
        splats = rendered([layer, other], camera, KERNELS)
    for one, right in zip(splats, wanted, strict=True):
        for name in (*PLANES, "means2d", "radii"):
            assert torch.equal(getattr(one, name), getattr(right, name)), name
    call = player.mailbox().watched[-1]
    assert call.instances > 0
    assert not call.overflowed
    call.check()
    assert call.views.tolist() == view_rows(camera, [layer.settings, other.settings])
    matrix = camera.world_to_camera.clone()
    matrix[0, 3] += 0.25
    moved = replace(camera, world_to_camera=matrix, fx=camera.fx * 1.5)
    call.look_from(moved)
    assert call.views.tolist() == view_rows(moved, [layer.settings, other.settings])
    with pytest.raises(RasterizerError, match=r"the image is 21x17, but the graph's is 20x17"):
        call.look_from(replace(camera, width=21))
    with pytest.raises(RasterizerError, match="fx is 0"):
        call.look_from(replace(camera, fx=0.0))
