"""Files do without what no training view shows and without floaters; what training views show stays."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from moegs_rasterizer import Camera, Gaussians

import engine.export.cleaning.kept
from engine.export.cleaning.kept import kept_rows
from engine.export.cleaning.neighbours import NEIGHBOURS, between_neighbours
from engine.export.cleaning.weights import WIDTH, pixel_weights
from engine.export.formats import FORMATS
from engine.export.job import Export
from engine.export.pages.page import read_page
from engine.export.quality import QUALITIES
from engine.export.writing import write_export
from engine.runs.experts.images import image_of
from engine.runs.run import Run
from experts.base import CheckpointError
from experts.novel_views import novel_view_culling
from experts.splats.container import coded_4dgs, read_4dgs
from experts.splats.frame_files import frame_files, read_sequence
from experts.training.generalisation.removal import image_weights
from scenes import View
from tests.small_world import CloudExpert, camera, small_run

FLOATER, REAL = (0.25, 0.0, 0.3), (0.1, 0.0, 0.35)  # before cam00; of the training cameras, cam01 sees the real one
LEAST = QUALITIES["high"].least


def plant(run: Run, *places: tuple[float, float, float], size: float = 0.02) -> Run:
    """Puts the first expert's first Gaussians to places that they do not leave, as opaque balls."""
    expert = run.experts[0]
    with torch.no_grad():
        for row, place in enumerate(places):
            expert.means[row] = (torch.tensor(place) - expert.place) / expert.spread + 0.5
            expert.drift[row], expert.opacities[row], expert.scales[row] = 0.5, 1.0, (size - 0.05) / 0.2
            expert.quats[row] = torch.tensor([0.9, -0.1, -0.1, -0.1])  # no turn
    return run


def with_culling(run: Run, near: float) -> Run:
    cameras = [run.scene.views[view].camera for view in run.scene.train]
    culling = novel_view_culling(near, cameras, device=run.device)
    return replace(run, novel=replace(run.novel, culling=culling))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return with_culling(plant(small_run(tmp_path), FLOATER, REAL), 1.0)


def has(means: torch.Tensor, place: tuple[float, float, float]) -> bool:
    return bool(((means - torch.tensor(place)).norm(dim=1) < 0.02).any())


def written(run: Run, path: Path, kind: str) -> Path:
    job = Export(run=run, expert=run.experts[0], quality=QUALITIES["high"], fps=30)
    write_export(job, FORMATS[kind], path, frames=1, facts={})
    return path


def test_a_floater_beside_the_training_images_is_in_no_file_and_pages_have_a_rule_for_it(
    run: Run, tmp_path: Path
) -> None:
    path = written(run, tmp_path / "a.4dgs", ".4dgs")
    page = read_page(written(run, tmp_path / "a.html", ".html"))
    folder = written(run, tmp_path / "frames", "")
    frames = read_sequence(frame_files(folder), settings=run.experts[0].settings, background=(0.0, 0.0, 0.0))
    for splats in (read_4dgs(path), frames):
        assert not has(splats.at(1).means, FLOATER)
        assert has(splats.at(1).means, REAL)
    shown = page.experts[0].splats.at(1)
    assert has(shown.means, FLOATER) and has(shown.means, REAL)
    assert page.novel.culling is not None
    left = page.novel.culling.cull(shown, run.scene.views[run.scene.test[0]].camera).opacities > 0
    assert not has(shown.means[left], FLOATER) and has(shown.means[left], REAL)
    told = json.loads((folder / "export.json").read_text())["left_out"]["Ex4DGS"]
    assert told["of"] == run.experts[0].num_gaussians and told["floaters"] >= 1


@pytest.mark.parametrize("kind", [".4dgs", ".html"])
def test_gaussians_astray_disturb_no_others(run: Run, tmp_path: Path, kind: str) -> None:
    """Their places would make the steps of a grid too large for all others, or overflow it."""
    astray = [(1e30, 0.0, 0.0), (-1e20, 1e9, 0.0)]
    facts = replace(run, experts=(plant(run, *astray).experts[0], *run.experts[1:]))
    job = Export(run=facts, expert=facts.experts[0], quality=QUALITIES["high"], fps=30)
    found = write_export(job, FORMATS[kind], tmp_path / f"a{kind}", frames=1, facts={})
    assert next(iter(found.source.values())) > 35


def test_splats_that_a_container_cannot_hold_are_refused(run: Run, tmp_path: Path) -> None:
    splats = read_4dgs(written(run, tmp_path / "a.4dgs", ".4dgs"))
    splats.gaussians.means.data[:10] *= 1e12
    with pytest.raises(CheckpointError, match=r"fourdgs cannot hold these splats .*; write a page or PLY files"):
        coded_4dgs(splats, fps=30, grid=QUALITIES["high"].grid, cameras=[camera(0).centre])


def test_training_views_lose_nothing(run: Run) -> None:
    expert = run.experts[0]
    hidden = plant(run, FLOATER, REAL, (0.0, 0.0, 60.0))  # the third behind the cloud
    kept = kept_rows(hidden, expert, least=LEAST, floaters=False)
    assert kept.rows[:3].tolist() == [True, True, False]  # the first is in no training image, which tell nothing of it
    assert kept.unseen == int((~kept.rows).sum())
    for view in run.scene.train:
        whole = image_of(expert, run.scene.views[view].camera, 2, compute=run.compute)
        with torch.no_grad():
            opacities = expert.opacities.clone()
            expert.opacities[~kept.rows] = -0.5 / 0.4  # which is an opacity of 0
        left = image_of(expert, run.scene.views[view].camera, 2, compute=run.compute)
        with torch.no_grad():
            expert.opacities.copy_(opacities)
        assert -10 * np.log10(float((whole - left).square().mean()) + 1e-12) >= 50


