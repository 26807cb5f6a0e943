"""Trunk and heads: the fused networks against the modules."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from experts.canonical.heads import head, plain_heads, trunk
from experts.canonical.heads_fused import affine_layers, fused_heads, fused_networks
from tests.plain_and_fused import assert_same

ROWS = [1, 40, 1300]  # one piece of rows, and three


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_a_trunk_has_linear_layers_with_relu_between(depth: int) -> None:
    kinds = [type(layer) for layer in trunk(8, 16, depth)]
    assert kinds == [nn.Linear, *[nn.ReLU, nn.Linear] * max(depth - 1, 0)]


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("depth", [1, 3])
def test_fused_heads_are_the_plain_ones(rows: int, depth: int) -> None:
    torch.manual_seed(0)
    inputs = torch.randn(rows, 8).double().requires_grad_()
    before, heads = trunk(8, 16, depth).double(), nn.ModuleList([head(16, 3), head(16, 1), head(16, 48)]).double()
    plain, fused = (partial(which, inputs, before, list(heads)) for which in (plain_heads, fused_heads))
    assert_same(plain, fused, [inputs, *before.parameters(), *heads.parameters()], atol=1e-12)


@pytest.mark.parametrize("recorded", [False, True], ids=["no gradients", "gradients"])
def test_fused_heads_are_the_plain_ones_in_single_precision(recorded: bool) -> None:
    inputs, before, heads = torch.randn(1300, 8), trunk(8, 16, 2), [head(16, 3), head(16, 1)]
    with torch.set_grad_enabled(recorded):
        both = fused_heads(inputs, before, heads), plain_heads(inputs, before, heads)
    for ours, theirs in zip(*both, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("count", [1, 2, 3])
def test_fused_networks_are_sums_over_the_modules(rows: int, count: int) -> None:
    """Of two heads each, behind trunks of three layers; 2e-14 seen."""
    torch.manual_seed(0)
    inputs = torch.randn(rows, 8).double().requires_grad_()
    trunks = nn.ModuleList(trunk(8, 16, 3) for _ in range(count)).double()
    heads = nn.ModuleList(nn.ModuleList([head(16, 3), head(16, 1)]) for _ in range(count)).double()

    def plain() -> list[torch.Tensor]:
        by_network = [plain_heads(inputs, before, own) for before, own in zip(trunks, heads, strict=True)]
        return [torch.stack(outputs).sum(0) for outputs in zip(*by_network, strict=True)]

    def fused() -> list[torch.Tensor]:
        networks = zip(*map(affine_layers, trunks), strict=True)
        layers = [tuple(torch.stack(parts) for parts in zip(*layer, strict=True)) for layer in networks]
        return fused_networks(inputs, layers, list(heads))

    assert_same(plain, fused, [inputs, *trunks.parameters(), *heads.parameters()], atol=1e-12)


SHOWN = [0.0, 0.3, 0.7, 0.9]  # of the rows; from three quarters on all are taken


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
@pytest.mark.parametrize("share", SHOWN)
def test_rows_that_no_image_shows_have_no_part_in_gradients(share: float, device: str) -> None:
    """The same gradients as of all rows, whose own are 0 there; a GPU leaves rows out of many alone."""
    rows = 1300 if device == "cpu" else 140_000
    torch.manual_seed(0)
    inputs = torch.randn(rows, 8, dtype=torch.float64, device=device).requires_grad_()
    before, heads = trunk(8, 16, 2), nn.ModuleList([head(16, 3), head(16, 1), head(16, 48)])
    learned = [inputs, *before.double().to(device).parameters(), *heads.double().to(device).parameters()]
    shown = torch.rand(rows, 1, device=device) < share
    weights = [torch.randn(rows, width, dtype=torch.float64, device=device) * shown for width in (3, 1, 48)]
    weights[0][:, :2] = 0  # of some outputs alone, as where a head's residuals do not count yet
    ours, theirs = (
        torch.autograd.grad(list(which(inputs, before, list(heads))), learned, weights, allow_unused=True)
        for which in (fused_heads, plain_heads)
    )
    for found, expected in zip(ours, theirs, strict=True):
        scale = max(float(expected.abs().max()), 1.0)
        torch.testing.assert_close(found, expected, atol=1e-12 * scale, rtol=0)
    assert bool(ours[0].any()) == (share > 0) and not ours[0][~shown[:, 0]].any()
