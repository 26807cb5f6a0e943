"""Another scene of the same name is told by its files, before any step of `run-all`; a copy is the same scene."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import moegs
from engine.pipeline.footage import other_footage
from scenes.preparation.records import Record, write_record
from tests.scenes.scene_folders import Rig, draw, write_n3v_scene, write_technicolor_scene

RIG = Rig(width=16, height=12, focal=20.0)
MODELS = {  # what was trained -> steps to leave out, and the step that is refused
    "experts/ex4dgs/train_expert_config.json": ((), "expert_ex4dgs"),
    "experts/ed3dgs/train_expert_config.json": (("experts",), "train_E3"),
    "E3/config.json": (("experts",), "train_E3"),
}
TODAY = {"principal_points": "kept", "coverage_guard": "on", "novel_near": None}  # files of before do not tell them


def darker(camera: int, frame: int, width: int, height: int) -> np.ndarray:
    """Images of another scene."""
    return draw(camera, frame, width, height) // 2


@pytest.fixture
def scene(tmp_path: Path) -> Callable[..., Path]:
    """Writes a scene of a data set's name in a layout; of another scene where `image` is given."""

    def write(dataset: str, layout: str = "{name}/{frame}.png", **options: object) -> Path:
        root = tmp_path / dataset / "film"
        if layout == "technicolor":
            write_technicolor_scene(root, **options)
        else:
            write_n3v_scene(root, RIG, pattern=layout, **options)
        return root

    return write


@pytest.mark.parametrize("trained", MODELS)
def test_another_scene_of_images_is_refused_before_any_step(tmp_path, scene, capsys, monkeypatch, trained):
    monkeypatch.setattr("engine.pipeline.queue.CommandProcess", lambda job, gpu: pytest.fail(f"{job.step} began"))
    before, others = scene("data"), scene("other", image=darker)
    skip, step = MODELS[trained]
    settings = tmp_path / "out" / "film" / trained
    settings.parent.mkdir(parents=True)
    settings.write_text(json.dumps({"source_path": str(before), **TODAY}))
    flags = [f"--output={tmp_path / 'out'}", "--ensemble=E3", "--skip", "prepare", *skip]
    assert moegs.main(["run-all", str(tmp_path / "other"), *flags]) == 2
    said = f"step {step}: {settings.parent} was trained on {before}, whose images are others than those of {others}:"
    assert f"error: film, {said} delete that folder to train again" in capsys.readouterr().err
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == [settings]
    shutil.copytree(tmp_path / "data", tmp_path / "copy")
    assert moegs.main(["run-all", str(tmp_path / "copy"), *flags, "--dry_run"]) == 0


@pytest.mark.parametrize(
    "layout",
    [
        *("{name}/{frame}.png", "{name}/frame_{frame}.bmp", "{name}/images/{frame}.bmp", "images/{name}/{frame}.ppm"),
        *("colmap_{frame}/images/{name}.png", "technicolor"),
    ],
)
def test_scenes_of_images_are_told_apart_and_copies_are_not(tmp_path, scene, layout):
    """Images without compression have one size whatever they show."""
    before, others = scene("data", layout), scene("other", layout, image=darker)
    assert other_footage(before, others) == "images"
    copy = Path(shutil.copytree(before, tmp_path / "copy" / "film"))
    assert other_footage(before, copy) is None
    images = sorted(path for path in copy.rglob("*") if path.suffix in (".png", ".bmp", ".ppm"))
    Image.new("RGB", (5, 5)).save(images[0])  # one that was mended
    for path in images[-3:]:
        path.unlink()
    (copy / "film_preview.png").write_bytes(b"of no camera")
    assert other_footage(before, copy) is None and other_footage(copy, before) is None


def test_images_without_a_common_name_are_told_by_their_sizes(tmp_path, scene):
    before = scene("data")
    others = scene("other", "images/{name}/{frame}.png", image=darker)
    assert other_footage(before, others) == "images"
    assert other_footage(before, scene("moved", "images/{name}/{frame}.png")) is None


def test_videos_in_the_place_of_images_are_of_another_scene(tmp_path, scene):
    images, videos, both = scene("images"), scene("videos", "{name}.mp4"), scene("both", "{name}.mp4")
    assert other_footage(images, videos) == other_footage(videos, images) == "frames"
    scene("both")
    assert other_footage(images, both) is None and other_footage(both, videos) is None


def test_what_a_preparation_made_and_a_scene_without_footage_tell_nothing(tmp_path, scene):
    before = scene("data", "{name}.mp4")
    made = scene("made", "colmap_{frame}/images/{name}.png")
    for name in ("images/cam00", "sheets"):
        (made / "preparation" / name).mkdir(parents=True)
        (made / "preparation" / name / "0.png").write_bytes(b"of no camera")
    outputs = [f"colmap_{frame}" for frame in range(4)]
    record = Record(version=1, options={}, inputs=[], outputs=outputs, stamps=[], result=None, finished=True)
    write_record(made / "preparation" / "colmap.json", record)
    assert other_footage(before, made) is None
    assert other_footage(before, tmp_path / "gone") is None and other_footage(tmp_path / "gone", before) is None
    assert other_footage(before, tmp_path) is None
