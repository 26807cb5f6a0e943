"""STG's training: what happens at which iteration, what learns, and that it learns, goes on and is saved."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from moegs_rasterizer import Layer, rasterize

from experts.base import LoadOptions
from experts.stg import training as stg_training
from experts.stg.files import load_stg, save_stg
from experts.stg.presets import stg_recipe
from experts.stg.recipe import THINNINGS, Guidance, STGRecipe, in_mode, stg_rates
from experts.stg.start import new_stg
from experts.stg.training import STGTrainer
from experts.training.recipes.recipe import Density, scaled_recipe
from experts.training.samplers import Sample
from experts.training.start import StartPoints
from tests.experts.small_clip import FAR, NEAR, NUM_FRAMES
from tests.experts.training.relocating import check_it_grows_and_goes_on, check_the_look_stays
from tests.experts.training.small_views import small_start, small_views, train

EXTENT = 0.22  # of the small clip's two cameras
VIEWS = small_views()


def trainer(recipe: STGRecipe, *, every: int = 1, seed: int = 0, **segment: int) -> STGTrainer:
    frames = {"first": 0, "num_frames": NUM_FRAMES, **segment}
    model = new_stg(small_start(every=every), recipe, near=NEAR, far=FAR, extent=EXTENT, seed=seed, **frames)
    return STGTrainer(model, recipe, extent=EXTENT, views=VIEWS, seed=seed)


def small_recipe(**changes) -> STGRecipe:
    """Sixty iterations in which all that a training does is done once or more."""
    rates = {name: replace(rate, first=4 * rate.first, last=None) for name, rate in stg_rates(scales=5e-3).items()}
    recipe = STGRecipe(
        iterations=60,
        rates=rates,
        rate_iterations=60,
        sh_every=20,
        density=Density(start=2, stop=30, every=4, prune_every=4, reset_every=20),
        densifications=3,
        prune_stop=28,
        guidance=Guidance(start=24, stop=50, apart=3, patch=5, choose_below=1.0, sample_below=1.0),
        near_cull_again=45,
        near_cull_every=5,
        turning_start=40,
        box_cull=50,
    )
    return replace(recipe, **changes)


@pytest.mark.parametrize(
    ("scene", "densified", "pruned", "resets", "near", "turning", "box"),
    [
        (("n3v", "sear_steak"), (600, 1100), (1200, 6900), [3000, 6000], [9500, 10500], [8001], [10000]),
        (("n3v", "coffee_martini"), (600, 1100), (1200, 8900), [3000, 6000], [], [8001], []),
        (("technicolor", "Birthday"), (600, 1700), (1800, 6900), [3000, 6000], [], [], [10000]),
    ],
)
def test_what_happens_when(monkeypatch, scene, densified, pruned, resets, near, turning, box):
    events: dict[str, list[int]] = {name: [] for name in ("split", "prune", "reset", "near", "turning", "box")}
    now = 0

    def note(name, result=None):
        return lambda *_, **__: (events[name].append(now), result)[1]

    recipe = replace(stg_recipe(*scene), prune_when_densifying=False)
    taught = trainer(recipe, every=20)
    taught.begin(1)
    monkeypatch.setattr(stg_training, "clone_and_split", note("split"))
    monkeypatch.setattr(stg_training, "prune", note("prune"))
    monkeypatch.setattr(stg_training, "reset_opacities", note("reset"))
    nothing = torch.zeros(taught.count, dtype=torch.bool)
    monkeypatch.setattr(stg_training, "stands_close", note("near", nothing))
    monkeypatch.setattr(stg_training, "outside", note("box", nothing))
    monkeypatch.setattr(taught, "_choose_turning", note("turning"))
    for now in range(1, 11000):
        taught.control(now)
    assert events["split"] == list(range(densified[0], densified[1] + 1, 100))
    assert events["prune"] == list(range(pruned[0], pruned[1] + 1, 100))
    assert (events["reset"], events["near"]) == (resets, near)
    assert (events["turning"], events["box"]) == (turning, box)


@pytest.mark.parametrize("applied", [True, False])
def test_the_faint_may_be_pruned_where_others_are_cloned(applied):
    taught = trainer(small_recipe(prune_when_densifying=applied), every=10)
    taught.begin(1)
    count = taught.count
    with torch.no_grad():
        taught.populations[0]["opacity_logits"][:7] = -9.0
    taught.control(8)
    assert taught.count == count - (7 if applied else 0)


def test_clones_and_children_have_windows_at_random_moments():
    taught = trainer(small_recipe(), every=10)
    taught.begin(1)
    population, statistics = taught.populations[0], taught.statistics[0]
    population.put("log_scales", torch.full((taught.count, 3), 0.01 * EXTENT).log() + torch.tensor([0.0, 0.0, -1.0]))
    with torch.no_grad():
        population["log_scales"][: taught.count // 2] += 0.5
        population["trbf_centres"].fill_(0.25)
    large, small = taught.count // 2, taught.count - taught.count // 2
    statistics.observe(torch.ones(taught.count, 2), torch.ones(taught.count))
    taught.control(8)
    assert taught.count == 2 * (large + small)
    old = population["trbf_centres"] == 0.25
    assert int(old.sum()) == small
    new = population["trbf_centres"][~old]
    assert new.min() >= 0 and new.max() < 1 and torch.histc(new.detach(), 2, min=0, max=1).min() > len(new) / 4


@pytest.mark.parametrize("all_of_them", [True, False])
def test_statistics_of_all_images_or_of_the_last(all_of_them):
    taught = trainer(small_recipe(statistics_of_all=all_of_them))
    next(train(taught))
    assert taught.statistics[0].seen.max() == (2 if all_of_them else 1)


def test_what_turns_learns_omegas_and_all_else_quats():
    taught = trainer(small_recipe(turning_start=4, turning_stop=7), every=10)
    taught.begin(1)
    population = taught.populations[0]
    sizes, speeds = torch.full((taught.count, 3), 0.05 * EXTENT), torch.zeros(taught.count, 9)
    sizes[2], speeds[:3, 0] = 0.2 * EXTENT, 0.06 * EXTENT  # the third is too large
    with torch.no_grad():
        population["log_scales"].copy_(sizes.log() + torch.tensor([0.0, -1.0, -2.0]))
        population["motion"].copy_(speeds)
        population["opacity_logits"].fill_(2.0)
        population["opacity_logits"][1] = 0.0  # the second is too faint
        population["omegas"].fill_(0.1)
    taught.control(4)
    turning = torch.arange(taught.count) == 0
    assert torch.equal((population["omegas"] != 0).any(1), turning)

    def learned(iteration):
        for name in ("omegas", "quats"):
            population[name].grad = torch.ones_like(population[name])
        taught._separate_rotations(iteration)
        return population["omegas"].grad.any(1), population["quats"].grad.any(1)

    omegas, quats = learned(5)
    assert torch.equal(omegas, turning) and torch.equal(quats, ~turning)
    omegas, quats = learned(8)
    assert omegas.all() and quats.all()


def image(model, frame, view=1):
    background = torch.tensor(model.background)
    with torch.no_grad():
        layer = Layer(gaussians=model.at(frame), settings=model.settings, background=background)
        return model.colour(rasterize([layer], VIEWS.cameras[view])[0], VIEWS.cameras[view], frame=frame)


def error(model) -> float:
    """Mean absolute error of all the clip's images."""
    samples = [Sample(view=view, frame=frame) for view in range(2) for frame in range(NUM_FRAMES)]
    errors = [(image(model, sample.frame, sample.view) - VIEWS.image(sample)).abs().mean() for sample in samples]
    return torch.stack(errors).mean().item()


