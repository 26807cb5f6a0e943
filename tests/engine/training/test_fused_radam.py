"""RAdam by Adam's fused kernel: the steps of torch.optim.RAdam, and states that either can go on from."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch

from engine.training.router.fused_radam import FusedRAdam

SHAPES = [(40, 2), (3,), (5, 4, 1, 1), (7, 1)]
STEPS = 30


def parameters(where: str = "cpu") -> list[torch.nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [torch.nn.Parameter(torch.randn(shape, generator=generator).to(where)) for shape in SHAPES]


def groups(moved: list[torch.nn.Parameter]) -> list[dict]:
    return [{"name": "one", "params": moved[:3], "lr": 0.05}, {"name": "other", "params": moved[3:], "lr": 0.01}]


def take(optimiser: torch.optim.Optimizer, moved: list[torch.nn.Parameter], steps: range) -> None:
    """Steps by gradients of their own; the second parameter has one at every other step, from the third on."""
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        for index, parameter in enumerate(moved):
            gradient = torch.randn(parameter.shape, generator=generator) * 10.0 ** (index - 2)
            parameter.grad = None if index == 1 and (step < 3 or step % 2) else gradient.to(parameter)
        for group in optimiser.param_groups:
            group["lr"] *= 0.98
        optimiser.step()


def compared(where: str) -> None:
    plain, fused = parameters(where), parameters(where)
    take(torch.optim.RAdam(groups(plain)), plain, range(STEPS))
    optimiser = FusedRAdam(groups(fused))
    take(optimiser, fused, range(STEPS))
    for one, other, start in zip(plain, fused, parameters(where), strict=True):
        assert (one - start).abs().max() > 1e-3
        torch.testing.assert_close(other, one, atol=2e-6, rtol=0)
    assert [int(optimiser.state[parameter]["step"]) for parameter in fused] == [30, 13, 30, 30]


def test_the_steps_are_those_of_torch():
    compared("cpu")


@pytest.mark.cuda
def test_the_steps_are_those_of_torch_on_a_gpu():
    compared("cuda")


@pytest.mark.parametrize("kinds", [(FusedRAdam, torch.optim.RAdam), (torch.optim.RAdam, FusedRAdam)])
def test_either_goes_on_from_the_others_state(kinds):
    plain, resumed = parameters(), parameters()
    take(torch.optim.RAdam(groups(plain)), plain, range(STEPS))
    first = kinds[0](groups(resumed))
    take(first, resumed, range(12))
    second = kinds[1](groups(resumed))
    second.load_state_dict(deepcopy(first.state_dict()))
    take(second, resumed, range(12, STEPS))
    for one, other in zip(plain, resumed, strict=True):
        torch.testing.assert_close(other, one, atol=2e-6, rtol=0)
