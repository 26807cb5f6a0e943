"""The common part of all trainers."""

from __future__ import annotations

from types import SimpleNamespace

import torch

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
