"""Splats of another program beside a film: their seconds are its frames, by the frame rate of its videos."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from engine.runs.device import CPU
from engine.runs.experts.loading import open_expert
from engine.runs.scene import open_scene
from engine.settings.parsing.fields import with_values
from engine.settings.training.run import AnyRunConfig
from experts.splats.model import Splats
from router import ensemble_of
from tests.experts.splats.test_splats_expert import other_file
from tests.experts.splats.test_splats_files import FRAMES
from tests.scenes.scene_folders import Rig, write_n3v_scene

SECONDS = FRAMES / 25  # of the file


@pytest.mark.parametrize(("pattern", "frames"), [("{name}.mp4", round(30 * SECONDS)), ("{name}/{frame}.png", 4)])
def test_a_file_is_counted_at_the_films_frame_rate(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, pattern: str, frames: int
) -> None:
    write_n3v_scene(tmp_path / "film", Rig(frames=4, width=32, height=24), pattern=pattern)  # 30 frames a second
    given = {"source_path": tmp_path / "film", "save_path": tmp_path / "run", "quiet": True}
    config = with_values(AnyRunConfig(), given)
    scene = open_scene(config, ensemble_of(["Splats"]))
    with caplog.at_level(logging.WARNING):
        expert = open_expert(config, scene, "Splats", other_file(tmp_path), device=CPU, by_name=True)
    assert isinstance(expert, Splats) and expert.num_frames == frames
    told = "has 7 frames (0.24 s at the clip's 30 frames a second), and the clip 4: the first 4 are shown"
    assert (f"{tmp_path / 'scene.4dgs'}: {told}" in caplog.text) is (frames == 7)