def test_training_shows_the_clip_better_within_its_limits(monkeypatch):
    added = []
    add = stg_training.add
    monkeypatch.setattr(stg_training, "add", lambda p, s, rows: (added.append(len(rows["means"])), add(p, s, rows)))
    recipe = small_recipe(density=replace(small_recipe().density, max_gaussians=900))
    taught = trainer(recipe)
    before = error(taught.model)
    steps = list(train(taught))
    assert error(taught.model) < 0.7 * before
    assert max(step.gaussians for step in steps) <= 900
    assert taught.guided.chosen == [] and len(added) == 2 and min(added) > 0  # both views were sampled
    assert all(parameter.isfinite().all() for parameter in taught.model.parameters())


def test_a_scaled_recipe_trains():
    taught = trainer(scaled_recipe(stg_recipe("n3v", "flame_steak"), 12), every=5)
    assert [step.iteration for step in train(taught)] == list(range(1, 13))


def test_it_goes_on_as_if_it_had_never_stopped():
    whole, begun, resumed = (trainer(small_recipe(), every=2, seed=seed) for seed in (0, 0, 5))
    for _ in train(whole):
        pass
    for step in train(begun):
        if step.iteration == 30:
            break
    resumed.load(deepcopy(begun.state()))
    for _ in train(resumed, start=30):
        pass
    assert whole.model.state_dict().keys() == resumed.model.state_dict().keys()
    for name, values in whole.model.state_dict().items():
        assert torch.equal(values, resumed.model.state_dict()[name]), name


