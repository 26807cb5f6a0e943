from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from router import RouterHead, RoutingFeatures, head


def test_features_start_as_in_the_released_code_and_scale_only_the_third_with_time():
    features = RoutingFeatures([4, 2], init=0.7)
    assert torch.equal(features(0, slice(0, 4), 0.5), torch.tensor([0.7, 0.7, 0.0]).expand(4, 3))
    with torch.no_grad():
        features.temporal[1].copy_(torch.tensor([[2.0], [-4.0]]))
        features.static[1].copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    assert features(1, slice(1, 2), 0.25).tolist() == [[3.0, 4.0, -1.0]]


@pytest.mark.parametrize(("kind", "inputs", "weights"), [("sandwichlite", 8, 69), ("sandwichpixel", 2, 33)])
def test_head_has_the_published_shapes(kind, inputs, weights):
    head = RouterHead(kind)
    shapes = {name: tuple(value.shape) for name, value in head.state_dict().items()}
    assert shapes == {"mlp1.weight": (6, inputs, 1, 1), "mlp2.weight": (3, 6, 1, 1), "mlp3.weight": (1, 3, 1, 1)}
    assert sum(value.numel() for value in head.state_dict().values()) == weights


def plain(head: RouterHead, features: torch.Tensor, rays: torch.Tensor) -> torch.Tensor:
    """The head in the words of its docstring, differentiated by autograd."""
    seen = features[:, 1:]
    if head.kind == "sandwichlite":
        seen = torch.cat([seen, rays.expand(len(features), *rays.shape)], dim=1)
    hidden = F.conv2d(F.conv2d(seen, head.mlp1.weight).relu(), head.mlp2.weight).relu()
    return features[:, 0] + F.conv2d(hidden, head.mlp3.weight)[:, 0]


def case(kind: str, *, height: int = 4) -> tuple[RouterHead, torch.Tensor, torch.Tensor]:
    """A head, features of three experts and rays, float64; 60 columns for every 4 rows."""
    torch.manual_seed(0)
    features, rays = torch.randn(3, 3, height, 5).double(), torch.randn(6, height, 5).double()
    return RouterHead(kind).double(), features.requires_grad_(), rays


@pytest.mark.parametrize("kind", ["sandwichlite", "sandwichpixel"])
@pytest.mark.parametrize("chunk", [4096, 8, 20])  # of 60 columns: none and a rest, some and a rest, no rest
def test_head_is_two_relu_layers_of_1x1_convolutions_beside_the_base(kind, chunk, monkeypatch):
    monkeypatch.setattr(head, "_CHUNK", chunk)
    router_head, features, rays = case(kind)
    logits, expected = router_head(features, rays), plain(router_head, features, rays)
    torch.testing.assert_close(logits, expected, atol=1e-14, rtol=0)
    gradient, learned = torch.randn_like(expected), [features, *router_head.parameters()]
    wanted = torch.autograd.grad(expected, learned, gradient)
    found = torch.autograd.grad(logits, learned, gradient)
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, atol=1e-13, rtol=0)  # seen: 2e-15


@pytest.mark.parametrize("kind", ["sandwichlite", "sandwichpixel"])
def test_gradients_of_the_head_are_differences(kind):
    router_head, features, rays = case(kind, height=2)
    names = [name for name, _ in router_head.named_parameters()]

    def logits(*tensors: torch.Tensor) -> torch.Tensor:
        given = dict(zip(names, tensors, strict=False))
        return torch.func.functional_call(router_head, given, (tensors[len(names) :], rays))

    assert torch.autograd.gradcheck(logits, (*router_head.parameters(), *features.detach().clone().requires_grad_()))


@pytest.mark.parametrize("inputs", [8, 2])
def test_gradients_of_all_weights_come_out_of_one_product_too(inputs):
    sent, seen = torch.randn(10, 60, dtype=torch.float64), torch.randn(9 + inputs, 60, dtype=torch.float64)
    layers = [1, 3, 6], [3, 6, inputs]
    for a, b in zip(head._of_weights(sent, seen, *layers), head._of_weights_together(sent, seen, *layers), strict=True):
        torch.testing.assert_close(a, b, atol=1e-13, rtol=0)


def test_unknown_head_names_the_known_ones():
    with pytest.raises(ValueError, match="sandwichlite, sandwichpixel"):
        RouterHead("sandwich")