class Flashing:
    """An expert whose Gaussians show at frame 1, and are faint at all others."""

    def __init__(self, expert: CloudExpert) -> None:
        self.expert = expert

    def __getattr__(self, name: str) -> Any:
        return getattr(self.expert, name)

    def at(self, frame: float, *, camera: int | None = None) -> Gaussians:
        gaussians = self.expert.at(frame, camera=camera)
        return gaussians if frame == 1 else replace(gaussians, opacities=torch.full_like(gaussians.opacities, 0.004))


def test_what_only_frames_between_the_chosen_ones_show_stays(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.export.cleaning.kept, "evenly_spread", lambda count, wanted: [0, 2])
    kept = kept_rows(run, Flashing(run.experts[0]), least=50.0, floaters=True)
    assert kept.rows.all()
    monkeypatch.setattr(engine.export.cleaning.kept, "evenly_spread", lambda count, wanted: [1])
    assert not kept_rows(run, Flashing(run.experts[0]), least=50.0, floaters=True).rows.all()


def test_weights_of_a_smaller_image_are_those_of_the_whole(run: Run) -> None:
    small, scale = camera(1), 2 * WIDTH / camera(1).width
    sizes = {name: scale * getattr(small, name) for name in ("fx", "fy", "cx", "cy")}
    large = replace(small, width=2 * WIDTH, height=round(scale * small.height), **sizes)
    expert = run.experts[0]
    found = pixel_weights(expert.at(1), large, expert.settings, run.compute)
    truth = image_weights(expert.at(1), large, expert.settings, backend=run.backend)
    assert float(truth.max()) > 1e4
    assert torch.allclose(found, truth, rtol=0.02, atol=20)


def at(x: float, z: float = 0.0) -> Camera:
    """A camera at (x, 0, z) that looks along +z, as those of the small world."""
    world_to_camera = torch.eye(4)
    world_to_camera[0, 3], world_to_camera[2, 3] = -x, -z
    return replace(camera(1), world_to_camera=world_to_camera)


def test_a_new_camera_stands_in_the_middle_of_each_four_cameras_of_a_grid() -> None:
    """There, farthest from the training's, large Gaussians of one camera are closest to a viewer."""
    cells = [(x, z) for x in range(4) for z in range(4)]
    found = torch.stack([each.centre for each in between_neighbours([at(float(x), float(z)) for x, z in cells])])
    for x, z in ((0.5, 0.5), (1.5, 0.5), (1.5, 1.5)):
        assert torch.cdist(torch.tensor([[x, 0.0, z]]), found).min() < 1e-5


def test_a_floater_of_one_camera_goes_where_new_views_need_a_rule_for_it(tmp_path: Path) -> None:
    """Two cameras side by side do not see what floats between them; one far behind does."""
    run = small_run(tmp_path)
    cameras = [at(-0.5), at(0.5), at(0.0, -3.0)]
    views = tuple(View(name=f"cam{number:02d}", number=number, camera=each) for number, each in enumerate(cameras))
    run = replace(run, scene=replace(run.scene, views=views, train=(0, 1, 2), test=()))
    run = with_culling(plant(run, (0.0, 0.0, 0.4), (-0.45, 0.0, 0.45), size=0.06), 1.0)
    expert = run.experts[0]
    kept = kept_rows(run, expert, least=LEAST, floaters=True)
    assert not kept.rows[0] and kept.rows[1] and kept.floaters >= 1
    assert kept_rows(run, expert, least=LEAST, floaters=False).rows[0]
    without = replace(run, novel=replace(run.novel, culling=None))
    assert kept_rows(without, expert, least=LEAST, floaters=True).rows[0]


def test_new_cameras_stand_half_way_between_neighbours() -> None:
    turned = at(4.0)
    turn = torch.eye(4)
    turn[:3, :3] = torch.tensor([[0.0, 0, -1], [0, 1, 0], [1, 0, 0]])
    turned = replace(turned, world_to_camera=turn @ turned.world_to_camera)
    found = between_neighbours([at(0.0), turned])
    assert len(found) == 1
    assert torch.allclose(found[0].centre, torch.tensor([2.0, 0.0, 0.0]), atol=1e-5)
    half = float(found[0].world_to_camera[2, 2])
    assert half == pytest.approx(np.cos(np.pi / 4), abs=1e-5)
    assert between_neighbours([at(0.0)]) == [] and between_neighbours([at(0.0), at(0.0)]) == []
    assert len(between_neighbours([at(float(x)) for x in range(40)])) <= 40 * NEIGHBOURS


def test_what_only_players_show_from_beside_the_picture_is_in_no_file(tmp_path: Path) -> None:
    run = plant(small_run(tmp_path), (2.2, 0.0, 2.0), (0.0, 0.0, 2.0), size=0.8)
    expert = run.experts[0]
    assert kept_rows(run, expert, least=0.0, floaters=True).rows[:2].all()  # the expert's rules are those of players
    expert.settings = replace(expert.settings, ndc_limit=1.3)
    kept = kept_rows(run, expert, least=0.0, floaters=True)
    assert not kept.rows[0] and kept.rows[1] and kept.beside == int((~kept.rows).sum())
    assert kept_rows(run, expert, least=0.0, floaters=False).rows.all()  # a page has the expert's rules
