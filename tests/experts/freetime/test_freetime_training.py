"""FreeTime's training: its losses by hand, what its switches leave to learn, that it learns and goes on exactly."""

from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from moegs_rasterizer import Layer, rasterize

from experts import EXPERTS, LoadOptions
from experts.freetime import training as freetime_training
from experts.freetime.model import FreeTime
from experts.freetime.new_model import model_from_start, start_model
from experts.freetime.recipe import RATES, FreeTimeRecipe, Relocation
from experts.freetime.starts.first_gaussians import FreeTimeStart
from experts.freetime.training import FreeTimeTrainer
from experts.training.recipes.recipe import Rate, scaled_recipe
from experts.training.samplers import Sample
from experts.training.start import TrainingStart
from tests.experts.freetime.models import clip_start
from tests.experts.small_clip import NUM_FRAMES, camera, shown
from tests.experts.training.small_views import small_start, small_views, train

EXTENT = 2.0
VIEWS = small_views()
NOT_MOVED = Relocation(kind="none")
RECIPE = replace(scaled_recipe(FreeTimeRecipe(), 120), relocation=NOT_MOVED, gaussians_per_pixel=0.4)


def new_trainer(recipe: FreeTimeRecipe = RECIPE, *, seed: int = 0) -> FreeTimeTrainer:
    model = model_from_start(clip_start(), recipe, NUM_FRAMES)
    model.background = (1.0, 1.0, 1.0)  # the clip's
    return FreeTimeTrainer(model, recipe, extent=EXTENT, views=VIEWS, seed=seed)


@torch.no_grad()
def error(model: FreeTime) -> float:
    """Mean absolute error of all the clip's images."""
    errors = []
    for view, seen_from in enumerate(VIEWS.cameras):
        for frame in range(NUM_FRAMES):
            layer = Layer(gaussians=model.at(frame), settings=model.settings, background=torch.ones(3))
            image = rasterize([layer], seen_from)[0].colour
            errors.append((image - VIEWS.image(Sample(view=view, frame=frame))).abs().mean())
    return torch.stack(errors).mean().item()


def values_of(count: int = 5) -> FreeTimeStart:
    generator = torch.Generator().manual_seed(0)
    return FreeTimeStart(
        means=torch.randn(count, 3, generator=generator),
        colours=torch.rand(count, 3, generator=generator),
        scales=0.1 + torch.rand(count, 3, generator=generator),
        opacities=torch.tensor([0.1, 0.5, 0.5, 0.2, 0.9]),
        times=torch.tensor([5.0, 0.0, 3.3, 9.0, 10.0]),
        durations=torch.tensor([3.0, 2.0, 4.0, 60.0, 1.0]),
        velocities=torch.randn(count, 3, generator=generator),
        gates=torch.tensor([0.9, 0.02, 0.1, 0.6, 0.02]),
    )


def test_a_model_shows_what_its_start_says() -> None:
    start = values_of()
    model = model_from_start(start, FreeTimeRecipe(velocities="neighbours"), 11)
    gates = model.gate_values()
    assert gates is not None and model.num_frames == 11 and model.life.limit == 5.0
    torch.testing.assert_close(gates, start.gates)
    torch.testing.assert_close(model.durations(), torch.tensor([3.0, 2.0, 4.0, 4.5, 1.0]))  # below the longest
    torch.testing.assert_close(model.gaussians.opacity_logits.sigmoid(), start.opacities)
    for name in ("times", "velocities"):
        assert torch.equal(getattr(model, name), getattr(start, name))
    shown_there = model.at(3.3)
    torch.testing.assert_close(shown_there.scales, start.scales)
    assert torch.equal(shown_there.means[2], start.means[2])
    assert shown_there.opacities[2].item() == pytest.approx(0.5)
    assert shown_there.sh is not None
    torch.testing.assert_close(0.5 + 0.28209479 * shown_there.sh[:, 0], start.colours)


def test_gates_of_other_kinds() -> None:
    start = values_of()
    published = model_from_start(start, FreeTimeRecipe(gate="published"), 11)
    assert published.life.sharpness == 20 and published.gates.tolist() == [-1.0] * 5
    gates = published.gate_values()
    assert gates is not None and gates[0].item() == pytest.approx(1 / (1 + math.exp(20)), rel=1e-3)
    none = model_from_start(start, FreeTimeRecipe(gate="none"), 11)
    assert none.gate_values() is None and none.life.limit is None and not none.life.still
    torch.testing.assert_close(none.durations(), values_of().durations)  # no longest one


