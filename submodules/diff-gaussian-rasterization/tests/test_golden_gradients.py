"""Gradients of the original kernels are reproduced, once their documented backward quirks are taken out of them.

`kernel_reference` evaluates the kernels in float64 with and without those quirks. With them it gives the original
gradients; so "original - with + without" is what a true derivative has to be, for every row and without exceptions.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from moegs_rasterizer import Gaussians, Layer
from moegs_rasterizer.projection import project
from torch import Tensor

from .backends import PLAYED, one_thread, rendered
from .golden_files import NAMES, Golden, read_golden
from .kernel_reference import clamped_rows, reference_colour

pytestmark = pytest.mark.usefixtures(one_thread.__name__)

TOLERANCE = 2e-5  # relative L2 of a tensor; seen: 9.3e-6 (df_plain, quats)


def leaves(golden: Golden) -> dict[str, Tensor]:
    given = golden.layer.gaussians
    tensors = {"means": given.means, "scales": given.scales, "quats": given.quats, "opacities": given.opacities}
    tensors |= {"feat": given.colours} if given.sh is None else {"sh": given.sh}
    return {name: tensor.clone().requires_grad_() for name, tensor in tensors.items()}


def with_leaves(golden: Golden, leaf: dict[str, Tensor]) -> Layer:
    gaussians = Gaussians(
        means=leaf["means"],
        scales=leaf["scales"],
        quats=leaf["quats"],
        opacities=leaf["opacities"],
        sh=leaf.get("sh"),
        colours=leaf.get("feat"),
    )
    return replace(golden.layer, gaussians=gaussians)


def gradients(golden: Golden, leaf: dict[str, Tensor], colour: Tensor, means2d: Tensor) -> dict[str, Tensor]:
    """Gradients as the original kernels report them: float64, screen-space ones in NDC units."""
    means2d.retain_grad()
    colour.backward(golden.tensor("grad_out").to(colour.dtype))
    found = {name: tensor.grad.double() for name, tensor in leaf.items()}
    half_size = torch.tensor([golden.camera.width / 2, golden.camera.height / 2], dtype=torch.float64)
    return found | {"means2d": means2d.grad.cpu().double() * half_size}


def of_reference(golden: Golden, *, quirks: bool) -> dict[str, Tensor]:
    leaf = leaves(golden)
    colour, means2d = reference_colour(with_leaves(golden, leaf), golden.camera, quirks=quirks)
    return gradients(golden, leaf, colour, means2d)


def of_backend(golden: Golden, backend: str) -> dict[str, Tensor]:
    leaf = leaves(golden)
    splat = rendered([with_leaves(golden, leaf)], golden.camera, backend, grad="full")[0]
    return gradients(golden, leaf, splat.colour, splat.means2d)


def of_original(golden: Golden) -> dict[str, Tensor]:
    names = [key for key in golden.arrays if key.startswith("grad_") and key != "grad_out"]
    found = {name.removeprefix("grad_"): golden.tensor(name).double() for name in names}
    # The originals' third screen-space column is unused, or Ex4DGS's depth gradient; its opacities are [n, 1].
    return found | {"means2d": found["means2d"][:, :2], "opacities": found["opacities"][:, 0]}


def distance(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@pytest.fixture(scope="module")
def references(shared):
    """(original, with quirks, without), computed once for all back-ends."""
    kept: dict[str, tuple[dict[str, Tensor], ...]] = {}

    def find(name: str) -> tuple[dict[str, Tensor], ...]:
        if name not in kept:
            golden = read_golden(shared("reference/raster"), name, torch.float64)
            kept[name] = (
                of_original(golden),
                of_reference(golden, quirks=True),
                of_reference(golden, quirks=False),
            )
        return kept[name]

    return find


@pytest.mark.parametrize("name", NAMES)
def test_the_quirks_explain_the_original_gradients(references, name):
    original, quirky, _ = references(name)
    for tensor, expected in original.items():
        assert distance(quirky[tensor], expected) <= TOLERANCE, tensor


@pytest.mark.parametrize("backend", PLAYED)
@pytest.mark.parametrize("name", NAMES)
def test_float32_gradients_are_the_original_ones_without_quirks(shared, references, name, backend):
    original, quirky, true = references(name)
    found = of_backend(read_golden(shared("reference/raster"), name, torch.float32), backend)
    for tensor, expected in original.items():
        assert distance(found[tensor], expected - quirky[tensor] + true[tensor]) <= TOLERANCE, tensor


@pytest.mark.parametrize("name", NAMES)
def test_float64_gradients_are_those_of_the_independent_reference(shared, references, name):
    _, _, true = references(name)
    found = of_backend(read_golden(shared("reference/raster"), name, torch.float64), "torch")
    for tensor, expected in true.items():
        assert distance(found[tensor], expected) <= 1e-11, tensor


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
