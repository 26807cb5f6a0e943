"""Backward passes run where they are asked for, and rows without gradients are found."""

import threading
from typing import ClassVar

import pytest
import torch

from common.gradients import backward, rows_with_gradients


class Asked(torch.autograd.Function):
    """The identity, whose backward pass notes its thread."""

    threads: ClassVar[list[int]] = []

    @staticmethod
    def forward(ctx, values):
        return values.clone()

    @staticmethod
    def backward(ctx, grad):
        Asked.threads.append(threading.get_ident())
        return grad


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def test_gradients_are_added_on_the_callers_thread(device):
    Asked.threads.clear()
    values = torch.tensor([1.0, -2.0], device=device, requires_grad=True)
    for _ in range(2):
        backward(Asked.apply(values).square().sum())
    assert Asked.threads == [threading.get_ident()] * 2
    torch.testing.assert_close(values.grad, torch.tensor([4.0, -8.0], device=device))


def test_rows_with_gradients_are_those_of_any_output():
    first, second = torch.zeros(8, 3), torch.zeros(8, 1)
    assert rows_with_gradients([first, second]).tolist() == []
    first[2, 1], first[5, 0], second[6, 0] = -1e-30, float("nan"), 2.0
    assert rows_with_gradients([first, second]).tolist() == [2, 5, 6]
    second[:7] = 1  # most: leaving one out gains nothing
    assert rows_with_gradients([first, second]) is None


@pytest.mark.cuda
@pytest.mark.parametrize(("fewest", "expected"), [(None, None), (9, None), (8, [2])])
def test_a_gpu_takes_all_rows_of_few(fewest, expected):
    gradients = torch.zeros(8, 3, device="cuda")
    gradients[2, 1] = 1
    rows = rows_with_gradients([gradients], fewest_on_gpu=fewest)
    assert (None if rows is None else rows.tolist()) == expected
