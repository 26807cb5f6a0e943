from __future__ import annotations

import pytest
import torch
from moegs_rasterizer import Layer, rasterize

from experts import EXPERTS
from losses import photometric
from router import ENSEMBLES, Router, folder_flags, mix, mixing
from tests.small_world import FRAMES, GAUSSIANS, CloudExpert, camera, small_experts


def make_router(experts, **options) -> Router:
    torch.manual_seed(1)
    router = Router([e.name for e in experts], [e.num_gaussians for e in experts], **options)
    with torch.no_grad():
        for table in (*router.features.static, *router.features.temporal):
            table.add_(0.3 * torch.randn_like(table))
    return router


def render(router, experts, **options):
    options = {"frame": 1, "time": 0.25, "temperature": 0.1, "backend": "torch"} | options
    return mix(router, experts, camera(0), **options)


def test_a_mixture_blends_the_experts_own_images():
    experts = small_experts()
    mixture = render(make_router(experts), experts)
    for expert, image in zip(experts, mixture.images, strict=True):
        layer = Layer(gaussians=expert.at(1), settings=expert.settings, background=torch.ones(3))
        assert torch.allclose(rasterize([layer], camera(0), backend="torch")[0].colour, image, atol=1e-6)
    assert mixture.gates.shape == (3, 16, 24)
    assert torch.allclose((mixture.gates[:, None] * mixture.images).sum(0), mixture.image, atol=1e-6)


def test_permuting_experts_permutes_gates_and_keeps_the_image():
    experts = small_experts()
    router = make_router(experts)
    order = [2, 0, 1]
    permuted = Router([experts[i].name for i in order], [experts[i].num_gaussians for i in order])
    permuted.head.load_state_dict(router.head.state_dict())
    with torch.no_grad():
        for place, index in enumerate(order):
            permuted.features.static[place].copy_(router.features.static[index])
            permuted.features.temporal[place].copy_(router.features.temporal[index])
    one, other = render(router, experts), render(permuted, [experts[i] for i in order])
    assert torch.allclose(other.gates, one.gates[order], atol=1e-5)
    assert torch.allclose(other.image, one.image, atol=1e-5)


def test_identical_experts_give_their_own_image():
    experts = [CloudExpert("A", 3), CloudExpert("B", 3)]
    mixture = render(make_router(experts), experts)
    assert torch.allclose(mixture.image, mixture.images[0], atol=1e-6)


def test_only_the_living_segments_rows_get_gradients():
    experts = small_experts()
    router = make_router(experts)
    render(router, experts, frame=FRAMES - 1, grad="features").image.sum().backward()
    gradient = router.features.static[1].grad
    assert (gradient[:GAUSSIANS] == 0).all()
    assert (gradient[GAUSSIANS:] != 0).any()


def test_gradients_reach_the_router_and_nothing_else():
    experts = [CloudExpert("A", 1), CloudExpert("B", 2)]
    router = make_router(experts)
    render(router, experts, grad="features").image.sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in router.parameters())
    assert all(p.grad is None for expert in experts for p in expert.parameters())
    assert not render(router, experts).image.requires_grad


def test_gradients_equal_finite_differences():
    """Float64 on the torch back-end; all parameters, along random directions."""
    experts = [CloudExpert("A", 1).double(), CloudExpert("B", 2).double()]
    router = make_router(experts).double()
    target = torch.rand(3, 16, 24, dtype=torch.float64)

    def loss() -> torch.Tensor:
        return photometric(render(router, experts, grad="features").image, target, l1=0.8, dssim=0.2)

    loss().backward()
    generator = torch.Generator().manual_seed(0)
    for parameter in router.parameters():
        direction = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        with torch.no_grad():
            parameter.add_(1e-6 * direction)
            ahead = loss().item()
            parameter.sub_(2e-6 * direction)
            slope = (ahead - loss().item()) / 2e-6
            parameter.add_(1e-6 * direction)
        assert (parameter.grad * direction).sum().item() == pytest.approx(slope, rel=1e-4, abs=1e-9)


def test_camera_numbers_and_tile_rules_are_passed_on(monkeypatch):
    experts = small_experts()
    router = make_router(experts)
    rules = []

    def recorded(layers, *arguments, **options):
        rules.append([layer.settings.tile_rule for layer in layers])
        return rasterize(layers, *arguments, **options)

    monkeypatch.setattr(mixing, "rasterize", recorded)
    plain, numbered = render(router, experts), render(router, experts, camera_number=7)
    assert [expert.cameras[-2:] for expert in experts] == [[None, 7]] * 3
    assert not torch.equal(plain.image, numbered.image)
    render(router, experts, tile_rule="inria")
    assert rules == [[expert.settings.tile_rule for expert in experts]] * 2 + [["inria"] * 3]


def test_eval_temperature_defaults_to_the_training_one():
    assert Router(["A"], [1], temperature=0.2, eval_temperature=None).eval_temperature == 0.2
    assert Router(["A"], [1], temperature=0.2, eval_temperature=1.0).eval_temperature == 1.0


def test_ensembles_are_upstreams_in_its_softmax_order():
    assert {name: ENSEMBLES[name].experts for name in ("E4", "E3", "E3_tech")} == {
        "E4": ("Ex4DGS", "E-D3DGS", "STG", "4DGaussians"),
        "E3": ("Ex4DGS", "E-D3DGS", "4DGaussians"),
        "E3_tech": ("Ex4DGS", "E-D3DGS", "STG"),
    }


def test_flags_are_upstreams():
    flags = {"Ex4DGS": "model_path", "E-D3DGS": "emb_path", "STG": "stg_path", "4DGaussians": "fgaussian_path"}
    assert {name: EXPERTS[name].flag for name in flags} == flags
    for ensemble in ENSEMBLES.values():
        assert folder_flags(ensemble) == {name: EXPERTS[name].flag for name in ensemble.experts}
