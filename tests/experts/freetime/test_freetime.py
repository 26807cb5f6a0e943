"""FreeTime as an expert: formulas of motion and lifespan, gates, holds, extreme values."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from experts.base import Expert
from experts.freetime.model import FreeTime
from experts.freetime.recipe import LifeSettings
from tests.experts.freetime.models import NUM_FRAMES, small_model

BELL = LifeSettings(limit=None, sharpness=1.0, still=True, kernel="bell", has_gate=True)


@pytest.mark.parametrize("limit", [None, 5.0])
@pytest.mark.parametrize("still", [True, False])
@pytest.mark.parametrize("sharpness", [1.0, 20.0])
def test_formulas_at_a_frame(limit: float | None, still: bool, sharpness: float) -> None:
    """The second Gaussian at frame 3.5, by hand in double precision."""
    model = small_model(settings=LifeSettings(limit=limit, still=still, sharpness=sharpness))
    values = {name: value.detach().double() for name, value in model.named_parameters()}
    offset = 3.5 - values["times"][1].item()
    raw = values["widths"][1].item()
    width = math.exp(raw) if limit is None else limit / (1 + math.exp(-raw))
    gate = 1 / (1 + math.exp(-sharpness * values["gates"][1].item()))
    lifespan = gate + (1 - gate) * math.exp(-0.5 * (offset / width) ** 2)
    share = 1 - gate if still else 1.0
    shown = model.at(3.5)
    mean = values["gaussians.means"][1] + share * offset * values["velocities"][1]
    torch.testing.assert_close(shown.means[1].double(), mean, rtol=1e-5, atol=1e-6)
    opacity = values["gaussians.opacity_logits"][1].sigmoid().item()
    assert shown.opacities[1].item() == pytest.approx(opacity * lifespan, rel=1e-4)
    assert model.lifespans(3.5)[1].item() == pytest.approx(lifespan, rel=1e-4)
    torch.testing.assert_close(shown.scales[1].double(), values["gaussians.log_scales"][1].exp())
    torch.testing.assert_close(shown.quats.norm(dim=1), torch.ones(6))


def test_a_flat_top_is_held_and_falls_as_the_bell_does() -> None:
    model = small_model(settings=replace(BELL, kernel="flat", has_gate=False))
    with torch.no_grad():
        model.times.fill_(5.0)
        model.widths.fill_(math.log(2.0))
        assert model.log_holds is not None
        model.log_holds.fill_(math.log(3.0))
    assert bool((model.lifespans(2.0) == 1).all()) and bool((model.lifespans(7.9) == 1).all())
    for frame in (0.0, 10.0):  # two frames beyond the hold: one standard deviation
        torch.testing.assert_close(model.lifespans(frame), torch.full((6,), math.exp(-0.5)))


def test_a_hold_of_nothing_is_the_bell() -> None:
    flat = small_model(settings=replace(BELL, kernel="flat"))
    with torch.no_grad():
        flat.log_holds.fill_(-math.inf)
    bell = small_model(settings=BELL)
    for frame in range(NUM_FRAMES):
        torch.testing.assert_close(flat.lifespans(frame), bell.lifespans(frame), rtol=1e-6, atol=1e-7)
        torch.testing.assert_close(flat.at(frame).opacities, bell.at(frame).opacities, rtol=1e-6, atol=1e-7)


def test_an_open_gate_stands_still_and_never_fades() -> None:
    model = small_model(settings=BELL)
    with torch.no_grad():
        model.gates.fill_(200.0)
    first, last = model.at(0), model.at(NUM_FRAMES - 1)
    assert torch.equal(first.means, last.means) and torch.equal(first.means, model.gaussians.means)
    assert torch.equal(first.opacities, last.opacities) and bool((model.lifespans(1000.0) == 1).all())
    moving = small_model(settings=replace(BELL, still=False))
    with torch.no_grad():
        moving.gates.fill_(200.0)
    assert bool((moving.at(0).means != moving.at(NUM_FRAMES - 1).means).any(1).all())


def test_what_lasts_moves_slowly() -> None:
    """SharpTimeGS's rule by hand: 1 + max(1, (s + r)^2) in seconds, 30 frames each."""
    model = small_model(settings=replace(BELL, still="lasting", kernel="flat"))
    with torch.no_grad():
        model.times.fill_(2.0)
        model.velocities.fill_(0.1)
        assert model.log_holds is not None
        model.widths.copy_(torch.tensor([1.0, 30.0, 30.0, 60.0, 1.0, 1e30]).log())
        model.log_holds.copy_(torch.tensor([1.0, 0.0, 30.0, 30.0, 90.0, 0.0]).log())
    divisors = torch.tensor([2.0, 2.0, 5.0, 10.0, 1 + (91 / 30) ** 2, 1e30])
    moved = model.at(7.0).means - model.gaussians.means
    torch.testing.assert_close(moved, (0.5 / divisors)[:, None].repeat(1, 3), rtol=1e-4, atol=1e-6)
    no_gate = replace(BELL, still="lasting", has_gate=False)
    shares = small_model(settings=no_gate).motion_shares(None)
    assert shares is not None and bool((shares <= 0.5).all())
    assert small_model(settings=replace(BELL, still=False)).motion_shares(torch.zeros(6)) is None


