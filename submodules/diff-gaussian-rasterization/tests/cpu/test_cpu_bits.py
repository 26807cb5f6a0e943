"""The C++ back-end gives the same bits however its work is shared out."""

from __future__ import annotations

import os

import pytest
import torch
from moegs_rasterizer import RasterizerError, RasterSettings, rasterize
from moegs_rasterizer.cpu import backend as cpu_backend
from moegs_rasterizer.cpu import loading
from moegs_rasterizer.views import view_rows

from ..backends import one_thread, require
from ..random_layers import PLANES, assert_same_bits, gradients_of, layer_of, run, tensors_of, with_tensors

pytestmark = pytest.mark.usefixtures(one_thread.__name__)

OTHER = RasterSettings(low_pass=0.1, compensate=True, tile_rule="inria", depth="mean")


def scene():
    require("cpu")
    return layer_of(3000, 150, 110, sh_degree=2)


def test_runs_repeat():
    layer, camera = scene()
    assert_same_bits(run([layer], camera, backend="cpu"), run([layer], camera, backend="cpu"))


def test_threads_do_not_matter():
    layer, camera = scene()
    alone = run([layer], camera, backend="cpu")
    for threads in (2, 3):
        torch.set_num_threads(threads)
        assert_same_bits(alone, run([layer], camera, backend="cpu"))


def test_layers_together_equal_layers_apart():
    first, camera = scene()
    second, _ = layer_of(700, 150, 110, seed=7, colours=9, settings=OTHER)
    third, _ = layer_of(1500, 150, 110, seed=8, colours=1)
    layers = [first, second, third]
    together = run(layers, camera, backend="cpu")
    for index, layer in enumerate(layers):
        assert_same_bits(together, run([layer], camera, backend="cpu", first=index), index, 0)


def test_bands_do_not_matter(monkeypatch):
    layer, camera = scene()
    whole = run([layer, layer], camera, backend="cpu")
    for floats in (1, 5_000):
        monkeypatch.setattr(cpu_backend, "BAND_FLOATS", floats)
        banded = run([layer, layer], camera, backend="cpu")
        assert_same_bits(whole, banded, 0, 0)
        assert_same_bits(whole, banded, 1, 1)


def test_features_alone_get_the_gradient_of_full():
    layer, camera = scene()
    full = run([layer], camera, backend="cpu", parts=("colour", "features", "alpha"))
    leaf = layer.features.clone().requires_grad_()
    tensors = {**tensors_of(layer), "features": leaf}
    splat = rasterize([with_tensors(layer, tensors)], camera, grad="features", backend="cpu")[0]
    assert not splat.means2d.requires_grad
    (splat.features * full.weights[0]["features"]).sum().backward()
    assert torch.equal(leaf.grad, gradients_of(full, 0)["features"])


def test_instruction_sets_agree(monkeypatch):
    layer, camera = scene()
    available = loading.available_isas()
    assert available[0] == "portable"
    runs = {}
    for isa in available:
        monkeypatch.setenv(loading.ISA_VARIABLE, isa)
        runs[isa] = run([layer], camera, backend="cpu")
    for isa in available[1:]:
        for name in PLANES:
            one, other = (getattr(runs[key].splats[0], name) for key in ("portable", isa))
            # Seen: 5e-6, of depths 9e-6; a pixel may flip at a threshold.
            assert ((one - other).abs() <= 2e-5).double().mean() >= 0.9999, (isa, name)
        for name, gradient in gradients_of(runs["portable"], 0).items():
            error = (gradients_of(runs[isa], 0)[name] - gradient).norm() / gradient.norm()
            assert error <= 1e-5, (isa, name, error)


def test_unknown_instruction_set_is_refused(monkeypatch):
    layer, camera = scene()
    monkeypatch.setenv(loading.ISA_VARIABLE, "avx1024")
    with pytest.raises(RasterizerError, match=r"avx1024.*portable"):
        rasterize([layer], camera, backend="cpu")
    assert os.environ[loading.ISA_VARIABLE] == "avx1024"


def test_operators_keep_their_schemas():
    """No operator changes an input or returns one, as its schema says."""
    layer, camera = scene()
    given, isa = layer.gaussians, loading.ISAS.index("portable")
    view = torch.tensor(view_rows(camera, [layer.settings])[0], dtype=torch.float64)
    ops = torch.ops.moegs_rasterizer
    gaussians = (given.means, given.scales, given.quats, given.opacities, given.sh)
    check = {"test_utils": ("test_schema", "test_autograd_registration")}
    torch.library.opcheck(ops.project.default, (*gaussians, view, isa), **check)
    means2d, conics, colours, depths, radii, tiles = ops.project(*gaussians, view, isa)
    inputs = [means2d, conics, depths, tiles, colours, layer.features, layer.background]
    options = torch.zeros(1, 2, dtype=torch.float64)
    size = (camera.width, camera.height)
    torch.library.opcheck(ops.blend.default, (inputs, options, *size, True, cpu_backend.MOST_INSTANCES, isa), **check)
    results = ops.blend(inputs, options, *size, True, cpu_backend.MOST_INSTANCES, isa)
    gradients = [torch.ones_like(image) for image in results[: cpu_backend.OUTPUTS]]
    call = (inputs, results, gradients, *size, False, cpu_backend.BAND_FLOATS, isa)
    torch.library.opcheck(ops.blend_backward.default, call, **check)
    by_projected = ops.blend_backward(*call)
    call = (*gaussians, view, radii, *by_projected[:3], isa)
    torch.library.opcheck(ops.project_backward.default, call, **check)
