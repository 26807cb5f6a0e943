"""E-D3DGS's training: recipe, start, a short run, resuming, the saved model."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch

from experts import EXPERTS, LoadOptions
from experts.ed3dgs.presets import ed3dgs_recipe
from experts.ed3dgs.recipe import LENGTHS, ED3DGSRecipe
from experts.ed3dgs.start import start_model
from experts.ed3dgs.training import ED3DGSTrainer
from experts.training.recipes.recipe import Density, scaled_recipe
from experts.training.recipes.recipe_fields import N3V_EXTENT
from experts.training.samplers import Sample
from experts.training.start import StartPoints, TrainingStart
from tests.experts.small_clip import NUM_FRAMES, camera, shown
from tests.experts.training.relocating import check_it_grows_and_goes_on, check_the_look_stays
from tests.experts.training.small_views import small_start, small_views, train

ITERATIONS, EXTENT = 60, 2.0


@pytest.fixture(scope="module")
def views():
    return small_views()


def short_recipe(**changes) -> ED3DGSRecipe:
    density = Density(start=10, stop=ITERATIONS, every=15, prune_every=15, gradient=1e-4, max_gaussians=220)
    recipe = replace(scaled_recipe(ED3DGSRecipe(), ITERATIONS), density=density, errors_from=20, streak_every=10)
    return replace(recipe, **changes)


def trainer(views, recipe: ED3DGSRecipe, *, seed: int = 0) -> ED3DGSTrainer:
    start = TrainingStart(points=small_start(every=3), views=views, extent=EXTENT, seed=seed)
    model = start_model(recipe, start)
    return ED3DGSTrainer(model, recipe, extent=EXTENT, views=views, seed=seed)


def losses_of(run: ED3DGSTrainer) -> list[float]:
    """L1 of the images of the first and the last frame from both cameras."""
    with torch.no_grad():
        samples = [(view, frame) for view in range(2) for frame in (0, NUM_FRAMES - 1)]
        images = [shown(run.model, run.views.cameras[view], frame) for view, frame in samples]
        targets = [run.views.image(Sample(view=view, frame=frame)) for view, frame in samples]
    return [float((a - b).abs().mean()) for a, b in zip(images, targets, strict=True)]


def test_a_short_training_comes_nearer_grows_and_reads_back_as_the_same_image(views, tmp_path: Path):
    run = trainer(views, short_recipe())
    start, before = run.count, losses_of(trainer(views, short_recipe()))
    steps = list(train(run))
    after = losses_of(run)
    assert all(b < 0.7 * a for a, b in zip(before, after, strict=True)), (before, after)
    assert start < steps[-1].gaussians <= 220 and run.model.num_gaussians == steps[-1].gaussians
    assert run.model.embeddings.abs().max() > 0 and run.model.deformation.offsets[1:3].abs().min() > 0
    EXPERTS["E-D3DGS"].save(run.model, tmp_path, ITERATIONS)
    loaded = EXPERTS["E-D3DGS"].load(tmp_path, LoadOptions())
    assert loaded.num_frames == NUM_FRAMES and loaded.deformation.options == run.recipe.options(NUM_FRAMES)
    for frame in (0, NUM_FRAMES - 1):
        with torch.no_grad():
            assert torch.equal(shown(loaded, camera(0.2), frame), shown(run.model, camera(0.2), frame))


def test_going_on_is_as_never_having_stopped(views):
    recipe = short_recipe(density=replace(short_recipe().density, every=8, prune_every=8))
    whole, second = (trainer(views, recipe) for _ in range(2))
    for step in train(whole):
        if step.iteration == 21:  # five iterations after neighbours were found, in a streak
            state = deepcopy(whole.state())
    second.load(state)
    assert [step.iteration for step in train(second, start=21)] == list(range(22, ITERATIONS + 1))
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[name]), name


def test_gradients_are_finite_when_all_embeddings_are_equal(views):
    run = trainer(views, short_recipe())
    run.begin(1)
    run.regulariser(1).backward()
    assert torch.equal(run.model.embeddings.grad, torch.zeros_like(run.model.embeddings))
    assert run.model.gaussians.opacity_logits.grad.abs().min() > 0


def test_ssim_counts_in_streaks_alone(views):
    whole, plain = (trainer(views, short_recipe(dssim=dssim)) for dssim in (0.5, 0.0))
    whole_steps, plain_steps = (list(islice(train(run), 20)) for run in (whole, plain))
    assert whole_steps[19].loss > plain_steps[19].loss + 0.05  # iteration 20 opens the first streak
    assert not whole.recipe.in_streak(19) and whole.recipe.in_streak(24) and not whole.recipe.in_streak(25)


def test_faint_gaussians_are_pruned_when_the_recipe_says_so(views):
    run = trainer(views, short_recipe())
    run.model.gaussians.opacity_logits.data[:5] = -20.0
    faintest = [run.model.gaussians.opacity_logits.min().item() for _ in islice(train(run), 15)]
    assert max(faintest[:14]) < -10 and faintest[14] > -10


def test_neighbours_are_found_anew_when_gaussians_come_or_go(views):
    run = trainer(views, short_recipe())
    near = run._neighbours()
    assert run._neighbours() is near
    run.populations[0].keep(torch.arange(run.count) > 0)
    assert run._neighbours().indices.shape == (20, run.count)


def test_schedules_scale_and_a_short_training_is_not_left_half_grown():
    recipe = scaled_recipe(ED3DGSRecipe(), 8000)
    options = recipe.options(300)
    assert (recipe.errors_from, recipe.rate_iterations, recipe.sh_every, recipe.streak_every) == (1000, 8000, 100, 50)
    assert (recipe.density.start, recipe.density.stop, recipe.density.every) == (500, 8000, 50)
    assert (options.deform_from_iter, options.c2f_temporal_iter, options.use_anneal) == (500, 1000, True)
    assert 2 * options.finished <= 8000
    tiny = scaled_recipe(recipe, 1000).options(300)
    assert not tiny.use_anneal and tiny.finished <= 1000


def test_published_tables():
    recipe = ed3dgs_recipe(technicolor=False, scene="flame_salmon_1")
    options = recipe.options(300)
    assert (recipe.iterations, recipe.density.start, recipe.density.gradient) == (80000, 5000, 3e-4)
    assert (recipe.rows(300), options.min_embeddings, options.deform_from_iter) == (150, 30, 5000)
    assert not recipe.scale_free and recipe.network_rates() == recipe.rates
    assert ed3dgs_recipe(technicolor=False, scene="flame_steak").density.gradient == 2e-4
    assert ed3dgs_recipe(technicolor=False, scene="basketball") == ED3DGSRecipe()
    train_scene = ed3dgs_recipe(technicolor=True, scene="Train")
    assert (train_scene.iterations, train_scene.density.stop, train_scene.rate_iterations) == (120000,) * 3
    assert train_scene.rates["deformation"].first == 5e-3 and train_scene.smooth == 0.1
    technicolor = ed3dgs_recipe(technicolor=True, scene="Other")
    options = technicolor.options(50)
    assert (technicolor.rows(50), options.min_embeddings, technicolor.smooth) == (25, 5, 1.0)
    assert options.no_dc and options.no_c2f_temporal_embedding and not options.use_anneal
    assert technicolor.rates["deformation.offsets"].first == 0 and technicolor.zero_table


@pytest.mark.parametrize("scale_free", [True, False])
def test_a_world_in_other_units_starts_as_the_same_world(views, scale_free: bool):
    """Means, scales and strengths of neighbours, in units of the extent; 1e-5 seen of float32."""
    recipe = short_recipe(scale_free=scale_free)
    runs = []
    for unit in (1.0, 100.0):
        points = small_start(every=3)
        scaled_points = StartPoints(positions=points.positions * unit, colours=points.colours)
        numbered = small_views(numbers=[40, 7])
        model = start_model(recipe, TrainingStart(points=scaled_points, views=numbered, extent=EXTENT * unit))
        model.iteration = 1
        assert model.deformation.offsets.shape == (41, 1)
        run = ED3DGSTrainer(model, recipe, extent=EXTENT * unit, views=views, seed=0)
        runs.append((model.at(2).means.detach() / unit, run._neighbours().strengths, run.optimiser.param_groups))
    (means, strengths, groups), (far_means, far_strengths, far_groups) = runs
    same = torch.allclose(means, far_means, atol=1e-4) and torch.allclose(strengths, far_strengths, atol=1e-3)
    assert same is scale_free
    rates = {group["name"]: far["first"] / group["first"] for group, far in zip(groups, far_groups, strict=True)}
    if scale_free:
        assert rates["deformation"] == 1 and rates[LENGTHS[0]] == pytest.approx(100)
    else:
        assert rates["deformation"] == pytest.approx(100) and LENGTHS[0] not in rates


def test_relative_rates_are_the_published_ones_at_n3vs_extent():
    rates = ED3DGSRecipe().network_rates()
    published = ED3DGSRecipe().rates["deformation"]
    assert rates["deformation"].first == pytest.approx(published.first * N3V_EXTENT) and rates[LENGTHS[1]] == published


def test_a_table_of_zeros_and_no_time_offsets(views):
    recipe = replace(ed3dgs_recipe(technicolor=True, scene="Other"), rate_iterations=3, iterations=3)
    run = trainer(views, recipe)
    assert not run.model.deformation.weight.any()
    list(train(run))
    assert run.model.deformation.weight.any() and not run.model.deformation.offsets.any()


def relocating(**changes) -> ED3DGSRecipe:
    density = Density(kind="relocate", start=5, stop=ITERATIONS, every=5, max_gaussians=160, noise=1e3)
    return short_recipe(density=replace(density, **changes))


def test_relocation_copies_embeddings_grows_and_goes_on(views, monkeypatch):
    taught = check_it_grows_and_goes_on(
        lambda seed: trainer(views, relocating(), seed=seed), stop=37, monkeypatch=monkeypatch
    )
    check_the_look_stays(taught, ITERATIONS, monkeypatch)
    before = taught.model.embeddings.detach().clone()
    with torch.no_grad():
        taught.model.gaussians.opacity_logits[:5] = -9.0
    taught.relocate()
    for copy in taught.model.embeddings[-5:]:
        assert (before[5:] == copy).all(1).any()


def test_relocation_without_a_limit_is_refused(views):
    with pytest.raises(ValueError, match="give --max_gaussians"):
        trainer(views, relocating(max_gaussians=None))
