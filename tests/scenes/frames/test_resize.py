from __future__ import annotations

import logging

import pytest

from scenes import SceneError, SceneOptions, load_scene
from scenes.frames.resize import training_size
from tests.scenes.scene_folders import write_n3v_scene


@pytest.mark.parametrize(
    ("size", "resolution", "expected"),
    [
        ((2704, 2028), 2, (1352, 1014)),
        ((2704, 2028), 8, (338, 254)),  # 253.5 rounds to the even neighbour
        ((2048, 1088), 1, (2048, 1088)),
        ((2704, 2028), -1, (1600, 1200)),
        ((1352, 1014), -1, (1352, 1014)),
        ((1352, 1014), 400, (400, 300)),
        ((1352, 1015), 400, (400, 300)),
        ((160, 120), 320, (320, 240)),
        ((2000, 2), 100, (100, 1)),
        ((1352, 1014), 16, (16, 12)),
    ],
)
def test_rule_of_3dgs(size, resolution, expected):
    assert training_size(*size, resolution) == expected


@pytest.mark.parametrize("resolution", [0, -2])
def test_meaningless_resolutions(resolution):
    with pytest.raises(SceneError, match=f"resolution {resolution} means nothing"):
        training_size(100, 100, resolution)


@pytest.mark.parametrize("resolution", [3, 5, 15])
def test_numbers_that_were_meant_as_divisors(resolution):
    message = f"resolution {resolution} is a width of {resolution} px: use 1, 2, 4 or 8 .* or a width of 16 px or more"
    with pytest.raises(SceneError, match=message):
        training_size(1352, 1014, resolution)


def test_enlarged_images_are_warned_of(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    write_n3v_scene(tmp_path / "room", pattern="{name}/{frame}.png")
    options = {"cache": tmp_path / "cache", "progress": False}
    scene = load_scene(tmp_path / "room", SceneOptions(resolution=96, **options))
    told = "images are enlarged from 64 to 96 px width, which adds no detail (cam00 and 2 more)"
    assert scene.views[0].camera.width == 96
    assert told in caplog.text
    assert any(note.startswith(told) for note in scene.notes)
    caplog.clear()
    load_scene(tmp_path / "room", SceneOptions(resolution=64, **options))
    assert not caplog.messages
