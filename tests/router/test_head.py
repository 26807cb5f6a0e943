from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from router import RouterHead, RoutingFeatures


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


@pytest.mark.parametrize("kind", ["sandwichlite", "sandwichpixel"])
def test_head_is_two_relu_layers_of_1x1_convolutions_beside_the_base(kind):
    torch.manual_seed(0)
    head = RouterHead(kind)
    features, rays = torch.randn(3, 3, 4, 5), torch.randn(6, 4, 5)
    seen = features[:, 1:]
    if kind == "sandwichlite":
        seen = torch.cat([seen, rays.expand(3, 6, 4, 5)], dim=1)
    expected = F.conv2d(F.conv2d(seen, head.mlp1.weight).relu(), head.mlp2.weight).relu()
    expected = features[:, 0] + F.conv2d(expected, head.mlp3.weight)[:, 0]
    assert torch.allclose(head(features, rays), expected, atol=1e-6)


def test_unknown_head_names_the_known_ones():
    with pytest.raises(ValueError, match="sandwichlite, sandwichpixel"):
        RouterHead("sandwich")
