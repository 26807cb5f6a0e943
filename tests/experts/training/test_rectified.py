from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from experts.training.recipes.rectified import RectifiedAdam, rectification


def pair(rows: int = 7):
    """The same parameters twice, with PyTorch's RAdam and ours."""
    made = []
    for kind in (torch.optim.RAdam, RectifiedAdam):
        generator = torch.Generator().manual_seed(1)
        parameters = [nn.Parameter(torch.randn(rows, width, generator=generator)) for width in (1, 3)]
        groups = [{"params": [one], "lr": rate} for one, rate in zip(parameters, (0.1, 0.003), strict=True)]
        made.append((parameters, kind(groups)))
    return made


def advance(pair, steps: range, size: float) -> None:
    for step in steps:
        for parameters, optimiser in pair:
            generator = torch.Generator().manual_seed(step)
            for one in parameters:
                one.grad = size * torch.randn(one.shape, generator=generator)
            for group in optimiser.param_groups:
                group["lr"] *= 0.99
            optimiser.step()
            optimiser.zero_grad()


@pytest.mark.parametrize("size", [1.0, 1e-8])  # the second of epsilon's size
def test_steps_are_those_of_radam(size):
    both = pair()
    for steps in (range(1), range(1, 5), range(5, 6), range(6, 60)):
        advance(both, steps, size)
        for theirs, ours in zip(both[0][0], both[1][0], strict=True):
            torch.testing.assert_close(ours, theirs, rtol=2e-6, atol=2e-6)  # seen: 6e-7


def test_it_goes_on_from_its_state():
    (_, (parameters, optimiser)) = pair()
    (_, (again, resumed)) = pair()
    advance([(parameters, optimiser)], range(9), 1.0)
    for old, new in zip(parameters, again, strict=True):
        new.data.copy_(old.data)
    resumed.load_state_dict(copy.deepcopy(optimiser.state_dict()))
    advance([(parameters, optimiser), (again, resumed)], range(9, 12), 1.0)
    assert all(torch.equal(old, new) for old, new in zip(parameters, again, strict=True))


def test_a_parameter_without_gradient_or_rows_waits():
    (_, (parameters, optimiser)) = pair(rows=0)
    advance([(parameters, optimiser)], range(8), 1.0)
    before = optimiser.param_groups[0]["taken"]
    optimiser.step()
    assert (before, optimiser.param_groups[0]["taken"]) == (8, 8)


def test_a_group_of_two_is_refused():
    with pytest.raises(ValueError, match="2 parameters"):
        RectifiedAdam([{"params": [nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))], "name": "both"}])


def test_the_variance_is_trusted_from_the_sixth_step_on():
    assert [rectification(taken) is None for taken in (1, 5, 6)] == [True, True, False]
    assert rectification(100_000) == pytest.approx(1)
