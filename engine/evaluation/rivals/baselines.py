"""Baselines of a mixture: blends whose weights are the same for every pixel."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from common import ranks
from common.maths.tensors import constant
from engine.errors import ConfigError
from scenes import ViewFrame

UNIFORM = "uniform_mean"  # the baselines' names among the scored methods
CONSTANT = "best_constant"
MOST_EXPERTS = 12  # the exact solver looks at every subset of experts
MOST_STEPS, SMALLEST_GAIN = 200, 1e-7  # of a search for the best constant weights; dB
ROUNDING_NOISE = 1 / 12 / 255**2  # variance of rounding to 8 bits, in squared units of [0, 1]
NO_ROUNDING_NOISE = 1e-10  # keeps the PSNR of equal images finite


@dataclass(frozen=True, slots=True, kw_only=True)
class ConstantWeights:
    """The best constant weights, and the evaluated frames that they were fitted on."""

    weights: tuple[float, ...]  # per expert
    fitted_on: tuple[ViewFrame, ...]
    evaluated: int  # number of all evaluated frames


def best_constants(pairs: Iterable[tuple[Tensor, Tensor]], *, noise: float) -> tuple[float, ...]:
    """Weights >= 0 with sum 1 that maximise the mean PSNR of `sum_e weight_e image_e` over (images, target) pairs.

    images [E, 3, h, w], target [3, h, w]. Only a matrix [E, E] per pair is kept, and a GPU is waited for once, after
    the last pair. Several ranks give a part of the pairs each, and get the same weights. noise: see `mean_psnr`. The
    mean PSNR is never below that of equal weights or of an expert alone; clamping and rounding of the blend are not
    modelled.
    """
    grams = residual_grams(pairs)
    if not len(grams):
        raise ValueError("best_constants needs at least one (images, target) pair")
    return tuple(float(weight) for weight in maximise_mean_psnr(grams, noise=noise))


def residual_grams(pairs: Iterable[tuple[Tensor, Tensor]]) -> np.ndarray:
    """`residual_gram` of (images, target) pairs, [F, E, E], those of all ranks' pairs one rank after the other."""
    own = [residual_gram(images, target) for images, target in pairs]
    parts: list[np.ndarray] = ranks.gathered(torch.stack(own).cpu().numpy() if own else np.zeros((0, 0, 0)))
    return np.concatenate([part for part in parts if len(part)] or parts)


def residual_gram(images: Tensor, target: Tensor) -> Tensor:
    """Products of the experts' errors, float64 [E, E] on the device of the images, mean over pixels and channels.

    The squared error of a blend whose weights w have the sum 1 is w' gram w.
    """
    residuals = (images - target).flatten(1).double()
    return residuals @ residuals.T / target.numel()


def mean_psnr(grams: np.ndarray, weights: np.ndarray, *, noise: float) -> float:
    """Mean PSNR in dB of constant weights [E] over frames, from the frames' residual Gram matrices [F, E, E].

    noise: squared error that is added to each frame's, above 0; ROUNDING_NOISE for images rounded to 8 bits.
    """
    errors = np.einsum("i,fij,j->f", weights, grams, weights) + noise
    return float(np.mean(-10 * np.log10(errors)))


def maximise_mean_psnr(grams: np.ndarray, *, noise: float) -> np.ndarray:
    """Weights [E] of the highest `mean_psnr`, of several searches on the simplex.

    The searches begin at equal weights, at each expert alone, and at the least squares of all frames. The function has
    local maxima, so a better solution is possible.
    """
    experts = grams.shape[1]
    starts = [np.full(experts, 1 / experts), *np.eye(experts), _least_error(grams.mean(axis=0))]
    ends = [_climb(grams, start, noise) for start in starts]
    return max(ends, key=lambda weights: mean_psnr(grams, weights, noise=noise))


def _climb(grams: np.ndarray, weights: np.ndarray, noise: float) -> np.ndarray:
    """Raises the mean PSNR until it rises no more.

    The logarithm is concave, so its tangent bounds each frame's log error from above. The bound of all frames is a
    least-squares problem whose frames weigh 1 / error (majorise-minimise: Hunter and Lange 2004). No step lowers the
    PSNR.
    """
    value = mean_psnr(grams, weights, noise=noise)
    for _ in range(MOST_STEPS):
        errors = np.einsum("i,fij,j->f", weights, grams, weights) + noise
        moved = _least_error(np.tensordot(1 / errors, grams, axes=1))
        reached = mean_psnr(grams, moved, noise=noise)
        if reached <= value + SMALLEST_GAIN:
            return moved if reached > value else weights
        weights, value = moved, reached
    return weights


def _least_error(gram: np.ndarray) -> np.ndarray:
    scale = np.trace(gram) or 1.0  # the linear systems have ones beside it
    return least_squares_on_simplex(gram / scale, np.zeros(len(gram)))


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
    return torch.einsum("e,echw->chw", constant(weights, images.dtype, images.device), images)
