from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from router import blend

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


def test_uniform_logits_give_the_mean():
    images = torch.rand(3, 3, 2, 2)
    assert torch.allclose(blend(images, torch.zeros(3, 2, 2), temperature=1.0).image, images.mean(0), atol=1e-6)
