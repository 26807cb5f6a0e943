from __future__ import annotations

import functools
import itertools

import av
import numpy as np
import pytest
import torch

from engine.errors import ConfigError
from engine.evaluation.measures.psnr import psnr
from engine.evaluation.rivals.baselines import (
    NO_ROUNDING_NOISE,
    ROUNDING_NOISE,
    best_constants,
    constant_blend,
    least_squares_on_simplex,
    maximise_mean_psnr,
    mean_psnr,
    residual_gram,
)


def fitted(pairs: list[tuple[torch.Tensor, torch.Tensor]]) -> tuple[float, ...]:
    return best_constants(pairs, noise=ROUNDING_NOISE)


@functools.cache
def grid(experts: int, steps: int) -> np.ndarray:
    """Every point of the simplex with coordinates in multiples of 1 / steps."""
    points = [p for p in itertools.product(range(steps + 1), repeat=experts) if sum(p) == steps]
    return np.array(points) / steps


def value(gram: np.ndarray, moment: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return np.einsum("...i,ij,...j->...", weights, gram, weights) - 2 * weights @ moment


@pytest.mark.parametrize("seed", range(30))
def test_solver_is_as_good_as_a_fine_grid(seed):
    rng = np.random.default_rng(seed)
    experts = int(rng.integers(1, 5))
    images = rng.random((experts, 40))
    target = rng.random(40) if seed % 2 else rng.dirichlet(np.ones(experts)) @ images
    gram, moment = images @ images.T, images @ target
    weights = least_squares_on_simplex(gram, moment)
    assert weights.min() >= 0
    assert weights.sum() == pytest.approx(1, abs=1e-9)
    brute = value(gram, moment, grid(experts, 40)).min()
    assert value(gram, moment, weights) <= brute + 1e-9
    assert value(gram, moment, weights) >= brute - 0.05  # the grid is this coarse


def test_known_answers():
    black, white = torch.zeros(3, 8, 8), torch.ones(3, 8, 8)
    images = torch.stack([black, white])
    assert fitted([(images, torch.full((3, 8, 8), 0.25))]) == pytest.approx((0.75, 0.25))
    assert fitted([(images, torch.full((3, 8, 8), 2.0))]) == pytest.approx((0.0, 1.0))  # held to the simplex


def test_the_mean_psnr_counts_and_not_the_squared_error_of_all_frames():
    """Three frames want 0.2 and one wants 1: the least squares are 0.4, the best mean PSNR is near 0.2."""
    images = torch.stack([torch.zeros(3, 8, 8), torch.ones(3, 8, 8)])
    pairs = [(images, torch.full((3, 8, 8), level)) for level in (0.2, 0.2, 0.2, 1.0)]
    weights = fitted(pairs)
    assert weights[1] == pytest.approx(0.2, abs=1e-4)
    grams = np.stack([residual_gram(*pair).numpy() for pair in pairs])
    least_squares = np.array([0.6, 0.4])
    assert least_squares_on_simplex(grams.mean(axis=0), np.zeros(2)) == pytest.approx(least_squares)
    better = mean_psnr(grams, np.array(weights), noise=ROUNDING_NOISE)
    assert better > mean_psnr(grams, least_squares, noise=ROUNDING_NOISE) + 10


@pytest.mark.parametrize("seed", range(40))
def test_the_fit_is_as_good_as_a_fine_grid_and_never_below_simple_weights(seed):
    """Random experts with errors that frames share or not, of very different size per frame."""
    rng = np.random.default_rng(seed)
    experts, frames = int(rng.integers(2, 5)), int(rng.integers(1, 9))
    scale = 10 ** rng.uniform(-3, -0.5, (frames, 1, 1))
    residuals = scale * (rng.normal(size=(frames, experts, 60)) + seed % 3 * rng.normal(size=(frames, 1, 60)))
    grams = np.einsum("fip,fjp->fij", residuals, residuals) / 60
    weights = maximise_mean_psnr(grams, noise=ROUNDING_NOISE)
    assert weights.min() >= 0
    assert weights.sum() == pytest.approx(1, abs=1e-9)
    reached = mean_psnr(grams, weights, noise=ROUNDING_NOISE)
    simple = [np.full(experts, 1 / experts), *np.eye(experts)]
    assert reached >= max(mean_psnr(grams, point, noise=ROUNDING_NOISE) for point in simple)
    best = max(mean_psnr(grams, point, noise=ROUNDING_NOISE) for point in grid(experts, 20))
    assert reached >= best - 0.01


def test_the_gram_matrix_gives_the_psnr_of_the_blend():
    generator = torch.Generator().manual_seed(0)
    images, target = torch.rand(3, 3, 9, 11, generator=generator), torch.rand(3, 9, 11, generator=generator)
    weights = (0.5, 0.2, 0.3)
    grams = residual_gram(images, target).numpy()[None]
    expected = psnr(constant_blend(images, weights), target)
    assert mean_psnr(grams, np.array(weights), noise=1e-15) == pytest.approx(expected, abs=1e-4)


def test_identical_experts_are_no_problem():
    image = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0))
    weights = fitted([(torch.stack([image] * 3), image)])
    assert sum(weights) == pytest.approx(1)
    assert min(weights) >= 0
    assert torch.allclose(constant_blend(torch.stack([image] * 3), weights), image, atol=1e-6)


def test_unusable_input():
    with pytest.raises(ValueError, match="at least one"):
        fitted([])
    with pytest.raises(ConfigError, match="at most 12"):
        least_squares_on_simplex(np.eye(13), np.ones(13))


def test_best_constants_of_real_renders_beat_every_expert_and_the_mean(shared):
    folder = shared("data/coffee_martini_cam00")

    def first(name: str) -> torch.Tensor:
        with av.open(str(folder / f"{name}.mp4")) as container:
            frame = next(container.decode(video=0)).to_ndarray(format="rgb24")
        return torch.from_numpy(frame).permute(2, 0, 1).float() / 255

    images, truth = torch.stack([first("reference_4dgs"), first("aggressive")]), first("gt_reference")
    weights = best_constants([(images, truth)], noise=NO_ROUNDING_NOISE)
    best = psnr(constant_blend(images, weights), truth)
    assert best >= max(psnr(images[0], truth), psnr(images[1], truth), psnr(images.mean(dim=0), truth)) - 1e-6
    nudged = [constant_blend(images, (weights[0] + step, weights[1] - step)) for step in (-0.02, 0.02)]
    assert all(psnr(image, truth) < best for image in nudged if 0 < weights[0] < 1)
