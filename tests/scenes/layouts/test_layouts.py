"""The table of layouts, and that one row more is a layout more."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from engine.settings.prepare import KINDS
from engine.settings.training.run import Loader
from engine.training.expert.choice import choose_preset
from experts import EXPERTS
from experts.training.recipes.presets import SCENES
from router.ensembles import ENSEMBLES
from scenes import SceneError, SceneOptions, load_scene
from scenes.layouts import (
    LAYOUTS,
    LOADERS,
    PREPARATIONS,
    guess_layout,
    layout_named,
    trained_frames,
)
from scenes.options import DEFAULT_LAYOUT
from tests.scenes.scene_folders import Rig, write_n3v_scene, write_technicolor_scene


def options(cache: Path, **changed) -> SceneOptions:
    return SceneOptions(cache=cache, progress=False, **changed)


def test_everything_that_names_layouts_names_rows():
    assert {name: spec.name for name, spec in LAYOUTS.items()} == {name: name for name in LAYOUTS}
    assert get_args(Loader) == tuple(LOADERS) == tuple(spec.loader for spec in LAYOUTS.values())
    assert tuple(PREPARATIONS) == KINDS == (*LAYOUTS, "videos")
    assert {"n3v": "neural3dvideo", "technicolor": "technicolor"}.items() <= {
        name: spec.loader for name, spec in LAYOUTS.items()
    }.items()
    assert {ensemble.layout for ensemble in ENSEMBLES.values()} | set(SCENES) | {DEFAULT_LAYOUT} <= set(LAYOUTS)


def test_layouts_are_recognised(tmp_path):
    write_n3v_scene(tmp_path / "room")
    write_technicolor_scene(tmp_path / "theater")
    (tmp_path / "empty").mkdir()
    assert [guess_layout(tmp_path / name) for name in ("room", "theater", "empty", "nowhere")] == [
        "n3v",
        "technicolor",
        None,
        None,
    ]
    (tmp_path / "room" / "cameras_parameters.txt").touch()
    assert guess_layout(tmp_path / "room") is None  # like both


def test_an_unknown_layout_is_refused(tmp_path):
    with pytest.raises(SceneError, match="layout 'colmap' is unknown; use n3v or technicolor"):
        layout_named("colmap")
    with pytest.raises(SceneError, match="layout 'colmap' is unknown"):
        load_scene(tmp_path, options(tmp_path / "cache", layout="colmap"))


def test_what_experts_were_trained_on(tmp_path):
    write_n3v_scene(tmp_path / "room", Rig(frames=5))
    write_technicolor_scene(tmp_path / "theater")
    room = load_scene(tmp_path / "room", options(tmp_path / "a", duration=2))
    theater = load_scene(
        tmp_path / "theater", options(tmp_path / "b", layout="technicolor", start=1, duration=2, resolution=1)
    )
    assert (room.num_frames, trained_frames(room)) == (2, 5)
    assert (theater.num_frames, trained_frames(theater)) == (2, 2)


@pytest.mark.parametrize(("left", "numbers"), [("left", [0, 1, 2]), ("left1", [0, 1, 2]), ("left7", [0, 1, 7])])
def test_cameras_have_a_number_each(tmp_path, monkeypatch, left, numbers):
    n3v = LAYOUTS["n3v"]

    def read(root, asked):
        rig = n3v.read(root, asked)
        names = {"cam00": "cam00", "cam01": "cam01", "cam02": left}
        cameras, sources = ({names[name]: of[name] for name in names} for of in (rig.cameras, rig.sources))
        return replace(rig, cameras=cameras, sources=sources)

    monkeypatch.setitem(LAYOUTS, "n3v", replace(n3v, read=read))
    write_n3v_scene(tmp_path / "room", Rig(frames=1))
    scene = load_scene(tmp_path / "room", options(tmp_path / "cache"))
    assert [view.number for view in scene.views] == numbers


def test_a_row_more_is_a_layout_more(tmp_path, monkeypatch):
    """Scenes as N3V's in a folder with a file of their own name, the last camera held out."""
    dome = replace(
        LAYOUTS["n3v"],
        name="dome",
        loader="domes",
        test_camera="cam02",
        is_like=lambda name: name == "dome.txt",
        trained_on_footage=False,
        warnings=lambda root, train: [f"{root.name} trains on {' '.join(train)}"],
    )
    monkeypatch.setitem(LAYOUTS, "dome", dome)
    write_n3v_scene(tmp_path / "hall", pattern="images/{name}/{frame:04d}.png")
    (tmp_path / "hall" / "poses_bounds.npy").rename(tmp_path / "hall" / "poses.npy")
    (tmp_path / "hall" / "dome.txt").touch()
    assert guess_layout(tmp_path / "hall") == "dome"
    with pytest.raises(SceneError, match=r"looks like the dome layout, not n3v; load it as dome \(--loader domes\)"):
        load_scene(tmp_path / "hall", options(tmp_path / "cache"))

    read = LAYOUTS["n3v"].read

    def read_dome(root, asked):
        (root / "poses.npy").rename(root / "poses_bounds.npy")
        return read(root, asked)

    monkeypatch.setitem(LAYOUTS, "dome", replace(dome, read=read_dome))
    scene = load_scene(tmp_path / "hall", options(tmp_path / "cache", layout="dome", duration=1))
    assert (scene.layout, scene.test, scene.num_frames) == ("dome", (2,), 1)
    assert scene.notes[-1] == "hall trains on cam00 cam01"
    assert trained_frames(scene) == 1
    name, preset = choose_preset(EXPERTS["Ex4DGS"], "auto", scene=scene.name, layout=scene.layout)
    assert (name, preset.planes) == ("n3v", None)  # nothing published: measured planes