def test_velocities_and_holds_of_other_kinds() -> None:
    for kind in ("zero", "fixed"):
        recipe = replace(RECIPE, velocities=kind)  # type: ignore[arg-type]
        start = TrainingStart(points=small_start(every=4), views=VIEWS, extent=EXTENT, seed=0)
        assert not start_model(recipe, start).velocities.any()
    flat = model_from_start(values_of(), FreeTimeRecipe(kernel="flat", first_hold=0.2), 11)
    assert flat.log_holds is not None and flat.log_holds.exp().tolist() == pytest.approx([0.2] * 5)


def test_rates_follow_the_switches() -> None:
    assert "log_holds" not in FreeTimeRecipe().own_rates()
    assert FreeTimeRecipe(kernel="flat").own_rates() == RATES
    assert FreeTimeRecipe(velocities="fixed").own_rates()["velocities"] == Rate(first=0.0)
    assert FreeTimeRecipe(gate="published").own_rates()["gates"].first == pytest.approx(1e-3)


def test_the_rule_of_motion_of_a_recipe() -> None:
    assert FreeTimeRecipe().life().still is True and FreeTimeRecipe(gate="none").life().still is False
    assert FreeTimeRecipe(still=False).life().still is False
    for gate in ("ours", "none"):
        assert FreeTimeRecipe(still="lasting", gate=gate).life().still == "lasting"  # type: ignore[arg-type]


def test_what_lasts_moves_slowly_in_training_and_relocation(monkeypatch: pytest.MonkeyPatch) -> None:
    relocation = Relocation(start=1, stop=9, every=2, kind="copies_in_time")
    trainer = new_trainer(replace(RECIPE, iterations=3, still="lasting", kernel="flat", relocation=relocation))
    asked: list[Any] = []
    monkeypatch.setattr(freetime_training, "relocate", lambda population, **settings: asked.append(settings) or 0)
    for _ in train(trainer):
        pass
    shares = trainer.model.motion_shares(None)
    assert len(asked) == 1 and shares is not None and torch.equal(asked[0]["motion_shares"], shares)


def test_a_batch_shows_one_frame_from_different_cameras() -> None:
    apart, together = new_trainer(replace(RECIPE, batch=2)), new_trainer(replace(RECIPE, batch=2, same_frame=True))
    drawn = [apart.images.next(iteration) for iteration in range(1, 21)]
    assert any(one.frame != other.frame for one, other in drawn)
    drawn = [together.images.next(iteration) for iteration in range(1, 41)]
    assert all(one.frame == other.frame and one.view != other.view for one, other in drawn)
    assert {one.frame for one, _ in drawn} == set(range(NUM_FRAMES))


def test_going_on_with_batches_of_one_frame_is_exact() -> None:
    recipe = replace(RECIPE, iterations=12, batch=2, same_frame=True, rates_by_batch=True, still="lasting")
    whole, resumed = new_trainer(recipe), new_trainer(recipe, seed=5)
    for step in train(whole):
        if step.iteration == 7:
            saved = deepcopy(whole.state())
    resumed.load(saved)
    for _ in train(resumed, start=7):
        pass
    for name, value in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], value), name


def test_rates_follow_the_batch() -> None:
    one, four = new_trainer(replace(RECIPE, batch=4)), new_trainer(replace(RECIPE, batch=4, rates_by_batch=True))
    capped = new_trainer(replace(RECIPE, batch=4, rates_by_batch=True, same_frame=True))  # of two cameras
    for trainer in (one, four, capped):
        trainer.begin(60)
    for plain, scaled, by_two in zip(*(t.optimiser.param_groups for t in (one, four, capped)), strict=True):
        assert scaled["lr"] == pytest.approx(2 * plain["lr"]) and by_two["lr"] == pytest.approx(2**0.5 * plain["lr"])
        assert scaled["betas"] == (pytest.approx(0.9**4), pytest.approx(0.999**4))
        assert scaled["eps"] == pytest.approx(plain["eps"] / 2) and plain["betas"] == (0.9, 0.999)


