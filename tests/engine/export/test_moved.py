"""Backgrounds of far training cameras that stand before viewers are behind them in files, and look the same."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from moegs_rasterizer import Camera

from engine.export.cleaning.moved import BEHIND, MovedExpert, Moves, moves_behind_viewers, rig_of
from engine.export.formats import FORMATS
from engine.export.job import Export
from engine.export.pages.page import read_page
from engine.export.players.surroundings import surroundings
from engine.export.quality import QUALITIES
from engine.export.writing import write_export
from engine.runs.experts.images import image_of
from engine.runs.run import Run
from experts.novel_views import NovelViewCulling, novel_view_culling
from experts.splats.container import read_4dgs
from experts.splats.frame_files import frame_files, read_sequence
from tests.small_world import CloudExpert, camera, random_scene, small_run

RADIUS, NEAR = 3.0, 1.0
CAMERAS = 8  # of the ring
OPPOSITE = CAMERAS // 2  # the only one that sees what stands beside the first


def around(degrees: float, radius: float = RADIUS) -> torch.Tensor:
    """A place on a ring around (0, 0, 3), in the middle of the small world."""
    angle = math.radians(degrees)
    return torch.tensor([radius * math.cos(angle), 0.0, 3 + radius * math.sin(angle)])


def looking_inwards(degrees: float) -> Camera:
    place = around(degrees)
    forward = torch.nn.functional.normalize(torch.tensor([0.0, 0.0, 3.0]) - place, dim=0)
    down = torch.tensor([0.0, 1.0, 0.0])
    rotation = torch.stack([torch.linalg.cross(down, forward), down, forward])
    world_to_camera = torch.eye(4)
    world_to_camera[:3, :3], world_to_camera[:3, 3] = rotation, -rotation @ place
    return replace(camera(1), world_to_camera=world_to_camera, fx=40.0, fy=40.0)


RING = [looking_inwards(360 * number / CAMERAS) for number in range(CAMERAS)]
BESIDE = around(5, 2.6)  # next to the first camera, and not in its picture
DEPTH = 0.4  # of that, before a viewer


def culling(cameras: list[Camera]) -> NovelViewCulling:
    return novel_view_culling(NEAR, cameras, device=torch.device("cpu"))


def moves(place: torch.Tensor, shares: dict[int, float], size: float = 0.1, cameras: list[Camera] = RING) -> Moves:
    weights = torch.zeros(len(cameras), 1)
    for number, share in shares.items():
        weights[number] = share
    return moves_behind_viewers(
        cameras, culling(cameras), weights=weights, places=place[None], sizes=torch.tensor([size])
    )


def test_depths_before_viewers_are_exact_on_planes_and_spheres() -> None:
    rig = rig_of(RING, device=torch.device("cpu"))
    between = torch.stack([around(22.5), around(22.5, 2.5), around(22.5, 3.3)])
    assert rig.depths(between).tolist() == pytest.approx([0.0, 0.5, -0.3], abs=0.06)
    row = [replace(camera(1), world_to_camera=torch.eye(4)) for _ in range(4)]
    for number, each in enumerate(row):
        each.world_to_camera[0, 3] = -float(number)
    places = torch.tensor([[0.3, 0.1, 0.4], [2.5, 0.0, -0.2], [9.0, 0.0, 2.0]])
    found = rig_of(row, device=torch.device("cpu")).depths(places)
    assert torch.allclose(found, places[:, 2], atol=1e-5)


def test_what_one_far_camera_shows_moves_along_its_rays_behind_viewers() -> None:
    found = moves(BESIDE, {OPPOSITE: 1.0})
    assert found.rows.tolist() == [True] and 1 < float(found.factors) < 1.2
    assert torch.allclose(found.about[0], RING[OPPOSITE].centre)
    moved = found.about + found.factors[:, None] * (BESIDE - found.about)
    rig = rig_of(RING, device=torch.device("cpu"))
    assert float(rig.depths(BESIDE[None])) == pytest.approx(DEPTH, abs=0.02)
    assert BEHIND * NEAR - 0.15 < float(rig.depths(moved)) <= BEHIND * NEAR  # no farther than needed


def test_what_cameras_show_that_are_close_or_many_stays() -> None:
    shared = {OPPOSITE - 1: 0.5, OPPOSITE: 0.5}
    assert not moves(BESIDE, shared).rows.any()
    large = moves(BESIDE, shared, size=0.33 * NEAR)
    assert large.rows.all()
    assert torch.allclose(large.about[0], (RING[OPPOSITE - 1].centre + RING[OPPOSITE].centre) / 2, atol=1e-5)
    assert not moves(BESIDE, {}, size=0.33 * NEAR).rows.any()  # no training camera tells where to
    assert not moves(around(0, 2.5), {OPPOSITE: 1.0}).rows.any()  # the first sees it from as close as a viewer
    assert not moves(around(12, 1.9), {OPPOSITE: 1.0}).rows.any()  # behind the near plane of new views
    assert not moves(BESIDE, {0: 1.0}).rows.any()  # farther from the first it would be in the scene


def test_in_a_gap_of_the_rig_less_of_one_camera_is_enough() -> None:
    gap, few, many = RING[1:], {2: 0.35, 3: 0.4, 4: 0.25}, {2: 0.28, 3: 0.28, 4: 0.28, 5: 0.16}
    place = around(0, 2.7)  # where the first camera was
    assert moves(place, few, cameras=gap).rows.all()
    assert not moves(place, many, cameras=gap).rows.any()
    assert not moves(BESIDE, {number + 1: share for number, share in few.items()}).rows.any()  # no gap there
    above = place + torch.tensor([0.0, 2.0, 0.0])  # as far from the rig as from a neighbour, and more
    assert not moves(above, few, cameras=gap).rows.any()


@pytest.mark.parametrize("cameras", [RING[:1], [RING[0], RING[0]]])
def test_a_rig_without_an_extent_moves_nothing(cameras: list[Camera]) -> None:
    assert not moves(BESIDE, {0: 1.0}, cameras=cameras).rows.any()


def test_gaussians_are_scaled_about_a_place_and_others_stay_as_they_are(tmp_path: Path) -> None:
    expert = small_run(tmp_path).experts[1]  # of two segments: a frame has half of its rows
    about, factors = torch.full((expert.num_gaussians, 3), 7.0), torch.ones(expert.num_gaussians)
    factors[expert.rows(3).start] = 1.5
    found, source = MovedExpert(expert, Moves(about=about, factors=factors)).at(3), expert.at(3)
    assert torch.allclose(found.means[0], 7 + 1.5 * (source.means[0] - 7))
    assert torch.allclose(found.scales[0], 1.5 * source.scales[0])
    assert torch.equal(found.means[1:], source.means[1:]) and torch.equal(found.scales[1:], source.scales[1:])


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A ring of training cameras, a held-out one behind the first expert's first Gaussian, the second in the middle."""
    made = small_run(tmp_path)
    cameras = [*RING, looking_inwards(5)]
    scene = random_scene(tmp_path, cameras=len(cameras))
    views = tuple(replace(view, camera=each) for view, each in zip(scene.views, cameras, strict=True))
    scene = replace(scene, views=views, train=tuple(range(CAMERAS)), test=(CAMERAS,))
    expert = made.experts[0]
    expert.background = (0.0, 0.0, 0.0)
    with torch.no_grad():
        expert.opacities[:], expert.drift[:2] = -0.5 / 0.4, 0.5  # which is an opacity of 0, and no motion
        for row, place in enumerate([BESIDE, torch.tensor([0.0, 0.3, 3.0])]):
            expert.means[row] = (place - expert.place) / expert.spread + 0.5
            expert.opacities[row] = 1.0
            expert.scales[row] = (0.03 - 0.05) / 0.2  # small: the first camera does not see it
            expert.quats[row] = torch.tensor([0.9, -0.1, -0.1, -0.1])  # no turn
    return replace(made, scene=scene, novel=replace(made.novel, culling=culling(RING)))


