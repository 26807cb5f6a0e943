"""No command writes over what it reads: the files of an expert, of a run, and a scene's start points."""

from __future__ import annotations

from pathlib import Path

import pytest

import moegs
from engine.errors import ConfigError
from engine.settings.parsing.paths import check_apart


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_output_that_would_change_an_input_is_refused(tmp_path: Path) -> None:
    folder, store = tmp_path / "expert", tmp_path / "store"
    (folder / "part").mkdir(parents=True)
    store.mkdir()
    for path in (folder / "00000.ply", folder / "page.html", store / "a.ply", tmp_path / "scene.4dgs"):
        path.write_text("input")
    (folder / "part" / "a.ply").symlink_to(store / "a.ply")
    (tmp_path / "same").symlink_to(folder)
    (tmp_path / "link.4dgs").symlink_to(tmp_path / "scene.4dgs")

    def refused(target: Path, given: Path) -> str:
        with pytest.raises(ConfigError) as caught:
            check_apart("--to", target, [given])
        return str(caught.value)

    scene = tmp_path / "scene.4dgs"
    assert refused(scene, scene) == f"--to {scene}: is {scene}, which this command reads; choose another path"
    assert f"is {scene}" in refused(tmp_path / "link.4dgs", scene) and "is " in refused(scene, tmp_path / "link.4dgs")
    assert f"is {scene}" in refused(tmp_path / "store" / ".." / "scene.4dgs", scene)
    outside = f"lies in {folder}, which this command reads; choose a path outside of it"
    assert outside in refused(folder / "00000.ply", folder)
    assert outside in refused(tmp_path / "same" / "00000.ply", folder)
    assert outside in refused(folder / "00001.ply", folder), "it would be one of its frames"
    assert outside in refused(folder / "frames", folder)
    assert outside in refused(folder / "page.html", folder), "nobody knows whose it is"
    assert f"is {folder / 'part' / 'a.ply'}" in refused(store / "a.ply", folder), "a link of the folder leads there"
    assert f"holds {folder}" in refused(tmp_path, folder)
    for target in (folder / "new.html", store / "b.ply", tmp_path / "expert.ply", None):
        check_apart("--to", target, [folder, scene])


def test_an_export_replaces_nothing_that_it_reads(save_path: Path, capsys) -> None:
    run, world = save_path, save_path.parent
    model = world / "models" / "4DGaussians"
    ply = next(model.rglob("*.ply"))
    cloud = world / "points3D.ply"
    cloud.write_text("points")
    alone = ["--expert", f"4DGaussians={model}", "--source_path", world]
    before = contents(world)

    def refused(*words: object) -> str:
        assert moegs.main(["export", *map(str, words), "--test_frames=1", "--device=cpu"]) == 2
        return capsys.readouterr().err

    assert f"lies in {model}, which this command reads" in refused(*alone, "--to", ply)
    assert f"lies in {model}" in refused(*alone, "--to", model / "point_cloud" / "iteration_99")
    assert f"is {cloud}, which this command reads" in refused(*alone, "--to", cloud)
    assert f"lies in {model}" in refused(run, "--to", ply)
    assert f"lies in {run / 'router'}" in refused(run, "--to", run / "router" / "iteration_99")
    assert f"lies in {run / 'router'}" in refused(run, "--out", run / "router" / "iteration_99")
    assert contents(world) == before
    page = run / "page.html"
    for _ in range(2):  # a page of the run's own is replaced
        assert moegs.main(["export", str(run), f"--to={page}", "--content=4DGaussians", "--test_frames=1"]) == 0
    assert all(path.read_bytes() == data for path, data in before.items())


@pytest.mark.parametrize("command", ["report", "figure", "table"])
def test_results_are_shown_beside_what_they_are_read_from(save_path: Path, capsys, command: str) -> None:
    run, world = save_path, save_path.parent
    before = contents(world)
    for name in ("config.json", next((run / "router").rglob("router.json")).relative_to(run)):
        assert moegs.main([command, str(run), f"--out={run / name}"]) == 2
        assert "which this command reads; choose" in capsys.readouterr().err
    assert contents(world) == before


@pytest.mark.parametrize("words", [("prune",), ("distill", "--expert=E-D3DGS")])
def test_a_new_run_is_no_iteration_of_its_source(save_path: Path, capsys, words: tuple[str, ...]) -> None:
    place = save_path / "router" / "iteration_99"
    assert moegs.main([*words, str(save_path), f"--out={place}"]) == 2
    assert f"lies in {save_path / 'router'}, which this command reads" in capsys.readouterr().err
