"""Files have far splats around the scene, which show what the renderer's rules show where there are no Gaussians."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from moegs_rasterizer import Camera, Gaussians, Layer, rasterize

from engine.errors import ConfigError
from engine.export.formats import FORMATS, REACH
from engine.export.frames import SH_CONSTANT
from engine.export.job import Export
from engine.export.players.convention import PLAYERS
from engine.export.players.surroundings import (
    COUNT,
    FEWEST,
    Sphere,
    _directions,
    gaussians_with,
    places_of,
    surroundings,
)
from engine.export.quality import QUALITIES
from engine.export.writing import write_export
from engine.runs.run import Run
from experts.splats.container import read_4dgs
from experts.splats.frame_files import frame_files, read_sequence, still
from tests.small_world import small_run

HOLE = (0.9, 0.2, 0.1)


def guarded(run: Run, expert: int = 0) -> Run:
    """A run of one expert, whose rules have a colour of holes."""
    novel = replace(run.novel, coverage_guard=True, hole_colour=HOLE, usual_coverage=1.0)
    return replace(run, experts=run.experts[expert : expert + 1], novel=novel)


def colours(around: Gaussians) -> torch.Tensor:
    assert around.sh is not None
    return around.sh[:, 0] * SH_CONSTANT + 0.5


def looking(camera: Camera, direction: torch.Tensor, *, at: torch.Tensor) -> Camera:
    """The camera at a place, turned so that it looks along a direction."""
    forward = direction / direction.norm()
    right = torch.linalg.cross(torch.tensor([0.3, 0.8, 0.5]).to(forward), forward)
    right = right / right.norm()
    rotation = torch.stack([right, torch.linalg.cross(forward, right), forward])
    pose = torch.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation, -rotation @ at
    return replace(camera, world_to_camera=pose)


def test_places_are_spread_evenly() -> None:
    directions = _directions(COUNT)
    assert torch.allclose(directions.norm(dim=1), torch.ones(COUNT, dtype=torch.float64))
    sphere = Sphere(middle=torch.zeros(3), radius=1.0, directions=directions)
    nearest = torch.cdist(directions, directions).fill_diagonal_(9).amin(dim=1)
    assert nearest.amin() > 0.7 * sphere.spacing and nearest.amax() < 1.1 * sphere.spacing
    assert directions.mean(dim=0).norm() < 1e-3


def test_a_pixel_looks_at_the_place_behind_it(tmp_path: Path) -> None:
    middle, given = torch.tensor([1.0, 2.0, 3.0]), small_run(tmp_path).scene.views[0].camera
    sphere = Sphere(middle=middle, radius=10.0, directions=_directions(COUNT).float())
    for aim in torch.tensor([[0.0, 0.0, 1.0], [1.0, -1.0, 0.2], [-0.5, 0.1, -0.7]]):
        start = middle + torch.tensor([2.0, -1.0, 0.5])
        camera = looking(given, sphere.middle + 10 * aim / aim.norm() - start, at=start)
        places = places_of(sphere, camera).view(camera.height, camera.width)
        found = sphere.directions[places[int(camera.cy), int(camera.cx)]]
        assert torch.dot(found, aim / aim.norm()).acos() < sphere.spacing


def test_what_training_views_look_past_is_the_background_and_the_rest_the_colour_of_holes(tmp_path: Path) -> None:
    run = guarded(small_run(tmp_path))
    expert = run.experts[0]
    around = surroundings(run, expert, kept=torch.zeros(expert.num_gaussians, dtype=torch.bool))
    assert around is not None and around.count == COUNT
    cameras = [run.scene.views[view].camera for view in run.scene.train]
    middle = torch.stack([camera.centre for camera in cameras]).mean(dim=0)
    radius = float((around.means[0] - middle).norm())
    sphere = Sphere(middle=middle, radius=radius, directions=(around.means - middle) / radius)
    seen = torch.cat([places_of(sphere, camera) for camera in cameras]).bincount(minlength=COUNT) > 0
    looked_at, shown = seen.nonzero()[:, 0], colours(around)
    assert torch.allclose(shown[looked_at].median(dim=0).values, torch.tensor(expert.background), atol=0.002)
    far_from_seen = (sphere.directions @ sphere.directions[looked_at].T).amax(dim=1) < 0.7
    assert far_from_seen.sum() > COUNT / 10
    assert torch.allclose(shown[far_from_seen], torch.tensor(HOLE).expand_as(shown[far_from_seen]), atol=0.001)


def test_what_a_gaussian_hides_from_all_training_views_is_the_colour_of_holes(tmp_path: Path) -> None:
    run = guarded(small_run(tmp_path))
    camera = run.scene.views[run.scene.train[0]].camera
    run = replace(run, scene=replace(run.scene, train=run.scene.train[:1]))
    ahead = torch.tensor([0.0, 0.0, 2.0, 1.0]) @ torch.linalg.inv(camera.world_to_camera).T
    wall = Gaussians(
        means=ahead[None, :3],
        scales=torch.full((1, 3), 50.0),
        quats=torch.tensor([[1.0, 0.0, 0.0, 0.0]]),
        opacities=torch.ones(1),
        sh=torch.zeros(1, 16, 3),
    )
    expert = still(wall)
    expert.num_frames, expert.background = run.scene.num_frames, (0.0, 0.0, 1.0)
    run = replace(run, experts=(expert,))
    for kept, expected in ((False, expert.background), (True, HOLE)):
        around = surroundings(run, expert, kept=torch.tensor([kept]))
        assert around is not None
        radius = float((around.means[0] - camera.centre).norm())
        sphere = Sphere(middle=camera.centre, radius=radius, directions=(around.means - camera.centre) / radius)
        behind = colours(around)[places_of(sphere, camera).unique()]
        assert torch.allclose(behind.median(dim=0).values, torch.tensor(expected), atol=0.1)


def test_they_hide_all_behind_them_and_nothing_before_them(tmp_path: Path) -> None:
    run = guarded(small_run(tmp_path))
    expert = run.experts[0]
    everything = torch.ones(expert.num_gaussians, dtype=torch.bool)
    around = surroundings(run, expert, kept=everything)
    assert around is not None
    gaussians = expert.at(0)
    sh = torch.zeros(gaussians.count, 16, 3)
    scene = replace(gaussians, sh=sh, colours=None)
    for view in run.scene.train:
        camera = run.scene.views[view].camera

        def splat(shown: Gaussians, camera: Camera = camera):
            return rasterize([Layer(gaussians=shown, settings=PLAYERS, background=torch.zeros(3))], camera)[0]

        alone = splat(around)
        assert alone.alpha.amin() > 0.99
        plain, both = splat(scene), splat(gaussians_with(scene, around))
        behind = (both.colour - plain.colour) - (1 - plain.alpha) * alone.colour
        assert behind.abs().amax() < 0.01


def test_without_the_rules_there_are_none(tmp_path: Path) -> None:
    run = small_run(tmp_path)
    expert = run.experts[0]
    everything = torch.ones(expert.num_gaussians, dtype=torch.bool)
    assert surroundings(replace(run, novel=replace(run.novel, hole_colour=None)), expert, kept=everything) is None


@pytest.mark.parametrize("name", ["x.4dgs", "frames"])
def test_a_file_has_them_in_every_frame_and_tells_so(name: str, tmp_path: Path) -> None:
    counts, told = {}, {}
    for label, run in (("with", guarded(small_run(tmp_path))), ("without", small_run(tmp_path))):
        path = tmp_path / label / name
        path.parent.mkdir()
        export = Export(run=run, expert=run.experts[0], quality=QUALITIES["high"], fps=30.0)
        write_export(export, FORMATS[path.suffix], path, frames=1, facts={})
        if path.suffix:
            import fourdgs

            splats = read_4dgs(path)
            told[label] = json.loads(fourdgs.read(str(path)).header.attributes["moegs"]).get("surroundings")
        else:
            splats = read_sequence(frame_files(path))
            told[label] = json.loads((path / "export.json").read_text()).get("surroundings")
        counts[label] = [splats.at(frame).count for frame in range(splats.num_frames)]
    around = FEWEST if path.suffix else COUNT
    assert [more - less for more, less in zip(counts["with"], counts["without"], strict=True)] == [around] * len(
        counts["with"]
    )
    assert told == {"with": around, "without": None}


def test_a_file_of_a_file_is_as_that_file_was(tmp_path: Path) -> None:
    """An export of an imported one has no second sphere, and not half of half of the harmonics."""
    run, files = guarded(small_run(tmp_path)), []
    for name in ("one.4dgs", "two.4dgs"):
        export = Export(run=run, expert=run.experts[0], quality=QUALITIES["high"], fps=30.0)
        write_export(export, FORMATS[".4dgs"], tmp_path / name, frames=1, facts={})
        files.append(read_4dgs(tmp_path / name))
        if len(files) == 1:
            torch.nn.init.uniform_(files[0].gaussians.sh_rest, -0.5, 0.5)
        run = replace(run, experts=(files[-1],))
    first, second = (each.at(1) for each in files)
    assert first.count == second.count > FEWEST
    pairs = torch.cdist(first.means, second.means).argmin(dim=1)
    assert torch.allclose(second.means[pairs], first.means, rtol=1e-3, atol=0.05)
    assert first.sh is not None and second.sh is not None
    assert (second.sh[:, 4:].norm() / first.sh[:, 4:].norm()).item() == pytest.approx(1, abs=0.1)


def test_a_4dgs_file_of_few_gaussians_is_as_fine_as_without_them(tmp_path: Path) -> None:
    """Its values are as fine as the median scale of all that it has."""
    errors = {}
    for label, run in (("with", guarded(small_run(tmp_path))), ("without", small_run(tmp_path))):
        export = Export(run=run, expert=run.experts[0], quality=QUALITIES["high"], fps=30.0)
        path = tmp_path / f"{label}.4dgs"
        write_export(export, FORMATS[".4dgs"], path, frames=1, facts={})
        found = torch.cdist(read_4dgs(path).at(0).means, run.experts[0].at(0).means).amin(dim=1)
        errors[label] = found[found < 1].median()
    assert errors["with"] < 2 * errors["without"]


def test_gaussians_that_are_not_seen_do_not_move_them_away(tmp_path: Path) -> None:
    run = guarded(small_run(tmp_path))
    expert, everything = run.experts[0], torch.ones(run.experts[0].num_gaussians, dtype=torch.bool)
    before = surroundings(run, expert, kept=everything)

    def at(frame: float, *, camera: int | None = None) -> Gaussians:
        gaussians = type(expert).at(expert, frame, camera=camera)
        first = torch.arange(gaussians.count) == 0
        return replace(
            gaussians,
            means=torch.where(first[:, None], 1e4, gaussians.means),
            opacities=torch.where(first, 1e-9, gaussians.opacities),
        )

    expert.at = at
    after = surroundings(run, expert, kept=everything)
    assert before is not None and after is not None
    assert torch.allclose(after.means, before.means, rtol=0.2, atol=0.5)


def test_where_nothing_is_and_all_cameras_are_in_one_place_they_have_a_size(tmp_path: Path) -> None:
    run = guarded(small_run(tmp_path))
    scene = replace(run.scene, views=(run.scene.views[1],) * len(run.scene.views))
    nothing = torch.zeros(run.experts[0].num_gaussians, dtype=torch.bool)
    around = surroundings(replace(run, scene=scene), run.experts[0], kept=nothing)
    assert around is not None and (around.scales > 0).all()
    assert around.means.norm(dim=1).amax() > 1


def test_they_stay_within_what_a_file_holds_and_are_left_out_where_there_is_no_room(tmp_path: Path) -> None:
    run = guarded(small_run(tmp_path))
    everything = torch.ones(run.experts[0].num_gaussians, dtype=torch.bool)
    usual = surroundings(run, run.experts[0], kept=everything)
    closer = surroundings(run, run.experts[0], kept=everything, within=8.0)
    assert usual is not None and closer is not None
    assert usual.means.abs().amax() > 10 and closer.means.abs().amax() <= 8
    assert closer.means.norm(dim=1).amin() > run.experts[0].at(0).means.norm(dim=1).amax()
    assert surroundings(run, run.experts[0], kept=everything, within=2.0) is None


def test_spz_files_have_them_where_their_numbers_reach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = guarded(small_run(tmp_path))
    given: list[Gaussians] = []
    monkeypatch.setattr("engine.export.formats.write_snapshot", lambda path, gaussians, ending: given.append(gaussians))
    monkeypatch.setitem(REACH, ".spz", 8.0)
    (tmp_path / "x").touch()
    for ending in (".spz", ".ply"):
        export = Export(run=run, expert=run.experts[0], quality=QUALITIES["high"], fps=30.0)
        FORMATS[ending].prepare(export).write(tmp_path / "x", {})
    reach = [float(each.means.abs().amax()) for each in given]
    assert reach[0] <= 8 < reach[1]


def test_gaussians_that_a_format_has_no_room_for_are_refused(tmp_path: Path) -> None:
    run = guarded(small_run(tmp_path))
    expert = run.experts[0]
    with torch.no_grad():
        expert.means[:2] += 3000 / expert.spread
    export = Export(run=run, expert=expert, quality=QUALITIES["high"], fps=30.0)
    with pytest.raises(ConfigError, match=r"2 Gaussians of frame 0 .* beyond 2047, which \.spz cannot hold"):
        FORMATS[".spz"].prepare(export)
    FORMATS[".ply"].prepare(export)
