"""The photometric loss, of one image (stage 2) and of several (stage 1)."""

from __future__ import annotations

import pytest
import torch

from losses import photometric, photometric_sum, ssim


def images(*heights: int, dtype: torch.dtype = torch.float32) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Images that learn, and their targets."""
    generator = torch.Generator().manual_seed(0)
    ours, theirs = (
        [torch.rand(3, height, 12, generator=generator, dtype=dtype) for height in heights] for _ in range(2)
    )
    return [image.requires_grad_() for image in ours], theirs


def test_gradients_are_differences():
    (image,), (target,) = images(7, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: photometric(x, target, l1=0.8, dssim=0.2), image)


@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
def test_stage_2_mixes_l1_and_dissimilarity_to_the_bit(share):
    (image,), (target,) = images(9)
    loss = photometric(image, target, l1=1 - share, dssim=share)
    assert torch.equal(loss, (1 - share) * (image - target).abs().mean() + share * (1 - ssim(image, target)))


def test_equal_images_cost_nothing():
    image = torch.rand(3, 9, 9)
    assert photometric(image, image, l1=0.8, dssim=0.2).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("heights", [(9,), (9, 9), (9, 6, 9), (9, 6, 7, 6)])
@pytest.mark.parametrize(("l1", "dssim"), [(0.8, 0.2), (1.0, 0.0), (0.3, 1.1)])
def test_a_sum_over_images_counts_each_whatever_its_size(heights, l1, dssim):
    ours, theirs = images(*heights, dtype=torch.float64)
    together = photometric_sum(ours, theirs, l1=l1, dssim=dssim)
    alone = torch.stack([photometric(a, b, l1=l1, dssim=dssim) for a, b in zip(ours, theirs, strict=True)]).sum()
    torch.testing.assert_close(together, alone, atol=1e-13, rtol=0)
    gradients = (torch.autograd.grad(loss, ours) for loss in (together, alone))
    for a, b in zip(*gradients, strict=True):
        assert b.abs().max() > 0
        torch.testing.assert_close(a, b, atol=1e-13, rtol=0)


def test_a_sum_adds_group_by_group_l1_first_to_the_bit():
    """So that a training gives the same bits as ever."""
    ours, theirs = images(9, 6, 9)
    tall, low = (torch.stack([both[0], both[2]]) for both in (ours, theirs)), (ours[1][None], theirs[1][None])
    expected = None
    for count, (image, target) in ((2, tall), (1, low)):
        l1 = 0.7 * count * (image - target).abs().mean()
        expected = l1 if expected is None else expected + l1
        expected = expected + 0.31 * count * (1 - ssim(image, target))
    assert torch.equal(photometric_sum(ours, theirs, l1=0.7, dssim=0.31), expected)
