"""Errors of the pixels that Gaussians show."""

from __future__ import annotations

import torch
from moegs_rasterizer import Layer, rasterize

from experts.ex4dgs.errors import NEW, UNSEEN, BacktrackedErrors
from experts.training.rendered import RenderedView
from experts.training.samplers import Sample
from losses import ssim_map
from tests.experts.ex4dgs.test_ex4dgs_training import VIEWS, new_trainer, short


def seen_by(trainer, sample, *, features):
    """An image as the loop renders it, on black."""
    gaussians = trainer.gaussians(sample, 1)
    carried = trainer.features(gaussians, 1) if features else None
    channels = 0 if carried is None else carried.shape[1]
    layer = Layer(
        gaussians=gaussians, settings=trainer.model.settings, background=torch.zeros(3 + channels), features=carried
    )
    camera = VIEWS.cameras[sample.view]
    splat = rasterize([layer], camera, grad="full", backend="torch")[0]
    splat.means2d.retain_grad()
    return RenderedView(
        sample=sample,
        camera=camera,
        gaussians=gaussians,
        splat=splat,
        features=carried,
        image=splat.colour,
        target=VIEWS.image(sample),
    )


def weights_of(trainer, sample):
    """Alpha times transmittance [n, h, w] of every Gaussian and pixel: each carries a channel of its own."""
    gaussians = trainer.gaussians(sample, 1)
    found = []
    for part in torch.eye(gaussians.count).split(50, dim=1):
        background = torch.zeros(3 + part.shape[1])
        layer = Layer(gaussians=gaussians, settings=trainer.model.settings, background=background, features=part)
        with torch.no_grad():
            found.append(rasterize([layer], VIEWS.cameras[sample.view], backend="torch")[0].features)
    return torch.cat(found)


def test_errors_are_means_over_pixels_with_the_blending_weights():
    trainer = new_trainer(short(prune_by_error=True))
    samples = [Sample(view=0, frame=0), Sample(view=1, frame=4)]
    least, sums = [], torch.zeros(2, trainer.count)
    for sample in samples:
        seen = seen_by(trainer, sample, features=True)
        trainer.image_loss([seen], 1).backward()
        with torch.no_grad():
            trainer.observe([seen], 1)
        weights = weights_of(trainer, sample)
        l1 = (seen.image - seen.target).abs().mean(0).detach()
        ssim = ssim_map(seen.image, seen.target).mean(0)
        total = weights.sum((1, 2))
        means = [(weights * values).sum((1, 2)) / total.clamp(min=1e-4) for values in (l1, ssim)]
        sums += torch.stack(means)
        least.append(torch.where(total > 0.01, means[0], torch.inf))
    errors = trainer.statistics[0]
    torch.testing.assert_close(torch.stack([errors.rows["l1"], errors.rows["ssim"]]), sums, atol=1e-5, rtol=1e-4)
    smallest, which = torch.stack(least).min(0)
    torch.testing.assert_close(errors.rows["least_error"], smallest, atol=1e-5, rtol=1e-4)
    expected = torch.where(smallest == torch.inf, NEW, torch.tensor([0.0, 4.0])[which])
    assert (errors.rows["best_frame"] != expected).sum() <= 1  # equal errors in both
    assert (expected >= 0).sum() > 300


def test_carrying_errors_changes_no_other_gradient_and_no_loss():
    found = []
    for features in (False, True):
        trainer = new_trainer(short())
        seen = seen_by(trainer, Sample(view=0, frame=2), features=features)
        loss = trainer.image_loss([seen], 1)
        loss.backward()
        found.append([loss.detach(), *(parameter.grad for parameter in trainer.model.static.parameters())])
    for without, with_features in zip(*found, strict=True):
        torch.testing.assert_close(with_features, without, atol=1e-9, rtol=1e-5)


def test_what_a_pass_and_a_densification_forget():
    errors = BacktrackedErrors(3, torch.device("cpu"))
    errors.observe_errors(torch.tensor([[2.0, 0.2], [0.005, 0.001], [0.0, 0.0]]), frame=7)
    assert errors.rows["best_frame"].tolist() == [7.0, NEW, NEW]
    assert errors.rows["shown"].tolist() == [1.0, 1.0, 0.0]
    errors.clear()
    assert errors.rows["l1"].tolist() == [0.0, 0.0, 0.0]
    assert errors.rows["best_frame"].tolist() == [7.0, NEW, NEW] and not errors.invisible().any()
    errors.new_pass()
    errors.grow(1)
    errors.observe_errors(torch.tensor([[2.0, 0.8], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]]), frame=3)
    assert errors.rows["best_frame"].tolist() == [3.0, UNSEEN, UNSEEN, NEW]
    assert errors.invisible().tolist() == [False, True, True, False]


def test_large_errors_of_either_kind_are_wrong():
    errors = BacktrackedErrors(4, torch.device("cpu"))
    errors.observe_errors(torch.tensor([[2.0, 0.1, 1.8], [2.0, 0.2, 1.8], [2.0, 0.1, 0.6], [0.0, 0.0, 0.0]]), frame=0)
    assert errors.wrong(l1=0.08, dissimilarity=0.6).tolist() == [False, True, True, False]


def test_the_smallest_radius_is_of_the_images_that_showed_it():
    errors = BacktrackedErrors(3, torch.device("cpu"))
    for radii in ([4, 0, 0], [2, 7, 0], [3, 9, 0]):
        errors.observe(torch.zeros(3, 2), torch.tensor(radii, dtype=torch.int32))
    smallest = errors.rows["smallest_radius"]
    assert smallest[:2].tolist() == [2.0, 7.0] and smallest[2] > 1e9
    errors.clear()
    assert (errors.rows["smallest_radius"] > 1e9).all()
