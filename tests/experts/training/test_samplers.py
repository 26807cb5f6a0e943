"""The order in which training sees its images."""

from __future__ import annotations

from collections import Counter
from copy import deepcopy

import pytest
import torch

from experts.training.samplers import SameMoment, ShuffledPass, samples_from_lists, samples_to_lists


def test_a_pass_shows_every_image_once_and_grows():
    sampler = ShuffledPass(views=3, frames=2, generator=torch.Generator().manual_seed(1), start=5)
    first = [sampler.next(i)[0] for i in range(6)]
    assert Counter((s.view, s.frame) for s in first) == Counter((v, f) for v in range(3) for f in (5, 6))
    sampler.frames = 4
    assert {sampler.next(i)[0].frame for i in range(12)} == {5, 6, 7, 8} and sampler.passes == 2


@pytest.mark.parametrize("kind", [ShuffledPass, SameMoment])
def test_samplers_go_on_from_their_state(kind):
    def new(seed):
        return kind(views=4, frames=5, generator=torch.Generator().manual_seed(seed), batch=2)

    one, other = new(3), new(9)
    for i in range(7):
        one.next(i)
    other.load(deepcopy(one.state()))
    other._generator.set_state(one._generator.get_state())
    assert [one.next(i) for i in range(30)] == [other.next(i) for i in range(30)]


def test_one_moment_different_cameras():
    sampler = SameMoment(views=3, frames=50, generator=torch.Generator().manual_seed(1), batch=2)
    for i in range(50):
        a, b = sampler.next(i)
        assert a.frame == b.frame and a.view != b.view
    assert len(SameMoment(views=1, frames=5, generator=torch.Generator(), batch=2).next(0)) == 1
    assert samples_from_lists(samples_to_lists([(a, b)])) == [(a, b)]
