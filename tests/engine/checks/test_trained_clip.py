"""An expert that was trained here on other moments than the clip's is refused; files of other programs are not."""

from __future__ import annotations

import re
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
import torch

import moegs
from engine.runs.experts.loading import open_expert
from engine.runs.scene import open_scene
from engine.settings.parsing.fields import with_values
from engine.settings.training.run import AnyRunConfig
from experts import CheckpointError
from experts.formats.cfg_args import CFG_ARGS, read_cfg_args, write_cfg_args
from router import Ensemble
from tests.engine.expert_scene import run, write_film

SHORT = ("--iterations=2", "--start_timestamp=2", "--duration=4")


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> Path:
    return write_film(tmp_path_factory.mktemp("scene"))


@pytest.fixture(scope="module")
def later(film) -> Path:
    """A 4DGaussians of frames 2 to 5."""
    folder = film.parent / "later"
    assert run(film, folder, "4dgaussians", *SHORT) == 0
    return folder


@pytest.fixture(scope="module")
def segments(film) -> Path:
    """An STG of frames 2 to 5 in two segments."""
    folder = film.parent / "segments"
    assert run(film, folder, "stg", *SHORT, "--segments=2") == 0
    return folder


def opened(film: Path, name: str, folder: Path, *, rate: Fraction | None = None, **settings):
    config = with_values(
        AnyRunConfig(),
        {"source_path": film, "save_path": film.parent / "run", "cache_path": film.parent / "cache", **settings},
    )
    scene = open_scene(config, Ensemble(name=name, layout="n3v", experts=(name,)))
    scene = scene if rate is None else replace(scene, frame_rate=rate)
    return open_expert(config, scene, name, folder, device=torch.device("cpu"), by_name=True)


def changed(folder: Path, target: Path, **facts: object) -> Path:
    """A copy of a model's folder with other facts in cfg_args."""
    target.mkdir()
    for entry in folder.iterdir():
        if entry.name != CFG_ARGS:
            (target / entry.name).symlink_to(entry)
    write_cfg_args(target, {**(read_cfg_args(folder) or {}), **facts})
    return target


def test_the_clip_of_a_training_is_recorded_and_its_expert_opened_with_it(film, later, segments):
    facts = read_cfg_args(later)
    assert (facts["start_timestamp"], facts["clip_frames"]) == (2, 4) and "preset" in facts
    assert opened(film, "4DGaussians", later, start_timestamp=2, duration=4).num_frames == 4
    assert opened(film, "STG", segments, start_timestamp=2, duration=4).num_gaussians > 0
    assert (
        opened(film, "STG", segments, start_timestamp=2, duration=3).num_gaussians > 0
    )  # the end of a clip is left out


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        (
            {},
            "4DGaussians was trained from frame 2 of the footage on, .* from frame 0 on; give --start_timestamp 2, an",
        ),
        (
            {"start_timestamp": 3},
            "4DGaussians was trained from frame 2 of the footage on, .* from frame 3 on; give --start_timestamp 2",
        ),
    ],
)
def test_another_first_frame_is_refused(film, later, given, fault):
    with pytest.raises(CheckpointError, match=f"later: {fault}"):
        opened(film, "4DGaussians", later, duration=3, **given)


def test_segments_and_their_names_are_compared_with_the_clip(film, segments, tmp_path):
    with pytest.raises(CheckpointError, match=r"segments_0to1: STG was trained from frame 2 .* from frame 0 on; give"):
        opened(film, "STG", segments, duration=4)
    swapped = tmp_path / "segments"
    swapped.mkdir()
    for name, source in (("segments_0to1", "segments_2to3"), ("segments_2to3", "segments_0to1")):
        (swapped / name).symlink_to(segments / source)
    with pytest.raises(CheckpointError, match=r"segments_0to1: STG was trained from frame 4 .* from frame 2 on"):
        opened(film, "STG", swapped, start_timestamp=2, duration=4)


@pytest.mark.parametrize(
    ("name", "more"), [("STG", ["--segments=2"]), ("STG", []), ("FreeTime", ["--windows=2", "--overlap=0"])]
)
def test_a_part_that_seems_to_be_missing_is_told_as_another_clip(film, tmp_path, name, more):
    assert run(film, tmp_path / "model", name.lower(), *SHORT, *more) == 0
    with pytest.raises(CheckpointError, match=rf"{name} was trained from frame 2 .* from frame 0 on; give --start_tim"):
        opened(film, name, tmp_path / "model")


def test_a_segment_that_is_missing_is_asked_for(film, segments, tmp_path):
    (tmp_path / "segments").mkdir()
    for name in ("segments_0to1", "other_2to3"):  # the second of another scene, and of other frames
        (tmp_path / "segments" / name).symlink_to(segments / "segments_0to1")
    with pytest.raises(CheckpointError, match="add the segment that starts at 2"):
        opened(film, "STG", tmp_path / "segments", start_timestamp=2, duration=4)


def test_a_longer_clip_is_refused_unless_the_user_says_how_long_it_was(film, later, tmp_path):
    shorter = changed(later, tmp_path / "model", clip_frames=3, total_num_frames=3)
    with pytest.raises(CheckpointError, match="trained on 3 frames, and this run shows 4 by it; shorten the clip"):
        opened(film, "4DGaussians", shorter, start_timestamp=2)
    given = ("4DGaussians=4",)
    assert opened(film, "4DGaussians", shorter, start_timestamp=2, expert_frames=given).num_frames == 4


def test_another_frame_rate_is_refused(film, later, tmp_path):
    at_30 = changed(later, tmp_path / "model", frame_rate=30)
    clip = {"start_timestamp": 2, "duration": 4}
    fault = "4DGaussians was trained on 30 frames a second, and the videos of .*film have 15: its frame N is another"
    with pytest.raises(CheckpointError, match=fault):
        opened(film, "4DGaussians", at_30, rate=Fraction(15), **clip)
    assert opened(film, "4DGaussians", at_30, rate=Fraction(30000, 1001), **clip).num_frames == 4


def test_the_authors_files_are_loaded_whatever_they_call_their_settings(film, later, tmp_path):
    theirs = changed(later, tmp_path / "model")
    (theirs / "train_expert.json").unlink()
    text = (theirs / CFG_ARGS).read_text(encoding="utf-8")
    (theirs / CFG_ARGS).write_text(re.sub(r", preset='\w+'", "", text), encoding="utf-8")
    assert "preset" not in (read_cfg_args(theirs) or {}) and "start_timestamp=2" in text
    assert opened(film, "4DGaussians", theirs, duration=4).num_frames == 4


@pytest.mark.parametrize("name", ["frames", "later.4dgs"])
def test_files_that_were_exported_of_other_moments_are_refused(film, later, name, tmp_path):
    target = tmp_path / name
    given = ["--expert", f"4DGaussians={later}", "--source_path", film, "--cache_path", film.parent / "cache"]
    assert moegs.main(["export", *map(str, given), "--to", str(target), "--test_frames=1", "--device=cpu"]) == 0
    assert opened(film, "Splats", target, start_timestamp=2, duration=4).first_frame == 2
    told = "Splats was exported from frame 2 of the footage on, and this run shows it from frame 0 on; give --start_tim"
    with pytest.raises(CheckpointError, match=told):
        opened(film, "Splats", target, start_timestamp=0, duration=4)
