"""Cues of errors in experts' images, and the layer that weighs them: values by hand, no change at the start."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from router import Router, blend, mix
from router.cues import CUES, DEVIATION, CueLayer, cues_of
from tests.small_world import camera, small_experts

SIZE = (24, 30)


def flat(*values: float) -> Tensor:
    """Maps [E, 24, 30] of one value each."""
    return torch.tensor(values, dtype=torch.float32)[:, None, None].expand(-1, *SIZE).clone()


def cue(name: str, images: Tensor, alphas: Tensor, depths: Tensor) -> Tensor:
    return cues_of(images, alphas, depths)[:, CUES.index(name)]


def grey(*values: float) -> Tensor:
    return flat(*values)[:, None].expand(-1, 3, -1, -1)


def test_a_deviation_is_from_the_mean_of_the_others():
    images, alphas, depths = grey(0.2, 0.5, 0.8), flat(1, 1, 1), flat(2, 2, 2)
    for name in ("deviation", "deviation around"):
        values = cue(name, images, alphas, depths)
        assert values[:, 12, 15] == pytest.approx(torch.tensor([0.45, 0.0, 0.45]) / DEVIATION, abs=1e-5)


def test_what_is_around_a_pixel_is_the_mean_of_the_window_and_of_what_there_is_at_the_edge():
    images = grey(0.5, 0.5).clone()
    images[0, :, 3, 4] = 1.0
    around = cue("deviation around", images, flat(1, 1), flat(2, 2))[0]
    whole = 0.5 / DEVIATION
    assert around[10, 11].item() == pytest.approx(whole / 225) and around[11, 11].item() == pytest.approx(0, abs=1e-6)
    assert around[0, 0].item() == pytest.approx(whole / 64)


def test_depth_is_compared_with_the_median_where_it_is_known():
    alphas = flat(1.0, 0.5, 1.0, 0.49)
    depths = flat(2.0, 0.5 * 4.0, 8.0, 0.49 * 0.1)  # expected depths 2, 4, 8 and, too transparent to count, 0.1
    images = grey(0.5, 0.5, 0.5, 0.5)
    near, far = (cue(name, images, alphas, depths)[:, 5, 5] for name in ("nearer", "farther"))
    assert near.tolist() == pytest.approx([math.log(2), 0, 0, 0], abs=1e-6)
    assert far.tolist() == pytest.approx([0, 0, math.log(2), 0], abs=1e-6)
    two = cue("nearer", images[:2], flat(1, 1), flat(1.0, 1000.0))[:, 5, 5]
    assert two.tolist() == [1, 0], "half of the log ratio is the distance to the median of two, and at most 1"
    assert cue("transparency", images, alphas, depths)[:, 0, 0].tolist() == pytest.approx([0, 0.5, 0, 0.51])


def test_sharpness_is_the_log_of_gradients_over_the_experts_mean():
    ramp = torch.arange(SIZE[1]) / 100  # a gradient of 0.01 along x
    images = torch.stack([(factor * ramp).expand(3, *SIZE) for factor in (1.0, 2.0)])
    values = cue("sharpness", images, flat(1, 1), flat(2, 2))[:, 12, 15]
    expected = [math.log(0.011 / 0.016), math.log(0.021 / 0.016)]
    assert values.tolist() == pytest.approx(expected, abs=1e-4)
    flat_areas = cue("sharpness", grey(0.1, 0.9), flat(1, 1), flat(2, 2))
    assert (flat_areas == 0).all()


def test_experts_that_agree_and_empty_ones_have_finite_cues():
    same = cues_of(grey(0.4, 0.4), flat(1, 1), flat(3, 3))
    assert (same == 0).all()
    assert cues_of(grey(0, 1, 1), flat(0, 0, 0), flat(0, 0, 0)).isfinite().all()


def test_the_layer_is_linear_and_gradients_reach_its_weights_alone():
    images = torch.rand(2, 3, *SIZE, requires_grad=True)
    cues = cues_of(images, flat(1, 1), flat(2, 3))
    assert not cues.requires_grad
    layer = CueLayer(2)
    with torch.no_grad():
        layer.weight.copy_(torch.arange(12.0).view(2, 6))
        layer.bias.copy_(torch.tensor([1.0, -2.0]))
    logits = layer(cues)
    by_hand = (layer.weight[:, :, None, None] * cues).sum(1) + layer.bias[:, None, None]
    assert torch.allclose(logits, by_hand, atol=1e-4)
    logits.sum().backward()
    assert torch.allclose(layer.weight.grad, cues.sum((2, 3)), rtol=1e-4)
    assert layer.bias.grad.tolist() == [SIZE[0] * SIZE[1]] * 2 and images.grad is None


@pytest.mark.parametrize("grad", ["none", "features"])
def test_an_untrained_layer_changes_no_bit(grad: str):
    experts = small_experts()
    names, counts = [e.name for e in experts], [e.num_gaussians for e in experts]
    mixtures = []
    for cues in (False, True):
        torch.manual_seed(1)
        router = Router(names, counts, cues=cues)
        mixtures.append(mix(router, experts, camera(0), frame=1, time=0.25, temperature=0.3, grad=grad))
    assert torch.equal(mixtures[0].image, mixtures[1].image) and torch.equal(mixtures[0].gates, mixtures[1].gates)


def test_cues_come_before_the_temperature():
    experts = small_experts()
    torch.manual_seed(1)
    router = Router([e.name for e in experts], [e.num_gaussians for e in experts], cues=True)
    with torch.no_grad():
        router.cues.bias.copy_(torch.tensor([1.0, 0.0, -1.0]))
    mixture = mix(router, experts, camera(0), frame=1, time=0.25, temperature=0.5)
    assert torch.allclose(mixture.gates, torch.softmax(mixture.logits / 0.5, dim=0), atol=1e-6)
    router.cues.bias.data.zero_()
    plain = mix(router, experts, camera(0), frame=1, time=0.25, temperature=0.5)
    added = mixture.logits - plain.logits
    assert torch.allclose(added, torch.tensor([1.0, 0.0, -1.0])[:, None, None].expand_as(added), atol=1e-5)


def with_floater(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Three experts of one truth; over a part of the first one's image lies a near blob of another colour."""
    generator = torch.Generator().manual_seed(seed)
    truth = 0.3 + 0.2 * torch.rand(3, *SIZE, generator=generator)
    images = truth + 0.02 * torch.randn(3, 3, *SIZE, generator=generator)
    top, left = (int(torch.randint(size - 8, (), generator=generator)) for size in SIZE)
    floater = torch.zeros(SIZE, dtype=torch.bool)
    floater[top : top + 8, left : left + 8] = True
    depths = flat(5.0, 5.2, 4.9)
    images[0, :, floater], depths[0, floater] = torch.rand(3, 1, generator=generator), 1.0
    return images, flat(1, 1, 1), depths, truth, floater


def test_a_floater_gets_a_smaller_gate_where_nobody_trained():
    layer = CueLayer(3)
    optimiser = torch.optim.RAdam(layer.parameters(), lr=0.2)
    for seed in range(400):
        images, alphas, depths, truth, _ = with_floater(seed)
        mixture = blend(images, layer(cues_of(images, alphas, depths)), temperature=1.0)
        optimiser.zero_grad()
        (mixture.image - truth).square().mean().backward()
        optimiser.step()
    found = []
    with torch.no_grad():
        for seed in range(1000, 1005):
            images, alphas, depths, truth, floater = with_floater(seed)
            gates = blend(images, layer(cues_of(images, alphas, depths)), temperature=1.0).gates[0]
            found.append([float(gates[floater].mean()), float(gates[~floater].mean())])
    there, elsewhere = torch.tensor(found).mean(dim=0).tolist()
    assert there < 0.1 and elsewhere > 0.3


@pytest.mark.cuda
def test_a_gpu_gives_the_same_cues():
    images, alphas, depths, _, _ = with_floater(7)
    here = cues_of(images, alphas, depths)
    assert torch.allclose(cues_of(images.cuda(), alphas.cuda(), depths.cuda()).cpu(), here, atol=1e-4)
