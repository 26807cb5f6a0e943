"""Every expert can be fitted to a small clip, saved, and read back to the same picture."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from experts import EXPERTS, LoadOptions
from experts.fit.ed3dgs import ED3DGS_TRACK_RATES, initial_ed3dgs
from experts.fit.ex4dgs import EX4DGS_RATES, initial_ex4dgs
from experts.fit.fourdgaussians import FOURDGAUSSIANS_TRACK_RATES, initial_fourdgaussians
from experts.fit.loop import FitOptions, fit, render
from experts.fit.points import draw, take
from experts.fit.recipes import RECIPES, fit_expert
from experts.fit.tracks import follow_tracks
from tests.experts.small_clip import FAR, NEAR, NUM_FRAMES, camera, small_points, small_views


@pytest.fixture(scope="module")
def points():
    return small_points()


@pytest.fixture(scope="module")
def views(points):
    return small_views(points)


@pytest.mark.parametrize("name", RECIPES)
def test_a_fit_comes_nearer_and_reads_back_as_the_same_picture(name: str, points, views, tmp_path: Path):
    losses: list[float] = []
    expert = fit_expert(
        name, points, views, near=NEAR, far=FAR, iterations=40, progress=lambda _, loss: losses.append(loss)
    )
    first, last = sum(losses[:10]), sum(losses[-10:])
    assert last < 0.75 * first, f"{first / 10:.4f} to {last / 10:.4f}"
    EXPERTS[name].save(expert, tmp_path / name, 40)
    loaded = EXPERTS[name].load(tmp_path / name, LoadOptions(num_frames=NUM_FRAMES))
    for frame in (0, NUM_FRAMES - 1):
        with torch.no_grad():
            again, before = render(loaded, camera(0.2), frame), render(expert, camera(0.2), frame)
        assert torch.equal(again, before)
    assert loaded.settings == expert.settings


def test_the_same_seed_gives_the_same_expert(points, views):
    pictures = []
    for seed in (0, 0, 1):
        expert = initial_ex4dgs(points, near=NEAR, far=FAR)
        fit(expert, EX4DGS_RATES, views, FitOptions(iterations=6, seed=seed))
        pictures.append(render(expert, camera(0.0), 1).detach())
    assert torch.equal(pictures[0], pictures[1])
    assert not torch.equal(pictures[0], pictures[2])


def test_only_named_parameters_and_low_degrees_move(points, views):
    expert = initial_ex4dgs(points, near=NEAR, far=FAR)
    before = {name: value.detach().clone() for name, value in expert.named_parameters()}
    fit(
        expert, {"static.sh": (1e-2, 1e-3), "dynamic.means": (1e-3, 1e-4)}, views, FitOptions(iterations=3, sh_degree=1)
    )
    moved = {name for name, value in expert.named_parameters() if not torch.equal(value, before[name])}
    assert moved == {"static.sh_dc", "static.sh_rest", "dynamic.means"}
    change = (expert.static.sh_rest - before["static.sh_rest"]).abs().amax(dim=(0, 2))
    assert (change[:3] > 0).all() and (change[3:] == 0).all()


def test_a_rate_for_nothing_is_refused(points, views):
    expert = initial_ex4dgs(points, near=NEAR, far=FAR)
    with pytest.raises(ValueError, match=r"no parameter 'static\.colours'"):
        fit(expert, {"static.colours": (1e-2, 1e-3)}, views, FitOptions(iterations=1))


def test_the_first_rate_that_fits_counts(points, views):
    expert = initial_ex4dgs(points, near=NEAR, far=FAR)
    before = expert.static.means.detach().clone()
    fit(expert, {"static.means": (1e-9, 1e-9), "static": (1e-2, 1e-2)}, views, FitOptions(iterations=2))
    assert torch.allclose(expert.static.means, before, atol=1e-7)


def test_every_view_comes_before_any_comes_again(points, views):
    seen = []

    def image(view: int, frame: int):
        seen.append((view, frame))
        return views.image(view, frame)

    counted = type(views)(cameras=views.cameras, numbers=views.numbers, num_frames=NUM_FRAMES, image=image)
    fit(initial_ex4dgs(points, near=NEAR, far=FAR), EX4DGS_RATES, counted, FitOptions(iterations=25))
    assert len(set(seen[:10])) == 10 and len(set(seen[10:20])) == 10 and len(seen) == 25


@pytest.mark.parametrize(
    ("start", "rates"),
    [(initial_ed3dgs, ED3DGS_TRACK_RATES), (initial_fourdgaussians, FOURDGAUSSIANS_TRACK_RATES)],
    ids=["E-D3DGS", "4DGaussians"],
)
def test_networks_learn_the_tracks(start, rates, points):
    """A metre of motion, 300 steps: errors of 1 to 3 cm seen."""
    few = take(points, draw(points, still=100, moving=100, seed=0))
    expert = start(few, track_iterations=1)
    follow_tracks(expert, rates, few, iterations=300)
    for frame in range(NUM_FRAMES):
        with torch.no_grad():
            gaussians = expert.at(frame)
        error = (gaussians.means - few.tracks[:, frame]).norm(dim=1)[few.present[:, frame]]
        assert error.mean() < 0.05
        absent = ~few.present[:, frame]
        if absent.any():
            assert gaussians.opacities[absent].mean() < 0.3
