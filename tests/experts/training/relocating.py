"""The checks of a training with density.kind=relocate, the same for every expert, on the small clip."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from itertools import pairwise

import pytest
import torch
from moegs_rasterizer import Layer, rasterize
from torch import Tensor

from experts.training.gaussians import relocation
from experts.training.samplers import Sample
from experts.training.trainer import ExpertTrainer
from tests.experts.training.small_views import train

NewTrainer = Callable[..., ExpertTrainer]  # by seed; of a recipe that relocates


def check_it_grows_and_goes_on(new_trainer: NewTrainer, *, stop: int, monkeypatch: pytest.MonkeyPatch) -> ExpertTrainer:
    """The number of Gaussians grows by at most 5 % a time to the limit; going on from `stop` is exact."""
    for name in ("clone_and_split", "prune", "reset_opacities"):
        for module in (type(new_trainer(seed=0)).__module__, "experts.training.trainer"):
            monkeypatch.setattr(f"{module}.{name}", _refused, raising=False)
    whole, resumed = new_trainer(seed=0), new_trainer(seed=5)
    limit, counts, last = whole.recipe.density.max_gaussians, [whole.count], whole.recipe.iterations
    assert limit is not None and stop < last
    for step in train(whole):
        counts.append(step.gaussians)
        if step.iteration == stop:
            saved = deepcopy(whole.state())
    assert counts[0] < counts[-1] == max(counts) == limit
    assert all(after <= relocation.GROWTH * before for before, after in pairwise(counts))
    for population, statistics in zip(whole.populations, whole.statistics, strict=True):
        assert all(len(values) == population.count for values in statistics.rows.values())
    resumed.load(saved)
    for _ in train(resumed, start=stop):
        pass
    for name, value in whole.model.state_dict().items():
        assert value.isfinite().all() and torch.equal(resumed.model.state_dict()[name], value), name
    return whole


def check_the_look_stays(trainer: ExpertTrainer, iteration: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relocation of a tenth hardly changes an image; exact copies would change it more."""
    for population in trainer.populations:
        with torch.no_grad():
            population["opacity_logits"][::10] = -9.0
    copies, before, count = deepcopy(trainer.state()), _image(trainer, iteration), trainer.count
    trainer.relocate(budget=count)
    assert trainer.count == count
    assert all((one["opacity_logits"] > -7).all() for one in trainer.populations)  # nothing dead is left
    change = (_image(trainer, iteration) - before).abs().mean()
    monkeypatch.setattr(relocation, "stacked", lambda rows, opacities, factors: rows)
    trainer.load(copies)
    trainer.relocate(budget=count)
    of_exact_copies = (_image(trainer, iteration) - before).abs().mean()
    assert change < 0.6 * of_exact_copies and change < 0.01, (change, of_exact_copies)


@torch.no_grad()
def _image(trainer: ExpertTrainer, iteration: int) -> Tensor:
    sample = Sample(view=0, frame=2)
    gaussians = trainer.gaussians(sample, iteration)
    layer = Layer(gaussians=gaussians, settings=trainer.model.settings, background=torch.ones(3))
    return rasterize([layer], trainer.views.cameras[0])[0].colour


def _refused(*_: object, **__: object) -> None:
    raise AssertionError("relocation clones, splits, prunes and resets nothing")
