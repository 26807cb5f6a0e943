from __future__ import annotations

import torch

from common.maths.activations import through_relu_


def test_the_gradient_of_a_relu_in_the_same_memory() -> None:
    inputs = torch.tensor([-2.0, 0.0, 0.5, 3.0], requires_grad=True)
    outputs, weights = inputs.relu(), torch.tensor([1.0, 2.0, 3.0, 4.0])
    (expected,) = torch.autograd.grad(outputs, inputs, weights)
    assert through_relu_(weights, outputs.detach()) is weights
    assert torch.equal(weights, expected) and expected.tolist() == [0, 0, 3, 4]
