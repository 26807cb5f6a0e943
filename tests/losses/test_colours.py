"""Matching the colours of two images."""

from __future__ import annotations

import torch

from losses import matched_colours


def images(noise: float = 0.0):
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(3, 20, 30, generator=generator)
    matrix = torch.tensor([[1.1, 0.05, 0.0], [0.0, 0.9, 0.02], [-0.03, 0.0, 1.2]])
    target = torch.einsum("ij,jhw->ihw", matrix, image) + torch.tensor([0.02, -0.03, 0.0])[:, None, None]
    return image, target + noise * torch.randn(target.shape, generator=generator)


def test_an_affine_change_is_found():
    image, target = images()
    assert (image - target).abs().mean() > 0.03
    assert (matched_colours(image, target) - target).abs().max() < 5e-3  # seen: 1.7e-3, by the hold on the identity


def test_equal_images_stay_as_they_are():
    image, _ = images()
    assert torch.allclose(matched_colours(image, image), image, atol=1e-6)


def test_one_colour_decides_no_more_than_itself():
    image = torch.full((3, 8, 8), 0.5)
    matched = matched_colours(image, image + 0.1)
    assert torch.allclose(matched, image + 0.1, atol=1e-3)


def test_gradients_reach_the_image_as_if_the_change_were_given():
    image, target = images(noise=0.05)
    image.requires_grad_(True)
    matched_colours(image, target).sum().backward()
    # that of a channel is the sum of its column of the matrix, the same for every pixel
    assert torch.allclose(image.grad, image.grad[:, :1, :1].expand_as(image.grad))
    assert torch.allclose(image.grad[:, 0, 0], torch.tensor([1.07, 0.95, 1.22]), atol=0.05), image.grad[:, 0, 0]
