"""The common part of all trainers."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from experts.stg import training
from losses import photometric
from tests.experts.stg.test_stg_training import small_recipe, trainer


def test_images_of_one_moment_are_compared_together_and_count_each():
    one = trainer(small_recipe())
    generator = torch.Generator().manual_seed(2)

    def image(height):
        image = torch.rand(3, height, 40, generator=generator).requires_grad_()
        return SimpleNamespace(image=image, target=torch.rand(3, height, 40, generator=generator))

    seen = [image(30), image(20), image(30)]
    loss = one.image_loss(seen, 1)  # type: ignore[arg-type]
    gradients = torch.autograd.grad(loss, [each.image for each in seen])
    alone = [photometric(each.image, each.target, l1=one.recipe.l1, dssim=one.recipe.dssim) for each in seen]
    torch.testing.assert_close(loss, torch.stack(alone).sum())
    torch.testing.assert_close(gradients, torch.autograd.grad(torch.stack(alone).sum(), [each.image for each in seen]))


def test_a_population_under_other_names_is_refused_at_the_start(monkeypatch):
    monkeypatch.setattr(training, "PARAMETERS", [name for name in training.PARAMETERS if name != "opacity_logits"])
    with pytest.raises(ValueError, match="lacks opacity_logits: a trainer asks for exactly these names"):
        trainer(small_recipe())
    monkeypatch.setattr(training.STGTrainer, "in_population", ("means",))
    trainer(small_recipe())