def test_the_budget_grows_with_the_image_up_to_a_limit() -> None:
    recipe = FreeTimeRecipe()
    assert recipe.budget(640 * 360) == 149_760 and recipe.budget(1352 * 1014) == 500_000
    assert replace(recipe, gaussians_per_pixel=10.0).budget(100) == 1000


def test_relocation_scales_with_the_training() -> None:
    full, short = FreeTimeRecipe().relocation, scaled_recipe(FreeTimeRecipe(), 7500).relocation
    assert [step for step in range(30001) if full.happens(step)] == list(range(600, 25000, 100))
    assert [step for step in range(7501) if short.happens(step)] == list(range(150, 6250, 50))


def test_the_start_follows_the_recipe() -> None:
    """Its number, its kind of gates, and the same for every seed."""
    start = TrainingStart(points=small_start(every=4), views=VIEWS, extent=EXTENT, seed=0)
    models = [start_model(RECIPE, replace(start, seed=seed)) for seed in (0, 5)]
    assert models[0].num_gaussians == RECIPE.budget(40 * 30) == 480 and models[0].num_frames == NUM_FRAMES
    assert all(torch.equal(value, models[1].state_dict()[name]) for name, value in models[0].state_dict().items())
    few = start_model(replace(RECIPE, density=replace(RECIPE.density, max_gaussians=50)), start)
    assert few.num_gaussians == 50
    none = start_model(replace(RECIPE, gate="none"), start)
    assert none.gate_values() is None and none.durations()[0].item() == pytest.approx(3 * NUM_FRAMES)
    still = start_model(replace(RECIPE, moving="none"), start).gate_values()
    assert still is not None and bool((still > 0.89).all())
    with pytest.raises(ValueError, match='from "clouds" need start points of several frames'):
        start_model(replace(RECIPE, moving="clouds"), start)


def test_the_4d_regulariser_by_hand() -> None:
    """Mean of opacity x lifespan; the gradient of o is s'(o) w / n, and lifespans get none."""
    trainer = new_trainer()
    model: Any = trainer.model
    term = trainer.shown_opacity(3)
    opacities, lifespans = model.gaussians.opacity_logits.detach().sigmoid(), model.lifespans(3).detach()
    assert term.item() == pytest.approx((opacities * lifespans).double().mean().item(), rel=1e-5)
    term.backward()
    expected = opacities * (1 - opacities) * lifespans / len(lifespans)
    torch.testing.assert_close(model.gaussians.opacity_logits.grad, expected)
    assert all(getattr(model, name).grad is None for name in ("times", "widths", "gates"))


def test_the_image_loss_has_the_regulariser_of_its_moment() -> None:
    image, target = torch.rand(3, 30, 40), torch.rand(3, 30, 40)
    seen = SimpleNamespace(image=image, target=target, sample=Sample(view=0, frame=3))
    trainer = new_trainer()
    plain = replace(RECIPE, regularise_4d=0.0)
    losses = {}
    for name, recipe in {"all": RECIPE, "plain": plain, "squares": replace(plain, l2=0.25)}.items():
        trainer.recipe = recipe
        losses[name] = trainer.image_loss([seen], 1).item()  # type: ignore[list-item]
        losses[f"two, {name}"] = trainer.image_loss([seen, seen], 1).item()  # type: ignore[list-item]
    assert losses["all"] - losses["plain"] == pytest.approx(0.01 * trainer.shown_opacity(3).item(), rel=1e-3)
    assert losses["two, all"] == pytest.approx(2 * losses["all"], rel=1e-5)  # a sum over images of one moment
    absolute, squares = (image - target).abs().mean().item(), (image - target).square().mean().item()
    assert losses["squares"] - losses["plain"] == pytest.approx(0.8 * 0.25 * (squares - absolute), rel=1e-3)


