"""Runs of strangers: no file of theirs chooses where results and frames are written."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import moegs
from engine.runs.saved.checkpoint import FACTS, checkpoint_folder
from tests.engine.expert_scene import write_film

FEW = ["--iterations=2", "--test_iterations", "--quiet", "--device=cpu"]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A trained run of two small experts."""
    film = write_film(tmp_path)
    for key in ("ed3dgs", "stg"):
        model = [f"--model_path={tmp_path / key}", "--max_points=60", "--test_frames=1"]
        assert moegs.main(["train-expert", key, f"--source_path={film}", *model, *FEW]) == 0
    experts = [f"--expert=E-D3DGS={tmp_path / 'ed3dgs'}", f"--expert=STG={tmp_path / 'stg'}"]
    assert moegs.main(["train", f"--source_path={film}", *experts, f"--save_path={tmp_path / 'run'}", *FEW]) == 0
    return tmp_path / "run"


def change(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def render(run: Path, *more: str) -> int:
    return moegs.main(["render", f"--save_path={run}", "--skip_train", "--quiet", "--device=cpu", *more])


def test_no_path_of_a_run_is_written_to_unless_asked(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outside, facts = run.parent / "outside", checkpoint_folder(run) / FACTS
    outside.mkdir()
    config, router = (run / "config.json").read_text(), facts.read_text()

    change(run / "config.json", cache_path=str(outside / "cache"))
    assert render(run) == 0
    assert not list(outside.iterdir())
    assert render(run, f"--cache_path={outside / 'asked'}") == 0
    assert (outside / "asked" / "40x32_bilinear").is_dir()
    (run / "config.json").write_text(config)

    for iteration in (f"2/../../../{outside.name}/itrs", str(outside), 3, "2", None):
        change(facts, iteration=iteration)
        assert render(run) == 2
        assert f"{facts}: damaged (iteration is" in capsys.readouterr().err
    facts.write_text(router)

    experts = json.loads(router)["experts"]
    for key, value in (("name", "../STG"), ("entry", "../a"), ("files", {"../../a": "0"})):
        change(facts, experts=[experts[0] | {key: value}, experts[1]])
        assert render(run) == 2
        assert "leads out of it" in capsys.readouterr().err
    facts.write_text(router)

    (run / "test").rename(run / "earlier")
    (run / "test").symlink_to(outside)
    assert render(run) == 2
    assert f"{run / 'test'}: is a link to {outside}; put a folder in its place" in capsys.readouterr().err
    assert sorted(path.name for path in outside.iterdir()) == ["asked"]


def test_planted_caches_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    film, outside = write_film(tmp_path), tmp_path / "outside"
    outside.mkdir()
    model = [f"--model_path={tmp_path / 'stg'}", "--max_points=60", "--test_frames=1"]
    cache = film / "frame_cache"

    def refused() -> str:
        assert moegs.main(["train-expert", "stg", f"--source_path={film}", *model, *FEW]) == 2
        return capsys.readouterr().err

    cache.symlink_to(outside)
    assert f"{cache}: is a link to {outside}" in refused()
    cache.unlink()
    cache.mkdir()
    (cache / "40x32_bilinear").symlink_to(outside)
    assert f"{cache / '40x32_bilinear'}: is a link to {outside}" in refused()
    (cache / "40x32_bilinear").unlink()
    (cache / ".lock").unlink()
    os.mkfifo(cache / ".lock")
    assert "a pipe or device stands in the place of a file" in refused()
    (cache / ".lock").unlink()
    (film / "cam00.mp4").unlink()
    os.mkfifo(film / "cam00.mp4")
    assert "cam00.mp4" in refused()
    assert not list(outside.iterdir())