def test_a_model_without_gates_ignores_them() -> None:
    model = small_model(settings=replace(BELL, has_gate=False))
    before = model.at(2.0)
    with torch.no_grad():
        model.gates.add_(3.0)
    after = model.at(2.0)
    assert torch.equal(before.means, after.means) and torch.equal(before.opacities, after.opacities)
    assert model.gate_values() is None


def test_the_clearest_frame_is_the_whole_one_nearest_to_the_moment() -> None:
    model = small_model(settings=BELL)
    with torch.no_grad():
        model.times.copy_(torch.tensor([-3.0, 0.2, 4.6, 9.9, 10.4, 99.0]))
    assert model.clearest_frames().tolist() == [0, 0, 5, 10, 10, 10]
    every = torch.stack([model.lifespans(frame) for frame in range(NUM_FRAMES)])
    torch.testing.assert_close(model.lifespans(model.clearest_frames()), every.amax(0))


def test_it_is_an_expert_of_all_its_rows() -> None:
    model = small_model()
    assert isinstance(model, Expert) and model.name == "FreeTime"
    assert model.rows(3) == slice(0, 6) and model.at(3).count == model.num_gaussians == 6
    settings = model.settings
    assert (settings.low_pass, settings.compensate, settings.near, settings.far) == (0.3, False, 0.01, None)
    assert model.background == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("limit", [None, 5.0])
@pytest.mark.parametrize("extreme", [-300.0, 300.0])
def test_extreme_raw_values_have_finite_gradients(limit: float | None, extreme: float) -> None:
    model = small_model(settings=LifeSettings(limit=limit, kernel="flat", sharpness=20.0))
    for name in ("widths", "gates", "log_holds"):
        with torch.no_grad():
            getattr(model, name).fill_(extreme)
        for frame in (0.0, model.times[0].item(), 300.0):
            model.zero_grad()
            shown = model.at(frame)
            (shown.opacities.sum() + shown.means.sum()).backward()
            for key, parameter in model.named_parameters():
                assert parameter.grad is None or bool(parameter.grad.isfinite().all()), (name, key, frame)
        model = small_model(settings=model.life)


def test_holds_belong_to_the_flat_kernel_alone() -> None:
    bell = small_model(settings=BELL)
    with pytest.raises(ValueError, match="kernel 'flat' without holds"):
        FreeTime(
            gaussians=bell.gaussians,
            times=bell.times,
            widths=bell.widths,
            velocities=bell.velocities,
            gates=bell.gates,
            settings=replace(BELL, kernel="flat"),
            num_frames=NUM_FRAMES,
        )
