"""Router heads: the published shapes and formula, the table, and the fused head against the plain one."""

from __future__ import annotations

from typing import get_args

import pytest
import torch

from router import HEADS, RoutingFeatures, new_head
from router.heads import HeadKind, head_fused
from router.heads.head import SandwichHead
from router.heads.head_fused import FusedSandwichHead
from tests.plain_and_fused import assert_same

BOTH = pytest.mark.parametrize("sees_rays", [True, False], ids=["rays", "no rays"])


def test_features_start_as_in_the_released_code_and_scale_only_the_third_with_time():
    features = RoutingFeatures([4, 2], init=0.7)
    assert torch.equal(features(0, slice(0, 4), 0.5), torch.tensor([0.7, 0.7, 0.0]).expand(4, 3))
    with torch.no_grad():
        features.temporal[1].copy_(torch.tensor([[2.0], [-4.0]]))
        features.static[1].copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    assert features(1, slice(1, 2), 0.25).tolist() == [[3.0, 4.0, -1.0]]


@pytest.mark.parametrize(("kind", "inputs", "weights"), [("sandwichlite", 8, 69), ("sandwichpixel", 2, 33)])
def test_published_heads_have_the_published_shapes(kind, inputs, weights):
    shapes = {name: tuple(value.shape) for name, value in new_head(kind).state_dict().items()}
    assert shapes == {"mlp1.weight": (6, inputs, 1, 1), "mlp2.weight": (3, 6, 1, 1), "mlp3.weight": (1, 3, 1, 1)}
    assert sum(value.numel() for value in new_head(kind).state_dict().values()) == weights


@pytest.mark.parametrize("kind", HEADS)
def test_every_head_of_the_table_makes_a_logit_per_expert_and_pixel(kind):
    head, features = new_head(kind), list(torch.randn(3, 3, 4, 5))
    assert head(features, torch.randn(6, 4, 5)).shape == (3, 4, 5)
    assert [name for name, _ in head.named_parameters()]


def test_the_choices_of_the_command_line_are_the_tables_rows():
    assert get_args(HeadKind) == tuple(HEADS)


def test_unknown_head_names_the_known_ones():
    with pytest.raises(ValueError, match="'sandwich' is unknown: use one of sandwichlite, sandwichpixel"):
        new_head("sandwich")


def case(sees_rays: bool, *, experts: int = 3, height: int = 4, width: int = 5):
    """A plain and a fused head of the same weights, experts' features and rays; float64."""
    torch.manual_seed(0)
    plain, fused = (kind(sees_rays=sees_rays).double() for kind in (SandwichHead, FusedSandwichHead))
    fused.mlp1, fused.mlp2, fused.mlp3 = plain.mlp1, plain.mlp2, plain.mlp3
    features = [torch.randn(3, height, width).double().requires_grad_() for _ in range(experts)]
    return plain, fused, features, torch.randn(6, height, width).double()


@BOTH
def test_plain_head_is_the_papers_formula_at_every_pixel(sees_rays):
    head, _, features, rays = case(sees_rays)
    first, second, third = (layer.weight.flatten(1) for layer in (head.mlp1, head.mlp2, head.mlp3))
    logits = head(features, rays)
    for expert, row, column in ((0, 0, 0), (2, 3, 4), (1, 2, 1)):
        base, *routing = features[expert][:, row, column]
        seen = torch.stack([*routing, *(rays[:, row, column] if sees_rays else [])])
        expected = base + third @ (second @ (first @ seen).clamp(min=0)).clamp(min=0)
        torch.testing.assert_close(logits[expert, row, column], expected[0], atol=1e-14, rtol=0)


@BOTH
@pytest.mark.parametrize("chunk", [4096, 8, 20])  # of 60 columns: none and a rest, some and a rest, no rest
@pytest.mark.parametrize(("experts", "height", "width"), [(3, 4, 5), (1, 6, 10), (4, 3, 5)])
def test_fused_head_is_the_plain_one(sees_rays, chunk, experts, height, width, monkeypatch):
    monkeypatch.setattr(head_fused, "_CHUNK", chunk)
    plain, fused, features, rays = case(sees_rays, experts=experts, height=height, width=width)
    learned = [*features, *plain.parameters()]
    assert_same(lambda: plain(features, rays), lambda: fused(features, rays), learned, atol=1e-13)  # seen: 5e-16


@BOTH
def test_fused_head_is_the_plain_one_in_single_precision(sees_rays):
    plain, fused, features, rays = case(sees_rays, experts=4, height=45, width=61)
    plain.float()
    maps, rays = [values.detach().float().requires_grad_() for values in features], rays.float()
    learned = [*maps, *plain.parameters()]
    assert_same(lambda: plain(maps, rays), lambda: fused(maps, rays), learned, atol=2e-6)  # seen: 4e-7


@BOTH
def test_gradients_of_the_fused_head_are_differences(sees_rays):
    _, head, features, rays = case(sees_rays, height=2)
    names = [name for name, _ in head.named_parameters()]

    def logits(*tensors: torch.Tensor) -> torch.Tensor:
        given = dict(zip(names, tensors, strict=False))
        return torch.func.functional_call(head, given, (tensors[len(names) :], rays))

    assert torch.autograd.gradcheck(logits, (*head.parameters(), *features))


@pytest.mark.parametrize("inputs", [8, 2])
def test_gradients_of_all_weights_come_out_of_one_product_too(inputs):
    sent, seen = torch.randn(10, 60, dtype=torch.float64), torch.randn(9 + inputs, 60, dtype=torch.float64)
    layers = [1, 3, 6], [3, 6, inputs]
    one_by_one, together = (
        function(sent, seen, *layers) for function in (head_fused._of_weights, head_fused._of_weights_together)
    )
    for a, b in zip(one_by_one, together, strict=True):
        torch.testing.assert_close(a, b, atol=1e-13, rtol=0)
