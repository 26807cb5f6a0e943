"""The loss as a kernel: the numbers of the readable one, here on tensors of the CPU and, with a GPU, on it."""

from __future__ import annotations

import pytest
import torch

from losses import photometric_loss
from losses.photometric_cuda import has_loss_kernel, photometric_of_kernel
from losses.photometric_loss import l1_loss, photometric
from losses.structural_similarity import plain_ssim
from tests.kernels_on_cpu import kernels_on_cpu

SHAPES = pytest.mark.parametrize("shape", [(3, 45, 61), (3, 5, 3), (2, 3, 32, 64), (3, 1, 1), (1, 33, 32)])


def compared(shape: tuple[int, ...], where: str, *, l1: float = 0.8, dssim: float = 0.2) -> None:
    """Loss and gradient of the kernel beside those of the plain formulas in float64."""
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(shape, generator=generator)
    image = (target + 0.2 * torch.randn(shape, generator=generator)).clamp(0, 1)
    image[..., 2:4, :2] = target[..., 2:4, :2]  # where L1 has a corner
    exact = image.double().requires_grad_()
    expected = l1 * l1_loss(exact, target.double()) + dssim * (1 - plain_ssim(exact, target.double()))
    (2 * expected).backward()
    learned = image.to(where).requires_grad_()
    found = photometric_of_kernel(learned, target.to(where), l1=l1, dssim=dssim)
    (2 * found).backward()
    torch.testing.assert_close(found.cpu().double(), expected, atol=2e-6, rtol=0)
    largest = exact.grad.abs().max().item()
    torch.testing.assert_close(learned.grad.cpu().double(), exact.grad, atol=2e-5 * largest, rtol=0)


@SHAPES
@pytest.mark.usefixtures(kernels_on_cpu.__name__)
def test_the_kernel_has_the_numbers_of_the_plain_loss(shape):
    compared(shape, "cpu")


@pytest.mark.usefixtures(kernels_on_cpu.__name__)
def test_both_parts_have_their_weights():
    compared((3, 20, 40), "cpu", l1=1.0, dssim=0.0)
    compared((3, 20, 40), "cpu", l1=0.0, dssim=1.0)


@pytest.mark.usefixtures(kernels_on_cpu.__name__)
def test_images_that_nobody_learns_have_the_same_loss(monkeypatch):
    image, target = torch.rand(2, 3, 20, 40)
    alone = photometric_of_kernel(image, target, l1=0.8, dssim=0.2)
    learned = photometric_of_kernel(image.clone().requires_grad_(), target, l1=0.8, dssim=0.2)
    assert torch.equal(alone, learned.detach()) and not alone.requires_grad


@pytest.mark.usefixtures(kernels_on_cpu.__name__)
def test_the_loss_of_training_takes_the_kernel_where_it_can(monkeypatch):
    called = []

    def counted(*arguments, **weights):
        called.append(weights)
        return photometric_of_kernel(*arguments, **weights)

    monkeypatch.setattr(photometric_loss, "photometric_of_kernel", counted)
    image, target = torch.rand(2, 3, 20, 40)
    one = photometric(image, target, l1=0.8, dssim=0.2)
    assert called == [{"l1": 0.8, "dssim": 0.2}]
    other = photometric(image.double(), target.double(), l1=0.8, dssim=0.2)
    learned = photometric(image, target.clone().requires_grad_(), l1=0.8, dssim=0.2)
    assert len(called) == 1 and not has_loss_kernel(image, target[:1])
    torch.testing.assert_close(one.double(), other, atol=2e-6, rtol=0)
    torch.testing.assert_close(one, learned.detach(), atol=2e-6, rtol=0)


def test_the_cpu_has_no_kernel():
    image, target = torch.rand(2, 3, 8, 8)
    assert not has_loss_kernel(image, target)


@SHAPES
@pytest.mark.cuda
def test_a_gpu_has_the_numbers_of_the_plain_loss(shape):
    compared(shape, "cuda")
