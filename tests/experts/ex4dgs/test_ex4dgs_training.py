"""Ex4DGS's training on a small clip: switches, going on from a state, what is saved and what is removed."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import pytest
import torch
from moegs_rasterizer import Layer, rasterize

from experts.base import LoadOptions
from experts.ex4dgs.errors import UNSEEN
from experts.ex4dgs.files import load_ex4dgs, save_ex4dgs
from experts.ex4dgs.presets import EX4DGS_N3V
from experts.ex4dgs.recipe import Errors
from experts.ex4dgs.start import start_model
from experts.ex4dgs.training import Ex4DGSTrainer
from experts.training.recipes.presets import Planes
from experts.training.recipes.recipe import scaled_recipe
from experts.training.samplers import Sample
from experts.training.start import TrainingStart
from tests.experts.small_clip import FAR, NEAR, NUM_FRAMES
from tests.experts.training.relocating import check_it_grows_and_goes_on, check_the_look_stays
from tests.experts.training.small_views import small_start, small_views, train

EXTENT, ITERATIONS = 0.5, 60
VIEWS = small_views()
ALL = [Sample(view=view, frame=frame) for view in range(2) for frame in range(NUM_FRAMES)]


def short(**changes):
    """The published recipe in 60 iterations: RAdam warms up for longer than that, so that rates are larger."""
    recipe = scaled_recipe(EX4DGS_N3V, ITERATIONS)
    density = replace(recipe.density, every=25, prune_every=25, start=10, stop=50, gradient=0.005)
    rates = {name: replace(rate, first=30 * rate.first, last=None) for name, rate in recipe.rates.items()}
    rates["dynamic.means"] = replace(rates["dynamic.means"], last=1e-4)
    fields = {"density": density, "rates": rates, "dynamic_gradient": 0.003, "windows_every": 15}
    return replace(recipe, **{**fields, **changes})


def new_trainer(recipe, *, world_scale=1.0, seed=0):
    planes = Planes(near=NEAR, far=FAR)
    start = TrainingStart(
        points=small_start(), views=VIEWS, extent=EXTENT, world_scale=world_scale, planes=planes, seed=seed
    )
    model = start_model(recipe, start)
    return Ex4DGSTrainer(model, recipe, extent=EXTENT, views=VIEWS, seed=seed)


def run(trainer, *, start=0, stop=ITERATIONS):
    return list(islice(train(trainer, start=start), stop - start))


@torch.no_grad()
def image(model, sample, *, features=None):
    background = torch.ones(3 + (0 if features is None else features.shape[1]))
    layer = Layer(gaussians=model.at(sample.frame), settings=model.settings, background=background, features=features)
    return rasterize([layer], VIEWS.cameras[sample.view], backend="torch")[0]


def error_of(model):
    """Mean L1 over the clip."""
    found = [(image(model, sample).colour - VIEWS.image(sample)).abs().mean() for sample in ALL]
    return torch.stack(found).mean().item()


@pytest.fixture(scope="module")
def trained():
    trainer = new_trainer(short())
    before = error_of(trainer.model)
    return trainer, before, run(trainer)


def test_a_training_ends_with_dynamic_gaussians_and_less_error(trained):
    trainer, before, steps = trained
    assert len(steps) == ITERATIONS
    assert trainer.model.dynamic.means.shape[0] > 0
    assert trainer.model.timeline.duration == NUM_FRAMES + 12 + 1
    assert steps[-1].gaussians == trainer.count != 400  # some came, some went
    assert error_of(trainer.model) < 0.6 * before  # 0.41 seen
    for population, statistics in zip(trainer.populations, trainer.statistics, strict=True):
        assert all(len(values) == population.count for values in statistics.rows.values())


def test_a_saved_training_shows_the_same_when_loaded(trained, tmp_path):
    model = trained[0].model
    save_ex4dgs(model, tmp_path, ITERATIONS)
    loaded = load_ex4dgs(tmp_path, LoadOptions(num_frames=NUM_FRAMES))
    assert loaded.timeline == model.timeline
    for sample in (ALL[0], ALL[-1]):
        torch.testing.assert_close(image(loaded, sample).colour, image(model, sample).colour)


def test_going_on_from_a_state_is_as_never_having_stopped(trained):
    trainer = new_trainer(short())
    run(trainer, stop=37)
    again = new_trainer(short(), seed=5)
    again.load(trainer.state())
    run(again, start=37)
    for name, values in trained[0].model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], values), name


@pytest.mark.parametrize(
    "changes",
    [
        {"decay_motion_rate": True},
        {"extract_by_camera_centre": False},
        {"extract_along_path": False},
        {"prune_invisible": False, "prune_small": False},
    ],
)
def test_switches_change_the_training(trained, changes):
    trainer = new_trainer(short(**changes))
    run(trainer)
    assert error_of(trainer.model) < 0.6 * trained[1]
    other = trained[0].model.state_dict()
    assert any(not torch.equal(values, other[name]) for name, values in trainer.model.state_dict().items())


def test_the_limit_counts_both_kinds():
    limit = 405
    recipe = short(density=replace(short().density, max_gaussians=limit, smallest_opacity=0.0), prune_small=False)
    steps = run(new_trainer(replace(recipe, prune_invisible=False)))
    assert max(step.gaussians for step in steps) == limit


def test_the_rate_of_motion_falls_or_stays():
    for decays in (True, False):
        trainer = new_trainer(replace(EX4DGS_N3V, decay_motion_rate=decays))
        group = next(group for group in trainer.optimiser.param_groups if group["name"] == "dynamic.means")
        trainer.begin(1)
        assert group["lr"] == pytest.approx(1.6e-4 * EXTENT, rel=1e-3)
        trainer.begin(30000)
        assert group["lr"] == pytest.approx((1.6e-5 if decays else 1.6e-4) * EXTENT)


def test_a_world_of_another_scale_shows_the_same_and_learns_in_its_own_units():
    own, other = new_trainer(short()), new_trainer(short(), world_scale=EXTENT)
    torch.testing.assert_close(image(other.model, ALL[3]).colour, image(own.model, ALL[3]).colour)
    assert other.extent == 1.0 and own.extent == EXTENT


def test_small_gaussians_go_after_a_pass_in_proportion_to_the_image():
    trainer = new_trainer(short(smallest_radius=5 * 1352 / 40))  # 5 px of 40
    trainer.statistics[0].rows["smallest_radius"][:] = torch.tensor([4.0, 5.0]).repeat(200)
    trainer.sampler.passes = 1
    trainer.control(trainer.recipe.prune_start)
    assert trainer.count == 400
    trainer.sampler.passes = 2
    trainer.control(trainer.recipe.prune_start + 1)
    assert trainer.count == 200 and (trainer.statistics[0].rows["smallest_radius"] == 5).all()


def test_pruning_by_error_takes_what_shows_large_errors():
    errors = Errors(start=10, every=1, l1=0.08, dissimilarity=0.6)
    trainer = new_trainer(short(prune_by_error=True, errors=errors))
    rows = trainer.statistics[0].rows
    rows["shown"][:], rows["ssim"][:], rows["l1"][:] = 2.0, 2.0, torch.tensor([0.1, 0.2]).repeat(200)
    trainer.control(25)
    assert trainer.count == 200


def relocating(**changes):
    """Every five iterations, so that the number grows to the limit; the windows stay, so that images are compared."""
    density = replace(short().density, kind="relocate", every=5, max_gaussians=430, noise=1e3, stop=ITERATIONS)
    return short(density=replace(density, **changes), prune_invisible=False)


def test_relocation_fills_the_limit_of_both_kinds_and_goes_on(monkeypatch):
    taught = check_it_grows_and_goes_on(
        lambda seed: new_trainer(relocating(), seed=seed), stop=37, monkeypatch=monkeypatch
    )
    static, dynamic = taught.populations
    assert static.count > 0 and dynamic.count > 0 and static.count + dynamic.count == 430  # what moves is extracted
    check_the_look_stays(taught, ITERATIONS, monkeypatch)


def test_what_images_do_not_show_makes_room_and_size_does_not_count(monkeypatch):
    taught = new_trainer(replace(relocating(), prune_invisible=True))
    taught.statistics[0].rows["best_frame"][:7] = UNSEEN
    taught.statistics[0].rows["smallest_radius"][7:50] = 1.0
    taught._prune_after_pass(20)
    assert taught.count == 393


def test_relocation_needs_a_limit_that_holds_the_start():
    with pytest.raises(ValueError, match="give --max_gaussians"):
        new_trainer(relocating(max_gaussians=None))
    with pytest.raises(ValueError, match="400 Gaussians at the start are more than max_gaussians, 399"):
        new_trainer(relocating(max_gaussians=399))
