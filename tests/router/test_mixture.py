from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from router import blend, concentration

SEEDS, TEMPERATURES = st.integers(0, 10_000), st.floats(0.01, 10)


def random_mixture(seed: int, temperature: float, experts: int = 4):
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(experts, 3, 5, 6, generator=generator)
    logits = torch.randn(experts, 5, 6, generator=generator)
    return blend(images, logits, temperature=temperature)


@settings(max_examples=40, deadline=None)
@given(SEEDS, TEMPERATURES)
def test_gates_sum_to_one_and_the_blend_lies_between_the_experts(seed, temperature):
    mixture = random_mixture(seed, temperature)
    assert torch.allclose(mixture.gates.sum(0), torch.ones(5, 6), atol=1e-6)
    assert (mixture.gates >= 0).all()
    assert (mixture.image <= mixture.images.amax(0) + 1e-6).all()
    assert (mixture.image >= mixture.images.amin(0) - 1e-6).all()


@settings(max_examples=20, deadline=None)
@given(SEEDS, TEMPERATURES, st.permutations(range(4)))
def test_permuting_the_experts_permutes_the_gates(seed, temperature, order):
    mixture = random_mixture(seed, temperature)
    permuted = blend(mixture.images[order], mixture.logits[order], temperature=temperature)
    assert torch.allclose(permuted.gates, mixture.gates[order], atol=1e-6)
    assert torch.allclose(permuted.image, mixture.image, atol=1e-6)


def test_identical_experts_give_their_image_whatever_the_gates():
    image = torch.rand(3, 5, 6)
    mixture = blend(image.expand(4, 3, 5, 6), torch.randn(4, 5, 6), temperature=0.01)
    assert torch.allclose(mixture.image, image, atol=1e-6)


def test_the_best_logit_wins_at_low_temperature_and_huge_logits_stay_finite():
    images = torch.rand(2, 3, 1, 1)
    sure = blend(images, torch.tensor([0.4, 0.6]).reshape(2, 1, 1), temperature=0.01)
    assert torch.allclose(sure.image, images[1], atol=1e-6)
    extreme = blend(images, torch.tensor([3e4, -3e4]).reshape(2, 1, 1), temperature=0.01)
    assert torch.equal(extreme.image, images[0])


def test_concentration_goes_from_equal_gates_to_one_expert():
    equal, half = torch.full((4, 5, 6), 0.25), torch.zeros(4, 5, 6)
    half[:2] = 0.5
    one = torch.eye(4)[torch.randint(4, (5, 6), generator=torch.Generator().manual_seed(0))].permute(2, 0, 1)
    values = [concentration(gates).item() for gates in (equal, half, one)]
    assert values == pytest.approx([0, 1 / 3, 1], abs=1e-6)


def test_concentration_has_the_gradient_of_the_mean_sum_of_squares():
    logits = torch.randn(3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1), requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: concentration(x.softmax(0)), logits)
    gates = logits.detach().softmax(0)
    squares = gates.square().sum(0).mean()
    torch.testing.assert_close(concentration(gates), (squares - 1 / 3) / (1 - 1 / 3))


def test_uniform_logits_give_the_mean():
    images = torch.rand(3, 3, 2, 2)
    assert torch.allclose(blend(images, torch.zeros(3, 2, 2), temperature=1.0).image, images.mean(0), atol=1e-6)