def test_segments_are_saved_under_their_frames_and_show_the_same(tmp_path):
    folder, models = tmp_path / "clip", []
    for first, length in ((0, 3), (3, 2)):
        taught = trainer(scaled_recipe(small_recipe(), 20), first=first, num_frames=length)
        samples = {sample.frame for iteration in range(1, 15) for sample in taught.images.next(iteration)}
        assert samples == set(range(first, first + length))
        taught = trainer(scaled_recipe(small_recipe(), 20), first=first, num_frames=length)
        list(train(taught))
        save_stg(taught.model, folder / f"clip_{first}to{first + length - 1}", 20)
        models.append(taught.model)
    loaded = load_stg(folder, LoadOptions(num_frames=NUM_FRAMES))
    assert loaded.num_gaussians == sum(model.num_gaussians for model in models)
    for frame in range(NUM_FRAMES):
        assert torch.equal(image(loaded, frame), image(models[frame // 3], frame))
    single = load_stg(folder / "clip_0to2", LoadOptions(num_frames=3))
    assert torch.equal(image(single, 1), image(models[0], 1))


def test_segments_that_cannot_be_trained():
    recipe = small_recipe()
    with pytest.raises(ValueError, match="ends at frame 6, the clip at 4"):
        trainer(recipe, first=2, num_frames=5)
    model = trainer(recipe, every=10).model
    other = trainer(recipe, every=10, first=2, num_frames=2).model
    both = type(model)(segments=[*model.parts, *other.parts])
    with pytest.raises(ValueError, match="2 segments"):
        STGTrainer(both, recipe, extent=EXTENT, views=VIEWS, seed=0)


def test_a_whole_clip_of_300_frames_is_one_segment():
    points = small_start(every=10)
    points = StartPoints(
        positions=points.positions.repeat(3, 1),
        colours=points.colours.repeat(3, 1),
        frames=torch.tensor([0.0, 150.0, 290.0]).repeat_interleave(points.count),
    )
    recipe = in_mode(STGRecipe(thinning=THINNINGS[0]), 3)
    model = new_stg(points, recipe, first=0, num_frames=300, near=NEAR, far=FAR, extent=EXTENT)
    assert model.num_frames == 300 and model.parts[0].trbf_centres.max().item() == pytest.approx(290 / 300)
    assert model.at(299).opacities.min() > 0.1 * 0.3


def test_images_of_one_moment_share_the_model(monkeypatch):
    """As if each had the model's pass to itself."""
    recipe = small_recipe(iterations=1)
    together, apart = trainer(recipe), trainer(recipe)
    passes = []
    for one in (together, apart):
        monkeypatch.setattr(one, "gaussians", lambda *words, own=one.gaussians: (passes.append(1), own(*words))[1])
    monkeypatch.setattr(apart, "moment", lambda sample, iteration: sample)
    for one in (together, apart):
        monkeypatch.setattr(one.optimiser, "zero_grad", lambda **_: None)
        assert len(list(train(one))) == 1
    assert len(passes) == 1 + recipe.batch
    for first, second in zip(together.model.parameters(), apart.model.parameters(), strict=True):
        torch.testing.assert_close(first.grad, second.grad, rtol=1e-4, atol=1e-9)


def relocating(**changes) -> STGRecipe:
    """Grows to the limit before guided sampling begins."""
    recipe = small_recipe(guidance=replace(small_recipe().guidance, start=40), box_cull=None)
    density = Density(kind="relocate", start=2, stop=55, every=2, max_gaussians=300, noise=1e3)
    return replace(recipe, density=replace(density, **changes))


def test_relocation_leaves_room_for_guided_sampling(monkeypatch):
    added = []
    add = stg_training.add
    monkeypatch.setattr(stg_training, "add", lambda p, s, rows: (added.append(len(rows["means"])), add(p, s, rows)))
    steps = list(train(trainer(relocating(), every=2)))
    assert max(step.gaussians for step in steps[:39]) == 0.9 * 300
    assert sum(added) > 0 and max(step.gaussians for step in steps) == 300


def test_relocation_grows_and_goes_on(monkeypatch):
    recipe = replace(relocating(), guidance=Guidance(views=0), near_cull=False, near_cull_again=None)
    taught = check_it_grows_and_goes_on(
        lambda seed: trainer(recipe, every=2, seed=seed), stop=29, monkeypatch=monkeypatch
    )
    check_the_look_stays(taught, 60, monkeypatch)


def test_copies_of_what_turns_turn():
    taught = trainer(relocating(noise=0.0), every=2)
    taught.begin(1)
    taught.statistics[0].rows["turning"][:] = 1.0
    count = taught.count
    taught.control(8)
    assert taught.count == int(1.05 * count)
    assert taught.statistics[0].rows["turning"].tolist() == [1.0] * taught.count


def test_relocation_without_a_limit_is_refused():
    with pytest.raises(ValueError, match="give --max_gaussians"):
        trainer(relocating(max_gaussians=None, noise=0.0), every=2)
