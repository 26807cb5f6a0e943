"""FreeTime's training on a GPU: the steps and relocations of the CPU, and the same bits every time."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import fields, replace
from typing import Any

import pytest
import torch

from experts.freetime.new_model import model_from_start
from experts.freetime.recipe import FreeTimeRecipe, Relocation
from experts.freetime.starts.first_gaussians import FreeTimeStart
from experts.freetime.training import FreeTimeTrainer
from experts.training.samplers import Sample
from tests.experts.freetime.models import clip_start
from tests.experts.freetime.test_freetime_training import EXTENT, RECIPE
from tests.experts.small_clip import NUM_FRAMES
from tests.experts.training.small_views import SmallViews, train

pytestmark = pytest.mark.cuda

ALL_TERMS = replace(
    RECIPE,
    batch=2,
    same_frame=True,
    rates_by_batch=True,
    still="lasting",
    kernel="flat",
    life_penalty=0.01,
    l2=0.2,
    gate_penalty_from=0,
)


class ViewsOn(SmallViews):
    """The small clip's views with their images on a device."""

    def __init__(self, device: str) -> None:
        super().__init__((1, 2))
        self._device = device

    def image(self, sample: Sample) -> torch.Tensor:
        return super().image(sample).to(self._device)


def trainer_on(device: str, recipe: FreeTimeRecipe) -> FreeTimeTrainer:
    start = clip_start()
    start = FreeTimeStart(**{field.name: getattr(start, field.name).to(device) for field in fields(start)})
    model = model_from_start(start, recipe, NUM_FRAMES)
    model.background = (1.0, 1.0, 1.0)  # the clip's
    generator = torch.Generator().manual_seed(3)
    noise = {"velocities": (model, 0.02), "quats": (model.gaussians, 0.5), "log_scales": (model.gaussians, 0.5)}
    with torch.no_grad():  # a start has neither motion nor directions, so that nothing would depend on these
        for name, (module, size) in noise.items():
            values = getattr(module, name)
            values.add_(size * torch.randn(values.shape, generator=generator).to(device))
    return FreeTimeTrainer(model, recipe, extent=EXTENT, views=ViewsOn(device), seed=0)


def backward(trainer: FreeTimeTrainer) -> float:
    """The first iteration's loss, whose gradients the parameters then have."""
    total = 0.0
    for loss in trainer.losses(1):
        loss.backward()
        total += loss.item()
    return total


@pytest.mark.parametrize("recipe", [RECIPE, ALL_TERMS], ids=["default", "all terms"])
def test_a_step_is_that_of_the_cpu(recipe: FreeTimeRecipe) -> None:
    here, there = trainer_on("cpu", recipe), trainer_on("cuda", recipe)
    assert backward(there) == pytest.approx(backward(here), rel=1e-4)
    clear = {}  # where a gradient is more than rounding, which Adam makes as large as any
    for name, ours, theirs in _pairs(here, there):
        assert ours.grad is not None and theirs.grad is not None, name
        gradient, difference = ours.grad, theirs.grad.cpu() - ours.grad
        assert difference.norm() <= 2e-3 * gradient.norm(), name
        clear[name] = gradient.abs() > 0.01 * gradient.abs().max()
    before = {name: ours.detach().clone() for name, ours, _ in _pairs(here, there)}
    for trainer in (here, there):
        trainer.update(1)
    for name, ours, theirs in _pairs(here, there):
        step, other = ours.detach() - before[name], theirs.detach().cpu() - before[name]
        assert name == "gaussians.sh_rest" or bool(step[clear[name]].any()), name  # cut to degree 0 in use
        torch.testing.assert_close(other[clear[name]], step[clear[name]], rtol=1e-2, atol=1e-6, msg=name)
    for name, rows in here.statistics[0].rows.items():
        torch.testing.assert_close(there.statistics[0].rows[name].cpu(), rows, rtol=1e-2, atol=1e-4, msg=name)


@pytest.mark.parametrize("kind", ["mcmc", "copy", "copies_in_time"])
def test_a_relocation_is_that_of_the_cpu(kind: Any) -> None:
    recipe = replace(RECIPE, relocation=Relocation(kind=kind, start=0, stop=9, every=1, most_share=0.2))
    here, there = trainer_on("cpu", recipe), trainer_on("cuda", recipe)
    for trainer in (here, there):
        rows = trainer.statistics[0].rows
        rows["gradients"].copy_(torch.linspace(0, 1, trainer.count))
        rows["seen"].fill_(1.0)
        rows["shown"].fill_(1.0)
        with torch.no_grad():
            trainer.model.gaussians.opacity_logits[:60] = -9.0
    before = {name: ours.detach().clone() for name, ours, _ in _pairs(here, there)}
    for trainer in (here, there):
        trainer.control(1)
    assert not torch.equal(here.model.gaussians.means, before["gaussians.means"])
    for name, ours, theirs in _pairs(here, there):
        torch.testing.assert_close(theirs.detach().cpu(), ours.detach(), rtol=1e-5, atol=1e-5, msg=name)


@pytest.mark.parametrize("moving", ["auto", "rays"])
def test_a_training_has_the_same_bits_every_time(moving: Any) -> None:
    relocation = Relocation(start=3, stop=30, every=5, most_share=0.2)
    recipe = replace(RECIPE, iterations=30, relocation=relocation, moving=moving, rays_at=(8, 16), keyframe_every=2)
    states = []
    for _ in range(2):
        trainer = trainer_on("cuda", recipe)
        before = deepcopy(trainer.model.state_dict())
        for _ in train(trainer):
            pass
        states.append(trainer.model.state_dict())
        assert all(bool((value != before[name]).any()) for name, value in states[-1].items() if name != "velocities")
    for name, value in states[0].items():
        assert value.isfinite().all() and torch.equal(states[1][name], value), name


def _pairs(here: FreeTimeTrainer, there: FreeTimeTrainer) -> list[tuple[str, torch.nn.Parameter, torch.nn.Parameter]]:
    theirs = dict(there.model.named_parameters())
    return [(name, parameter, theirs[name]) for name, parameter in here.model.named_parameters()]