def place_of(expert: CloudExpert, means: torch.Tensor) -> bool:
    return bool(((means - expert.at(1).means[0]).norm(dim=1) < 0.02).any())


@pytest.mark.parametrize("kind", [".4dgs", ""])
def test_a_file_looks_as_the_expert_by_its_rules_at_new_views_and_at_training_views(
    run: Run, tmp_path: Path, kind: str
) -> None:
    expert, path = run.experts[0], tmp_path / f"file{kind}"
    job = Export(run=run, expert=expert, quality=QUALITIES["high"], fps=30)
    write_export(job, FORMATS[kind], path, frames=1, facts={})
    if kind:
        written = read_4dgs(path)
    else:
        written = read_sequence(frame_files(path), settings=expert.settings, background=(0.0, 0.0, 0.0))
        assert json.loads((path / "export.json").read_text())["moved_behind_viewers"] == 1
    assert not place_of(expert, written.at(1).means)
    for view in run.scene.views:
        novel = {"novel": run.novel} if view.number in run.scene.test else {}
        source = image_of(expert, view.camera, 1, compute=run.compute, **novel)
        shown = image_of(written, view.camera, 1, compute=run.compute)
        assert float((source - shown).square().mean()) < (1e-4 if kind else 1e-7), view.name
    new = run.scene.views[run.scene.test[0]].camera
    unruled = image_of(expert, new, 1, compute=run.compute)
    ruled = image_of(expert, new, 1, compute=run.compute, novel=run.novel)
    assert float((unruled - ruled).square().mean()) > 1e-3  # the rules hide what would fill the picture


def test_pages_move_nothing(run: Run, tmp_path: Path) -> None:
    job = Export(run=run, expert=run.experts[0], quality=QUALITIES["high"], fps=30)
    write_export(job, FORMATS[".html"], tmp_path / "a.html", frames=1, facts={})
    assert place_of(run.experts[0], read_page(tmp_path / "a.html").experts[0].splats.at(1).means)


def test_an_expert_with_gaussians_moved_keeps_its_own_colour_of_holes(run: Run) -> None:
    run = replace(run, novel=replace(run.novel, coverage_guard=True, hole_colour=(0.9, 0.1, 0.1)))
    expert, all_rows = run.experts[0], torch.ones(run.experts[0].num_gaussians, dtype=torch.bool)
    still = Moves(about=torch.zeros(len(all_rows), 3), factors=torch.ones(len(all_rows)))
    own = surroundings(run, expert, kept=all_rows)
    moved = surroundings(run, MovedExpert(expert, still), kept=all_rows)
    assert own is not None and moved is not None and own.sh is not None and moved.sh is not None
    assert torch.equal(own.sh, moved.sh)
