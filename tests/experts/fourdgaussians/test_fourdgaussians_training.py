"""4DGaussians' training: two stages, its statistics and density control, resuming, on a small clip."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from moegs_rasterizer import Layer, rasterize

from experts import EXPERTS, LoadOptions
from experts.fourdgaussians.model import FourDGaussians
from experts.fourdgaussians.presets import PresetNetwork
from experts.fourdgaussians.recipe import FourDGaussiansRecipe
from experts.fourdgaussians.start import start_model
from experts.fourdgaussians.training import FourDGaussiansTrainer
from experts.training.recipes.recipe import Density
from experts.training.samplers import Sample
from experts.training.start import TrainingStart
from tests.experts.small_clip import NUM_FRAMES, camera, shown
from tests.experts.training.relocating import check_it_grows_and_goes_on, check_the_look_stays
from tests.experts.training.small_views import small_start, small_views, train

NETWORK = PresetNetwork(width=16, channels=4, levels=(1,))
RECIPE = FourDGaussiansRecipe(
    iterations=80,
    coarse_iterations=30,
    rate_iterations=80,
    sh_every=20,
    density=Density(start=15, stop=40, every=10, prune_every=10, max_gaussians=1000),
)


@pytest.fixture(scope="module")
def views():
    return small_views()


def new_trainer(views, recipe: FourDGaussiansRecipe = RECIPE, seed: int = 0) -> FourDGaussiansTrainer:
    start = TrainingStart(points=small_start(every=4), views=views, extent=1.0, network=NETWORK, seed=seed)
    model = start_model(recipe, start)
    return FourDGaussiansTrainer(model, recipe, extent=1.0, views=views, seed=seed)


@torch.no_grad()
def mean_error(trainer: FourDGaussiansTrainer, iteration: int) -> float:
    """L1 over all training images, as an iteration shows them."""
    errors = []
    for view, seen_from in enumerate(trainer.views.cameras):
        for frame in range(NUM_FRAMES):
            sample = Sample(view=view, frame=frame)
            layer = Layer(
                gaussians=trainer.gaussians(sample, iteration),
                settings=trainer.model.settings,
                background=trainer.background(),
            )
            errors.append((rasterize([layer], seen_from)[0].colour - trainer.views.image(sample)).abs().mean())
    return float(torch.stack(errors).mean())


def test_both_stages_come_nearer_and_the_model_reads_back(views, tmp_path: Path) -> None:
    """Mean L1 of the clip seen: 0.225 at the start, 0.162 after the coarse stage, 0.104 after the fine one."""
    trainer = new_trainer(views)
    coarse, counts, errors = RECIPE.coarse_iterations, [trainer.count], [mean_error(trainer, 1)]
    for step in train(trainer):
        if step.iteration in (coarse, RECIPE.iterations):
            counts.append(step.gaussians)
            errors.append(mean_error(trainer, step.iteration))
    assert errors[1] < 0.85 * errors[0] and errors[2] < 0.85 * errors[1], errors
    assert counts[0] < counts[1] < counts[2], counts
    entry = EXPERTS[FourDGaussians.name]
    entry.save(trainer.model, tmp_path, RECIPE.iterations)
    loaded = entry.load(tmp_path, LoadOptions())
    assert loaded.num_frames == NUM_FRAMES
    for frame in (0, NUM_FRAMES - 1):
        with torch.no_grad():
            assert torch.equal(shown(loaded, camera(0.2), frame), shown(trainer.model, camera(0.2), frame))


def test_the_coarse_stage_knows_no_time_and_the_fine_one_begins_afresh(views) -> None:
    trainer = new_trainer(views)
    network = {name: value.detach().clone() for name, value in trainer.model.deformation.named_parameters()}
    steps = train(trainer)
    for _ in range(RECIPE.coarse_iterations):
        next(steps)
    assert all(torch.equal(value, network[name]) for name, value in trainer.model.deformation.named_parameters())
    assert trainer.regulariser(RECIPE.coarse_iterations) is None
    first, last = (trainer.gaussians(Sample(view=0, frame=frame), 30) for frame in (0, NUM_FRAMES - 1))
    assert torch.equal(first.means, last.means) and torch.equal(first.means, trainer.model.gaussians.means)
    assert first.sh is not None and first.sh.shape[1] == 4  # degree 1 after 20 iterations
    old, rate = trainer.optimiser, trainer.optimiser.param_groups[0]["lr"]
    next(steps)
    assert trainer.optimiser is not old
    assert {int(state["step"]) for state in trainer.optimiser.state.values()} == {1}
    assert trainer.optimiser.param_groups[0]["lr"] > rate  # the schedule begins again
    assert any(not torch.equal(value, network[name]) for name, value in trainer.model.deformation.named_parameters())
    moved = [trainer.gaussians(Sample(view=0, frame=frame), 31).means for frame in (0, NUM_FRAMES - 1)]
    assert not torch.equal(*moved)


@pytest.mark.parametrize("together", [True, False])
def test_a_batch_counts_as_one_image_or_as_several(views, together: bool) -> None:
    trainer = new_trainer(views, replace(RECIPE, sum_batch_gradients=together))
    count = trainer.count
    gradients, radii = torch.zeros(2, count, 2), torch.zeros(2, count, dtype=torch.int32)
    gradients[0, 0], gradients[1, 0] = torch.tensor([3.0, 0.0]), torch.tensor([0.0, 4.0])
    gradients[0, 1], gradients[1, 1] = torch.tensor([1.0, 1.0]), torch.tensor([-1.0, -1.0])
    radii[0, :2], radii[1, :2], radii[1, 2] = 5, 7, 2
    seen = [
        SimpleNamespace(screen_gradients=lambda of=1, i=i: of * gradients[i], splat=SimpleNamespace(radii=radii[i]))
        for i in (0, 1)
    ]
    trainer.observe(seen, 1)  # type: ignore[arg-type]
    statistics = trainer.statistics[0]
    assert statistics.largest_radius[:4].tolist() == [7, 7, 2, 0]
    if together:
        assert statistics.gradients[:2].tolist() == [5.0, 0.0] and statistics.seen[:4].tolist() == [1, 1, 1, 0]
    else:  # each as if it were alone: the loss's mean over two images undone
        torch.testing.assert_close(statistics.gradients[:2], torch.tensor([14.0, 4 * 2**0.5]))
        assert statistics.seen[:4].tolist() == [2, 2, 1, 0]


@pytest.mark.parametrize("at_every_frame", [True, False])
def test_what_appears_at_some_frame_stays(views, at_every_frame: bool) -> None:
    trainer = new_trainer(views, replace(RECIPE, faint_at_every_frame=at_every_frame))
    trainer.model.gaussians.opacity_logits.data[:10] = -9.0  # faint before deformation, and at all frames if it stays
    trainer.model.gaussians.opacity_logits.data[5:10] = -8.0
    trainer.model.at = lambda frame: SimpleNamespace(  # deformation brings 5 to 9 out at the last frame
        opacities=(
            trainer.model.gaussians.opacity_logits + 8 * (frame == NUM_FRAMES - 1) * (torch.arange(100) // 5 == 1)
        ).sigmoid()
    )
    trainer.control(RECIPE.coarse_iterations + 20)
    assert trainer.count == (95 if at_every_frame else 90)


def test_nothing_is_pruned_below_prune_above(views) -> None:
    density = replace(RECIPE.density, prune_above=100)
    trainer = new_trainer(views, replace(RECIPE, density=density))
    trainer.model.gaussians.opacity_logits.data[:10] = -9.0
    trainer.control(20)
    assert trainer.count == 100


@pytest.mark.parametrize(("iteration", "left"), [(20, 100), (30 + 20, 100), (30 + 30, 93)])
def test_sizes_count_after_the_first_reset_of_a_stage(views, iteration: int, left: int) -> None:
    density = replace(RECIPE.density, reset_every=20, largest_scale=0.1, gradient=1e9)
    trainer = new_trainer(views, replace(RECIPE, density=density))
    trainer.model.gaussians.log_scales.data[:] = -5.0
    trainer.model.gaussians.log_scales.data[:7] = 0.0
    trainer.control(iteration)
    assert trainer.count == left
    assert bool((trainer.model.gaussians.opacity_logits.sigmoid() <= 0.0101).all()) == (iteration % 30 == 20)


@pytest.mark.parametrize("stop", [17, 30, 52])
def test_resuming_in_either_stage_is_exact(views, stop: int) -> None:
    recipe = replace(RECIPE, iterations=66)
    whole = new_trainer(views, recipe)
    for step in train(whole):
        if step.iteration == stop:
            saved = deepcopy(whole.state())
    resumed = new_trainer(views, recipe, seed=5)
    resumed.load(saved)
    for _ in train(resumed, start=stop):
        pass
    found, expected = resumed.model.state_dict(), whole.model.state_dict()
    assert resumed.count == whole.count > 100 and found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


def test_a_coarse_stage_longer_than_the_training_is_refused(views) -> None:
    with pytest.raises(ValueError, match="coarse_iterations is 30, more than the 20 iterations"):
        new_trainer(views, replace(RECIPE, iterations=20))


def test_harmonics_above_the_recipes_degree_stay_zero_in_the_saved_model(views) -> None:
    """Training does not show them, so neither the Gaussians nor the network may add any."""
    trainer = new_trainer(views, replace(RECIPE, sh_degree=1, sh_every=5, iterations=50))
    for _ in train(trainer):
        pass
    sh = trainer.model.at(3).sh.detach()
    assert bool((sh[:, 4:] == 0).all()) and bool((sh[:, :4] != 0).any(2).all())
    last = trainer.model.get_submodule(trainer.harmonics_heads[0])
    assert bool((last.weight[12:] == 0).all()) and bool((last.weight[:12] != 0).any(1).all())


def relocating(**changes) -> FourDGaussiansRecipe:
    density = Density(kind="relocate", start=5, stop=40, every=5, max_gaussians=160, noise=1e3)
    return replace(RECIPE, density=replace(density, **changes))


@pytest.mark.parametrize("stop", [17, 47])
def test_relocation_grows_in_both_stages_and_goes_on(views, stop: int, monkeypatch: pytest.MonkeyPatch) -> None:
    taught = check_it_grows_and_goes_on(
        lambda seed: new_trainer(views, relocating(), seed), stop=stop, monkeypatch=monkeypatch
    )
    check_the_look_stays(taught, 80, monkeypatch)


def test_relocation_happens_at_the_iterations_of_each_stage(views) -> None:
    trainer = new_trainer(views, relocating(max_gaussians=10_000))
    grown, last = [], trainer.count
    for iteration in range(1, 81):
        trainer.control(iteration)
        if trainer.count != last:
            grown.append(iteration)
        last = trainer.count
    assert grown == [10, 15, 20, 25, 30, *range(40, 70, 5)]


@pytest.mark.parametrize("at_every_frame", [True, False])
def test_what_appears_at_some_frame_is_not_dead(views, at_every_frame: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = new_trainer(views, replace(relocating(), faint_at_every_frame=at_every_frame))
    trainer.model.gaussians.opacity_logits.data[:7] = -9.0
    shown_somewhere = torch.ones(trainer.count)
    shown_somewhere[:3] = 1e-4
    monkeypatch.setattr(trainer, "largest_opacities", lambda: shown_somewhere)
    trainer.control(40)
    left = int((trainer.model.gaussians.opacity_logits == -9.0).sum())
    assert left == (4 if at_every_frame else 0)


def test_relocation_without_a_limit_is_refused(views) -> None:
    with pytest.raises(ValueError, match="give --max_gaussians"):
        new_trainer(views, relocating(max_gaussians=None))