def test_lpips_is_fed_minus_one_to_one() -> None:
    image, target = torch.rand(2, 3, 30, 40)
    seen = SimpleNamespace(image=image.requires_grad_(), target=target, sample=Sample(view=0, frame=3))
    trainer = new_trainer()
    plain = trainer.image_loss([seen], 1).item()  # type: ignore[list-item]
    assert not trainer.needs_lpips
    trainer.recipe = replace(RECIPE, lpips=0.1)
    assert trainer.needs_lpips
    with pytest.raises(ValueError, match="has no network"):
        trainer.image_loss([seen], 1)  # type: ignore[list-item]
    trainer.lpips = lambda one, other: (one - 3 * other).mean()
    loss = trainer.image_loss([seen], 1)  # type: ignore[list-item]
    expected = ((2 * image - 1) - 3 * (2 * target - 1)).mean().item()
    assert loss.item() - plain == pytest.approx(0.1 * expected, rel=1e-3)
    two = trainer.image_loss([seen, seen], 1)  # type: ignore[list-item]
    assert two.item() == pytest.approx(2 * loss.item(), rel=1e-5)


def test_regularisers_by_hand() -> None:
    trainer = new_trainer(replace(RECIPE, kernel="flat", life_penalty=0.5, gate_penalty=0.25, gate_penalty_from=10))
    model: Any = trainer.model
    scales = 0.01 * 6.5 / EXTENT * model.gaussians.log_scales.detach().exp().mean().item()
    lives = model.durations().detach() * math.sqrt(2 * math.log(255)) + model.log_holds.detach().exp()
    early = scales + 0.5 * (1 / lives).mean().item()
    first = trainer.regulariser(10)
    assert first is not None and first.item() == pytest.approx(early, rel=1e-5)
    trainer.statistics[0].rows["shown"][:100] = 1.0  # what no image has shown keeps its gate
    later = trainer.regulariser(11)
    shut = (1 - model.gate_values().detach())[:100].sum().item() / trainer.count
    assert later is not None and later.item() == pytest.approx(early + 0.25 * shut, rel=1e-5)
    nothing = replace(RECIPE, scale_penalty=0.0, gate_penalty=0.0)
    assert new_trainer(nothing).regulariser(100) is None


def test_what_an_image_does_not_show_is_not_counted() -> None:
    trainer, count = new_trainer(), new_trainer().count
    opacities = torch.full((count,), 0.5)
    opacities[3] = 0.9 / 255
    radii = torch.full((count,), 4, dtype=torch.int32)
    radii[5] = 0
    seen = SimpleNamespace(
        gaussians=SimpleNamespace(opacities=opacities),
        splat=SimpleNamespace(radii=radii),
        screen_gradients=lambda of: torch.full((count, 2), 3.0),
    )
    trainer.observe([seen], 1)  # type: ignore[list-item]
    rows = trainer.statistics[0].rows
    assert rows["shown"].nonzero().squeeze(1).tolist() == [row for row in range(count) if row not in (3, 5)]
    assert rows["unseen"].nonzero().squeeze(1).tolist() == [3, 5] and rows["gradients"][3] == 0
    trainer.statistics[0].clear()
    assert rows["shown"].sum() == count - 2 and trainer.statistics[0].seen.sum() == 0
    opacities[3] = 0.5
    trainer.observe([seen], 2)  # type: ignore[list-item]
    assert trainer.statistics[0].rows["unseen"].nonzero().squeeze(1).tolist() == [5]
    assert trainer.statistics[0].rows["unseen"][5] == 2


def test_dead_is_what_no_frame_and_no_image_shows() -> None:
    trainer = new_trainer()
    model: Any = trainer.model
    with torch.no_grad():
        model.gates.fill_(-9.0)
        model.widths.fill_(0.0)  # 2.5 frames
        model.times[:4] = torch.tensor([-30.0, 40.0, 4.9, 2.0])
        model.gaussians.opacity_logits[3] = -9.0
        model.gaussians.opacity_logits[4:] = 1.0
    assert trainer.never_seen()[:4].tolist() == [True, True, False, True] and not trainer.never_seen()[4:].any()
    trainer.statistics[0].rows["unseen"][10] = 2 * 2 * NUM_FRAMES
    trainer.statistics[0].rows["unseen"][11] = 2 * 2 * NUM_FRAMES - 1
    assert trainer.never_seen().nonzero().squeeze(1).tolist() == [0, 1, 3, 10]


