"""Recorded gradients of the original kernels, and the independent reference's with their quirks and without."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from moegs_rasterizer import Gaussians, Layer
from torch import Tensor

from .golden_files import Golden, read_golden
from .original_kernels import reference_colour

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
    by_leaf = {name: tensor.grad.double() for name, tensor in leaf.items()}
    half_size = torch.tensor([golden.camera.width / 2, golden.camera.height / 2], dtype=torch.float64)
    return by_leaf | {"means2d": means2d.grad.cpu().double() * half_size}


def of_reference(golden: Golden, *, quirks: bool) -> dict[str, Tensor]:
    leaf = leaves(golden)
    colour, means2d = reference_colour(with_leaves(golden, leaf), golden.camera, quirks=quirks)
    return gradients(golden, leaf, colour, means2d)


def of_original(golden: Golden) -> dict[str, Tensor]:
    names = [key for key in golden.arrays if key.startswith("grad_") and key != "grad_out"]
    recorded = {name.removeprefix("grad_"): golden.tensor(name).double() for name in names}
    # The originals' third screen-space column is unused, or Ex4DGS's depth gradient; its opacities are [n, 1].
    return recorded | {"means2d": recorded["means2d"][:, :2], "opacities": recorded["opacities"][:, 0]}


def distance(tensor: Tensor, expected: Tensor) -> float:
    """Relative L2 error."""
    return float((tensor - expected).norm() / expected.norm())


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
