"""Vectors of length 1: the fused version against the plain one, torch's normalize and differences."""

import pytest
import torch
from torch.autograd import gradcheck
from torch.nn.functional import normalize

from common.maths.vectors import plain_unit, unit
from tests.plain_and_fused import assert_same


def test_values_and_gradients_are_those_of_normalize():
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(2, 50, 4, generator=generator) * torch.logspace(-6, 3, 50)[:, None]
    vectors[0, :3] = 0
    weights = torch.randn(2, 50, 4, generator=generator)
    found = []
    for function in (unit, lambda values: normalize(values, dim=-1)):
        given = vectors.clone().requires_grad_()
        result = function(given)
        (result * weights).sum().backward()
        found.append((result.detach(), given.grad))
    for ours, theirs in zip(*found, strict=True):
        assert theirs.abs().max() > 0
        scales = theirs.abs().amax(-1, keepdim=True)
        torch.testing.assert_close(ours / scales.clamp(min=1e-30), theirs / scales.clamp(min=1e-30), atol=2e-6, rtol=0)


def test_gradients_are_differences():
    vectors = torch.randn(7, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1), requires_grad=True)
    assert gradcheck(unit, (vectors,))


@pytest.mark.parametrize("size", [(1, 3), (7, 4), (2, 5, 4)])
def test_fused_unit_is_the_plain_one(size):
    vectors = torch.randn(size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    vectors.requires_grad_()
    assert_same(lambda: plain_unit(vectors), lambda: unit(vectors), [vectors], atol=1e-14)