def test_relocation_is_asked_for_at_its_times_with_the_trainings_values(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []
    relocation = Relocation(start=3, stop=20, every=5, dead_below=0.01, most_share=0.1, kind="copies_in_time")
    trainer = new_trainer(replace(RECIPE, iterations=22, relocation=relocation))

    def moves_the_second(population: Any, **settings: Any) -> int:
        assert population is trainer.populations[0] and float(settings["gradients"].sum()) > 0
        asked.append(settings)
        trainer.statistics[0].rows["unseen"][:3] = 7.0
        population["means"].data[1:4, 0] += 0.1  # in place, as rows are overwritten
        return 1

    monkeypatch.setattr(freetime_training, "relocate", moves_the_second)
    iterations = []
    for step in train(trainer):
        if len(asked) > len(iterations):
            iterations.append(step.iteration)
            assert trainer.statistics[0].rows["unseen"][:3].tolist() == [7.0, 0.0, 0.0]  # it begins to be seen anew
            assert float(trainer.statistics[0].gradients.sum()) == 0
    assert iterations == [5, 10, 15]
    first = asked[0]
    assert (first["kind"], first["dead_below"], first["most_share"]) == ("copies_in_time", 0.01, 0.1)
    assert first["width_limit"] == 5.0 and first["generator"] is trainer.generator
    assert first["also_dead"].dtype == first["shown"].dtype == torch.bool and len(first["shown"]) == trainer.count
    assert bool(((first["motion_shares"] > 0) & (first["motion_shares"] < 1)).all())


def test_it_learns_a_moving_body_and_reads_back(tmp_path: Path) -> None:
    """Mean L1 of the clip, which has a body that crosses and one that comes late: from 0.229 to 0.104."""
    trainer = new_trainer()
    before, count = error(trainer.model), trainer.count
    steps = list(train(trainer))
    after = error(trainer.model)
    assert after < 0.6 * before, (before, after)
    assert {step.gaussians for step in steps} == {count} == {480}
    moved = (trainer.model.velocities.detach() != 0).any(1)
    assert bool(moved.any()) and all(parameter.isfinite().all() for parameter in trainer.model.parameters())
    spec = EXPERTS["FreeTime"]
    spec.save(trainer.model, tmp_path, 120)
    loaded = spec.load(tmp_path, LoadOptions())
    for frame in (0, NUM_FRAMES - 1):
        assert torch.equal(shown(loaded, camera(0.2), frame), shown(trainer.model, camera(0.2), frame))


def test_fixed_velocities_stay_zero() -> None:
    trainer = new_trainer(replace(RECIPE, iterations=10, velocities="fixed"))
    list(train(trainer))
    assert bool((trainer.model.velocities == 0).all())


@pytest.mark.parametrize(
    "changes",
    [
        {"gate": "none"},
        {"gate": "published"},
        {"still": False},
        {"kernel": "flat", "life_penalty": 1e-4},
        {"velocities": "zero"},
        {"l2": 0.5},
        {"batch": 2},
    ],
)
def test_every_kind_trains_and_goes_on_exactly(changes: dict[str, Any]) -> None:
    recipe = replace(RECIPE, iterations=30, gate_penalty_from=5, **changes)
    whole, resumed = new_trainer(recipe), new_trainer(recipe, seed=5)
    losses = []
    for step in train(whole):
        if step.iteration == 13:
            saved = deepcopy(whole.state())
        losses.append(step.loss)
    resumed.load(saved)
    for _ in train(resumed, start=13):
        pass
    assert losses[-1] is not None and math.isfinite(losses[-1])
    for name, value in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], value), name
    for name, value in whole.statistics[0].rows.items():
        assert torch.equal(resumed.statistics[0].rows[name], value), name


def test_a_model_of_another_recipe_is_refused() -> None:
    model = model_from_start(values_of(), FreeTimeRecipe(gate="none"), NUM_FRAMES)
    with pytest.raises(ValueError, match="make it by its recipe"):
        FreeTimeTrainer(model, RECIPE, extent=EXTENT, views=VIEWS, seed=0)


def test_the_table_of_all_experts_does_not_relocate_it() -> None:
    with pytest.raises(ValueError, match=r"relocates by a table of its own; leave it out, and see relocation\.kind"):
        new_trainer(replace(RECIPE, density=replace(RECIPE.density, kind="relocate")))
