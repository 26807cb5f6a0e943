from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.evaluation.rivals.baselines import UNIFORM
from engine.evaluation.rivals.oracles import ORACLE_FRAME, ORACLE_PIXEL, ORACLE_WINDOW, gap_share, oracle_images


def squared_error(image: torch.Tensor, truth: torch.Tensor) -> float:
    return float((image.double() - truth.double()).square().mean())


def test_each_oracle_takes_the_expert_that_it_should():
    """Expert 0 is right in the left half and has single wrong pixels there; expert 1 is right in the right half."""
    truth = torch.zeros(3, 30, 60)
    left, right = truth.clone(), truth.clone()
    left[:, :, 30:] = 0.3
    right[:, :, :30] = 0.2  # the smaller error: best of the frame
    left[:, 15, 8] = 0.5  # noise that only the pixels' oracle follows
    images = torch.stack([left, right])
    oracles = oracle_images(images, images, truth)
    assert torch.equal(oracles[ORACLE_FRAME], right)
    expected = truth.clone()
    expected[:, 15, 8] = 0.2
    assert torch.equal(oracles[ORACLE_PIXEL], expected)
    assert float(oracles[ORACLE_WINDOW][0, 15, 8]) == 0.5
    assert torch.equal(oracles[ORACLE_WINDOW][:, :, :20], left[:, :, :20])
    assert torch.equal(oracles[ORACLE_WINDOW][:, :, 40:], right[:, :, 40:])


def windowed_choice(errors: np.ndarray) -> np.ndarray:
    """The expert of the least mean error in 15x15 pixels, one pixel at a time."""
    _, height, width = errors.shape
    choice = np.empty((height, width), dtype=int)
    for y in range(height):
        for x in range(width):
            window = errors[:, max(0, y - 7) : y + 8, max(0, x - 7) : x + 8]
            choice[y, x] = window.mean(axis=(1, 2)).argmin()
    return choice


def test_windows_are_those_of_a_direct_search():
    generator = torch.Generator().manual_seed(3)
    images, truth = torch.rand(4, 3, 21, 18, generator=generator), torch.rand(3, 21, 18, generator=generator)
    choice = windowed_choice((images - truth).square().sum(dim=1).double().numpy())
    expected = np.take_along_axis(images.numpy(), choice[None, None].repeat(3, axis=1), axis=0)[0]
    assert np.array_equal(oracle_images(images, images, truth)[ORACLE_WINDOW].numpy(), expected)


@pytest.mark.parametrize("seed", range(10))
def test_the_choice_per_pixel_is_never_worse_than_another_choice(seed):
    generator = torch.Generator().manual_seed(seed)
    truth = torch.rand(3, 40, 33, generator=generator)
    images = (
        truth + torch.randn(3, 3, 40, 33, generator=generator) * torch.tensor([0.1, 0.11, 0.2])[:, None, None, None]
    )
    errors = {name: squared_error(image, truth) for name, image in oracle_images(images, images, truth).items()}
    experts = [squared_error(image, truth) for image in images]
    assert errors[ORACLE_PIXEL] < min(errors[ORACLE_WINDOW], errors[ORACLE_FRAME])
    assert errors[ORACLE_FRAME] == min(experts)


def test_the_images_that_the_protocol_scores_decide():
    truth = torch.ones(3, 16, 16)
    images = torch.stack([truth + 0.3, truth - 0.1])  # clamped, the first is right
    oracles = oracle_images(images, images.clamp(0, 1), truth)
    assert all(torch.equal(image, images[0]) for image in oracles.values())


def test_the_share_of_the_gap():
    psnr = {UNIFORM: 24.0, ORACLE_WINDOW: 26.0, "MoE": 25.5}
    assert gap_share(psnr, "MoE") == pytest.approx(0.75)
    assert gap_share(psnr | {"MoE": 23.0}, "MoE") == pytest.approx(-0.5)
    assert gap_share(psnr | {ORACLE_WINDOW: 24.0}, "MoE") is None
    assert gap_share(psnr | {ORACLE_WINDOW: float("inf")}, "MoE") is None
    assert gap_share({UNIFORM: 24.0, "MoE": 25.5}, "MoE") is None
