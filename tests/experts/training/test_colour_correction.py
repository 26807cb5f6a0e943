"""The correction of cameras' colours."""

from __future__ import annotations

from copy import deepcopy

import torch

from experts.training.colour_correction import ColourCorrection


def test_colour_correction_learns_a_cameras_colours_and_stays_near_the_identity():
    torch.manual_seed(0)
    correction = ColourCorrection(3, rate=1e-2)
    image = torch.rand(3, 8, 8)
    assert torch.equal(correction(image, 1), image)
    gains = torch.tensor([1.1, 1.0, 0.9])
    for step in range(300):
        for view, sign in ((0, 1.0), (1, -1.0)):
            target = image * (1 + sign * (gains[:, None, None] - 1))
            (correction(image, view) - target).abs().mean().backward()
        correction.regulariser().backward()
        correction.step(step / 300)
    assert (correction(image, 0) - image * gains[:, None, None]).abs().mean() < 0.01
    assert correction.matrices.detach().mean(0).abs().max() < 1e-6  # the rig's mean stays where it was
    assert (correction(image, 2) - image).abs().max() < 0.01


def test_what_all_cameras_have_in_common_is_left_to_the_model():
    correction = ColourCorrection(3, rate=1e-2)
    image = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0))
    for step in range(50):
        for view in range(3):
            (correction(image, view) - 1.2 * image - 0.1).abs().mean().backward()
        correction.step(step / 50)
    for view in range(3):
        assert (correction(image, view) - image).abs().max() < 1e-6


def test_colour_correction_goes_on_from_its_state():
    one, other = ColourCorrection(2), ColourCorrection(2)
    image = torch.rand(3, 4, 4)

    def step(correction):
        correction(image, 0).square().mean().backward()
        correction.step(0.5)

    step(one)
    other.load(deepcopy(one.state()))
    step(one), step(other)
    assert torch.equal(one.matrices, other.matrices) and torch.equal(one.offsets, other.offsets)
