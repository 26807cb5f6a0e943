"""The inequality of gates."""

from __future__ import annotations

import pytest
import torch

from losses import concentration


def test_concentration_goes_from_equal_gates_to_one_expert():
    equal, half = torch.full((4, 5, 6), 0.25), torch.zeros(4, 5, 6)
    half[:2] = 0.5
    one = torch.eye(4)[torch.randint(4, (5, 6), generator=torch.Generator().manual_seed(0))].permute(2, 0, 1)
    values = [concentration(gates).item() for gates in (equal, half, one)]
    assert values == pytest.approx([0, 1 / 3, 1], abs=1e-6)


def test_concentration_has_the_gradient_of_the_mean_sum_of_squares():
    logits = torch.randn(3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1), requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: concentration(x.softmax(0)), logits)
    gates = logits.detach().softmax(0)
    squares = gates.square().sum(0).mean()
    torch.testing.assert_close(concentration(gates), (squares - 1 / 3) / (1 - 1 / 3))
