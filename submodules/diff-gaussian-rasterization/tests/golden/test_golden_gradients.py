"""Gradients of the original kernels are reproduced, once their documented backward quirks are taken out of them.

`original_kernels` evaluates the kernels in float64 with and without those quirks. With them it gives the original
gradients; so "original - with + without" is what a true derivative has to be, for every row and without exceptions.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from moegs_rasterizer.reference.projection import project
from torch import Tensor

from ..backends import PLAYED, one_thread, rendered
from .golden_files import NAMES, Golden, read_golden
from .original_gradients import TOLERANCE, distance, gradients, leaves, with_leaves
from .original_kernels import clamped_rows

pytestmark = pytest.mark.usefixtures(one_thread.__name__)


def of_backend(golden: Golden, backend: str) -> dict[str, Tensor]:
    leaf = leaves(golden)
    splat = rendered([with_leaves(golden, leaf)], golden.camera, backend, grad="full")[0]
    return gradients(golden, leaf, splat.colour, splat.means2d)


@pytest.mark.parametrize("name", NAMES)
def test_the_quirks_explain_the_original_gradients(references, name):
    original, quirky, _ = references(name)
    for tensor, expected in original.items():
        assert distance(quirky[tensor], expected) <= TOLERANCE, tensor


@pytest.mark.parametrize("backend", PLAYED)
@pytest.mark.parametrize("name", NAMES)
def test_float32_gradients_are_the_original_ones_without_quirks(shared, references, name, backend):
    original, quirky, true = references(name)
    computed = of_backend(read_golden(shared("reference/raster"), name, torch.float32), backend)
    for tensor, expected in original.items():
        assert distance(computed[tensor], expected - quirky[tensor] + true[tensor]) <= TOLERANCE, tensor


@pytest.mark.parametrize("name", NAMES)
def test_float64_gradients_are_those_of_the_independent_reference(shared, references, name):
    _, _, true = references(name)
    computed = of_backend(read_golden(shared("reference/raster"), name, torch.float64), "torch")
    for tensor, expected in true.items():
        assert distance(computed[tensor], expected) <= 1e-11, tensor


@pytest.mark.parametrize("name", ["inria_extreme", "ch9_offcenter"])
def test_the_jacobian_quirk_touches_only_clamped_gaussians(shared, references, name):
    _, quirky, true = references(name)
    golden = read_golden(shared("reference/raster"), name, torch.float64)
    # The other quirk active here, det^2 + 1e-7, changes gradients by less than 2e-5 of their size.
    change = (quirky["means"] - true["means"]).norm(dim=1)
    touched = change > 1e-4 * true["means"].norm(dim=1)
    clamped = clamped_rows(golden.layer, golden.camera)
    assert touched.any()
    assert not (touched & ~clamped).any()


@pytest.mark.parametrize("name", ["df_plain", "df_rawquat", "df_behind"])
def test_ex4dgs_opacity_gradient_lacks_the_compensation_factor(shared, references, name):
    original, _, true = references(name)
    golden = read_golden(shared("reference/raster"), name, torch.float64)
    leaf = golden.layer.gaussians.opacities.clone().requires_grad_()
    scaled = project(replace(golden.layer.gaussians, opacities=leaf), golden.camera, golden.layer.settings).opacities
    (factor,) = torch.autograd.grad(scaled.sum(), leaf)
    seen = true["opacities"] != 0
    assert distance((original["opacities"] * factor)[seen], true["opacities"][seen]) <= TOLERANCE
