"""Baselines of a mixture: blends whose weights are the same for every pixel."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from engine.errors import ConfigError

UNIFORM = "uniform_mean"  # the baselines' names among the scored methods
CONSTANT = "best_constant"
MOST_EXPERTS = 12  # the exact solver looks at every subset of experts


@dataclass(frozen=True, slots=True, kw_only=True)
class ConstantWeights:
    """The best constant weights, and the number of evaluated frames that they were fitted on."""

    weights: tuple[float, ...]  # per expert
    frames: int


def best_constants(pairs: Iterable[tuple[Tensor, Tensor]]) -> tuple[float, ...]:
    """Weights >= 0 with sum 1 that minimise the squared error of `sum_e weight_e image_e` over (images, target) pairs.

    images [E, 3, h, w], target [3, h, w]. Only the experts' Gram matrix is kept, so memory does not grow with the
    pairs. Fitted on evaluated frames this is an upper bound (in squared error, on those frames) for any constant blend.
    """
    gram, moment, count = None, None, 0
    for images, target in pairs:
        flat, wanted = images.flatten(1).double(), target.flatten().double()
        step_gram, step_moment = (flat @ flat.T).cpu().numpy(), (flat @ wanted).cpu().numpy()
        gram = step_gram if gram is None else gram + step_gram
        moment = step_moment if moment is None else moment + step_moment
        count += wanted.numel()
    if gram is None or moment is None:
        raise ValueError("best_constants needs at least one (images, target) pair")
    return tuple(float(weight) for weight in least_squares_on_simplex(gram / count, moment / count))


def least_squares_on_simplex(gram: np.ndarray, moment: np.ndarray) -> np.ndarray:
    """Exact minimiser of w' gram w - 2 w' moment over w >= 0, sum w = 1.

    gram [E, E] positive semi-definite, moment [E] in its range. Every support is tried: on one, the minimiser with
    sum 1 solves a linear system (Karush-Kuhn-Tucker); the best feasible one is the answer.
    """
    experts = len(moment)
    if experts > MOST_EXPERTS:
        raise ConfigError(
            f"best constant weights for {experts} experts: at most {MOST_EXPERTS}; use --constant_frames 0"
        )
    best, best_value = np.full(experts, 1 / experts), np.inf
    for size in range(1, experts + 1):
        for support in combinations(range(experts), size):
            weights = _stationary(gram, moment, list(support))
            value = weights @ gram @ weights - 2 * weights @ moment
            if weights.min() >= 0 and value < best_value:
                best, best_value = weights, value
    return best


def _stationary(gram: np.ndarray, moment: np.ndarray, support: list[int]) -> np.ndarray:
    size = len(support)
    system = np.ones((size + 1, size + 1))
    system[:size, :size] = gram[np.ix_(support, support)]
    system[size, size] = 0
    solution = np.linalg.lstsq(system, np.append(moment[support], 1.0), rcond=None)[0]
    weights = np.zeros(len(moment))
    weights[support] = solution[:size]
    return weights


def constant_blend(images: Tensor, weights: tuple[float, ...]) -> Tensor:
    """`sum_e weight_e image_e`: [3, h, w] from images [E, 3, h, w]."""
    return torch.einsum("e,echw->chw", images.new_tensor(weights), images)
