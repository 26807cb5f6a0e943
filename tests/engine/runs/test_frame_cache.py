"""One cache of a scene's frames for all commands, in the scene's folder."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import pytest

import moegs
import scenes.frames.cache.writing
from engine.errors import ConfigError
from engine.runs.saved.loading import load_run
from engine.runs.scene import cache_folder
from engine.settings.training.run import DataConfig
from scenes import SceneError, SceneOptions, load_scene
from scenes.layouts import guess_layout
from scenes.layouts.n3v.naming import named_cameras
from scenes.preparation.steps import Workbench
from tests.engine.expert_scene import write_film
from tests.scenes.scene_folders import write_technicolor_scene


@pytest.fixture
def unwritable(monkeypatch: pytest.MonkeyPatch) -> set[Path]:
    """Folders that cannot be written; add to it."""
    closed: set[Path] = set()
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) not in closed and access(path, mode))
    return closed


def test_frames_lie_in_the_scenes_folder(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    assert cache_folder(DataConfig(), tmp_path, tmp_path / "run") == tmp_path / "frame_cache"
    assert cache_folder(DataConfig(cache_path=Path("own")), tmp_path, tmp_path / "run") == Path("own")
    assert cache_folder(DataConfig(), tmp_path / "none", tmp_path / "run") == tmp_path / "none" / "frame_cache"
    assert not caplog.messages
    assert not list(tmp_path.iterdir())


def test_frames_of_a_scene_that_cannot_be_written_lie_with_the_results(tmp_path, caplog, unwritable):
    caplog.set_level(logging.INFO)
    (tmp_path / "run").mkdir()
    unwritable.add(tmp_path)
    assert cache_folder(DataConfig(), tmp_path, tmp_path / "run") == tmp_path / "run" / "cache"
    assert caplog.messages == [
        f"{tmp_path / 'frame_cache'} cannot be written: decoded frames go to {tmp_path / 'run' / 'cache'}"
    ]
    (tmp_path / "frame_cache").mkdir()  # by somebody who could, for all
    assert cache_folder(DataConfig(), tmp_path, tmp_path / "run") == tmp_path / "frame_cache"
    unwritable.add(tmp_path / "frame_cache")
    assert cache_folder(DataConfig(), tmp_path, tmp_path / "run") == tmp_path / "run" / "cache"


def test_frames_without_a_place_are_refused_at_once(tmp_path, unwritable):
    scene, run, file = tmp_path / "scene", tmp_path / "run", tmp_path / "F.4dgs"
    for folder in (scene, run):
        folder.mkdir()
    file.touch()
    unwritable |= {scene, run}
    for results in (run, file):
        with pytest.raises(ConfigError, match=rf"^{scene}/frame_cache: cannot be written, and {results}/cache cannot"):
            cache_folder(DataConfig(), scene, results)
    assert cache_folder(DataConfig(cache_path=run), scene, file) == run
    (run / "cache").mkdir()
    assert cache_folder(DataConfig(), scene, run) == run / "cache"


def test_an_expert_that_is_shown_gets_no_cache(tmp_path, capsys, unwritable):
    film, model, page = write_film(tmp_path), tmp_path / "stg", tmp_path / "a.ply"
    words = ["--quiet", "--device=cpu", "--test_frames=1"]
    few = ["--iterations=2", "--test_iterations", "--segments=4", "--max_points=60"]
    assert moegs.main(["train-expert", "stg", f"--source_path={film}", f"--model_path={model}", *words, *few]) == 0
    shown = ["export", "--expert", f"STG={model}", f"--to={page}", *words]
    asked = f"{film / 'frame_cache'}: cannot be written; give a folder for decoded frames with --cache_path"
    unwritable |= {film, film / "frame_cache"}
    assert moegs.main(shown) == 2 and asked in capsys.readouterr().err
    (model / "F.4dgs").touch()
    alone = ["--expert", f"Splats={model / 'F.4dgs'}", "--source_path", str(film)]
    assert moegs.main(["view", *alone]) == 2 and asked in capsys.readouterr().err
    assert not (model / "cache").exists() and not page.exists()
    assert moegs.main([*shown, f"--cache_path={tmp_path / 'frames'}"]) == 0
    assert not (model / "cache").exists() and list((tmp_path / "frames").rglob("*.npy"))
    (model / "cache").mkdir()  # of its training
    assert moegs.main(shown) == 0 and list((model / "cache").rglob("*.npy"))


def test_all_commands_of_a_scene_decode_it_once(tmp_path, monkeypatch):
    decode, decoded = scenes.frames.cache.writing.decode, []

    def watched(source, *place, **options):
        decoded.append(source.path.name)
        return decode(source, *place, **options)

    monkeypatch.setattr(scenes.frames.cache.writing, "decode", watched)
    film, shared = write_film(tmp_path), ["--quiet", "--device=cpu"]
    few = ["--iterations=2", "--test_iterations"]
    source, run = f"--source_path={film}", f"--save_path={tmp_path / 'run'}"
    for key, more in (("ed3dgs", []), ("stg", ["--segments=4"])):
        model = [f"--model_path={tmp_path / key}", "--max_points=60", "--test_frames=1"]
        assert moegs.main(["train-expert", key, source, *model, *shared, *few, *more]) == 0
    experts = [f"--expert=E-D3DGS={tmp_path / 'ed3dgs'}", f"--expert=STG={tmp_path / 'stg'}"]
    assert moegs.main(["train", source, *experts, run, *shared, *few]) == 0
    assert json.loads((tmp_path / "run" / "config.json").read_text()).get("cache_path") is None
    assert moegs.main(["render", run, "--skip_train", *shared]) == 0
    loaded = load_run(tmp_path / "run", overrides={"device": "cpu"})
    assert loaded.scene.frames.read(2, 5).shape == (32, 40, 3)
    assert sorted(decoded) == ["cam00.mp4", "cam01.mp4", "cam02.mp4"]
    files = {path.relative_to(film).as_posix() for path in film.rglob("*.npy")} - {"poses_bounds.npy"}
    assert files == {f"frame_cache/40x32_bilinear/cam{number:02d}_0-5.npy" for number in range(3)}
    assert not list(tmp_path.rglob("cache"))


def test_novel_views_decode_nothing(tmp_path, monkeypatch):
    film, shared = write_film(tmp_path), ["--quiet", "--device=cpu"]
    few = ["--iterations=2", "--test_iterations"]
    model = [f"--model_path={tmp_path / 'ed3dgs'}", "--max_points=60", "--test_frames=1"]
    assert moegs.main(["train-expert", "ed3dgs", f"--source_path={film}", *model, *shared, *few]) == 0
    experts = [f"--expert=E-D3DGS={tmp_path / 'ed3dgs'}"] * 2
    run = f"--save_path={tmp_path / 'run'}"
    assert moegs.main(["train", f"--source_path={film}", *experts, run, *shared, *few]) == 0
    for path in (film / "frame_cache").rglob("*.npy"):
        path.unlink()
    assert moegs.main(["render", run, "--y_offset=0.1", *shared]) == 0
    assert not list((film / "frame_cache").rglob("*.npy"))


def test_a_cache_is_no_part_of_a_scene(tmp_path):
    film = write_film(tmp_path)
    before = load_scene(film, SceneOptions(cache=film / "frame_cache", progress=False))
    assert guess_layout(film) == "n3v"
    assert list(named_cameras(Workbench(film), ())[0]) == [view.name for view in before.views]
    after = load_scene(film, SceneOptions(cache=film / "frame_cache", progress=False))
    assert [view.name for view in after.views] == [view.name for view in before.views]
    assert after.notes == before.notes
    write_technicolor_scene(tmp_path / "theater")
    options = SceneOptions(cache=tmp_path / "theater" / "frame_cache", layout="technicolor", progress=False)
    scene = load_scene(tmp_path / "theater", options)
    assert guess_layout(tmp_path / "theater") == "technicolor"
    assert load_scene(tmp_path / "theater", options).views[0].name == scene.views[0].name


def test_a_cache_is_not_listed_where_frames_are_missing(tmp_path):
    film = write_film(tmp_path)
    load_scene(film, SceneOptions(cache=film / "frame_cache", progress=False))
    (film / "poses_bounds.npy").unlink()
    for path in film.glob("*.mp4"):
        path.unlink()
    with pytest.raises(SceneError, match=r"the folder is empty$"):
        load_scene(film, SceneOptions(cache=film / "frame_cache", progress=False))
