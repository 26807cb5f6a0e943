"""`.4dgs` files as other programs write them, with what splats here do not have and with facts that cannot be."""

from __future__ import annotations

import json
from pathlib import Path

import fourdgs
import numpy as np
import pytest
import torch
from moegs_rasterizer import RasterSettings

from engine.errors import ConfigError
from engine.settings.parsing.paths import check_expert
from experts.base import CheckpointError, LoadOptions
from experts.splats.container import FACTS
from experts.splats.files import load_splats, save_splats
from experts.splats.frame_files import write_frame
from experts.splats.model import Splats
from tests.experts.splats.test_splats_files import made_up

FRAMES, RATE = 7, 25.0
OPTIONS = LoadOptions(num_frames=FRAMES, frame_rate=RATE)


def gaussians(count: int = 5, *, end: float, sigma: float = np.inf) -> fourdgs.GaussianSet:
    """Red splats in a row that are there from 0 s until `end` seconds."""
    places = np.arange(count, dtype=np.float32)[:, None] * np.float32([1, 0, 0])
    return fourdgs.GaussianSet(
        positions=places,
        scales=np.full((count, 3), 0.1, np.float32),
        rotations=np.tile(np.float32([0, 0, 0, 1]), (count, 1)),
        colors=np.tile(np.float32([1, 0, 0, 0.9]), (count, 1)),
        motions=np.zeros((count, 3), np.float32),
        mu_t=np.zeros(count, np.float32),
        sigma_t=np.full(count, sigma, np.float32),
        win_lo=np.zeros(count),
        win_hi=np.full(count, end),
    )


def written(folder: Path, given: fourdgs.GaussianSet, seconds: float, **options: object) -> Path:
    path = folder / "theirs.4dgs"
    fourdgs.write(str(path), given, seconds, options=fourdgs.WriteOptions(library="other", **options))
    return path


def counts(expert: Splats) -> list[int]:
    """Gaussians that each frame of the clip shows."""
    return [int((expert.at(frame).opacities > 0).sum()) for frame in range(FRAMES)]


@pytest.mark.parametrize("frames", [FRAMES, FRAMES - 1])
def test_windows_that_end_with_the_file_hold_to_the_last_frame(frames: int, tmp_path: Path) -> None:
    """Also where the seconds last until the moment of the last frame, at which such a window has ended."""
    seconds = frames / RATE
    lasting = load_splats(written(tmp_path, gaussians(end=seconds), seconds), OPTIONS)
    assert counts(lasting) == [5] * FRAMES
    ending = load_splats(written(tmp_path, gaussians(end=3 / RATE), seconds), OPTIONS)
    assert counts(ending) == [5, 5, 5, 0, 0, 0, 0]


def test_a_file_of_two_frames_less_is_refused(tmp_path: Path) -> None:
    seconds = (FRAMES - 2) / RATE
    with pytest.raises(CheckpointError, match=r"has 5 frames .* and the clip 7"):
        load_splats(written(tmp_path, gaussians(end=seconds), seconds), OPTIONS)
    with pytest.raises(CheckpointError, match=r"has 1 frame .* and the clip 2"):
        load_splats(written(tmp_path, gaussians(end=1e-6), 1e-6), LoadOptions(num_frames=2, frame_rate=RATE))


def test_splats_fainter_than_the_cutoff_of_the_file_are_gone(tmp_path: Path) -> None:
    path = written(tmp_path, gaussians(end=9.0, sigma=2 / RATE), FRAMES / RATE, cutoff=0.5)
    scene = fourdgs.read(str(path))
    theirs = [len(scene.state_at(frame / RATE)["centers"]) for frame in range(FRAMES)]
    assert counts(load_splats(path, OPTIONS)) == theirs == [5, 5, 5, 0, 0, 0, 0]


def test_objects_that_move_by_tracks_are_refused(tmp_path: Path) -> None:
    given = gaussians(end=9.0)
    given.object_id = np.ones(given.count, np.uint32)
    turns = [[0.0, 0.0, 0.0, 1.0]] * 2
    track = fourdgs.records.ObjectTrack(
        object_id=1, times=[0.0, 0.2], rotations=turns, translations=[[0.0, 0.0, 0.0], [1.5, 0.0, 0.0]]
    )
    path = written(tmp_path, given, FRAMES / RATE, objects=fourdgs.ObjectLayer(tracks=[track]))
    with pytest.raises(CheckpointError, match="it moves 1 object by tracks, which are not read: write the motion"):
        load_splats(path, OPTIONS)
    given.object_id[:] = 2  # the track moves nothing
    path = written(tmp_path, given, FRAMES / RATE, objects=fourdgs.ObjectLayer(tracks=[track]))
    assert counts(load_splats(path, OPTIONS)) == [5] * FRAMES


def test_values_that_are_not_finite_are_told_with_the_file(tmp_path: Path, monkeypatch) -> None:
    path = written(tmp_path, gaussians(end=9.0), FRAMES / RATE)
    scene = fourdgs.read(str(path))
    scene.gaussians.motions[2, 1] = np.inf
    monkeypatch.setattr(fourdgs, "read", lambda *_, **__: scene)
    with pytest.raises(
        CheckpointError, match=r"theirs.4dgs: not a readable .* \(its motions have 1 NaN or infinite value"
    ):
        load_splats(path, OPTIONS)


@pytest.mark.parametrize(
    ("facts", "named"),
    [
        ({"frames": 30.5}, "its fact frames is 30.5, expected a whole number of 1 or more"),
        ({"frames": True}, "its fact frames is True"),
        ({"frames": "7"}, "its fact frames is '7'"),
        ({"frames": 7, "first_frame": -1}, "its fact first_frame is -1"),
        ({"frames": 7, "background": "white"}, "its fact background is 'white', expected three numbers between 0 and"),
        ({"frames": 7, "background": [5, 5, 5]}, "its fact background is"),
        ({"frames": 7, "raster": {"near": "a"}}, "its fact raster is {'near': 'a'} .must be real number"),
        ({"frames": 7, "raster": {"near": -1}}, "its fact raster: near is -1"),
        ({"frames": 7, "raster": {"foo": 1}}, "its fact raster is {'foo': 1}, expected settings out of"),
        ([1], "its facts are no JSON object"),
    ],
)
def test_facts_that_cannot_be_are_refused(facts: object, named: str, tmp_path: Path) -> None:
    path = written(tmp_path, gaussians(end=9.0), FRAMES / RATE, metadata={FACTS: json.dumps(facts)})
    with pytest.raises(CheckpointError, match=rf"theirs.4dgs: not a readable .4dgs file \(.*({named})"):
        load_splats(path, OPTIONS)


def test_files_without_splats_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="has no splats; write it again, or leave this expert out"):
        load_splats(written(tmp_path, gaussians(0, end=9.0), FRAMES / RATE), OPTIONS)
    (tmp_path / "frames").mkdir()
    empty = made_up().at(FRAMES + 9)
    assert empty.count == 0
    for frame in range(FRAMES):
        write_frame(tmp_path / "frames" / f"{frame}.ply", empty)
    with pytest.raises(CheckpointError, match="has no splats"):
        load_splats(tmp_path / "frames", OPTIONS)


def test_a_folder_with_both_kinds_of_files_is_refused(tmp_path: Path) -> None:
    written(tmp_path, gaussians(end=9.0), FRAMES / RATE)
    write_frame(tmp_path / "frame_0.ply", made_up().at(0))
    with pytest.raises(CheckpointError, match=r"has theirs.4dgs and 1 PLY file; give the .4dgs file, or a folder with"):
        load_splats(tmp_path, OPTIONS)


def test_an_ending_in_capitals_is_one(tmp_path: Path) -> None:
    path = written(tmp_path, gaussians(end=9.0), FRAMES / RATE).rename(tmp_path / "THEIRS.4DGS")
    check_expert("--expert", path, "Splats")
    assert load_splats(path, OPTIONS).num_gaussians == load_splats(tmp_path, OPTIONS).num_gaussians == 5
    with pytest.raises(ConfigError, match="is a file; give a file"):
        check_expert("--expert", written(tmp_path, gaussians(end=9.0), 1.0).rename(tmp_path / "a.4dgx"), "Splats")


def test_frames_beyond_the_clip_are_told(tmp_path: Path) -> None:
    frames = tmp_path / "frames"
    frames.mkdir()
    for frame in range(4):
        write_frame(frames / f"{frame}.ply", made_up().at(frame))
    (frames / "cfg_args").write_text("Namespace(near=0.5, start_timestamp=20)")
    expert = load_splats(frames, LoadOptions(num_frames=3))
    assert expert.provenance.notes[-1] == "warning: has 4 frames, and the clip 3: the first 3 are shown"
    assert expert.settings == RasterSettings(near=0.5)
    assert expert.first_frame == 20
    save_splats(expert, tmp_path / "copy", 1)
    copy = load_splats(tmp_path / "copy", LoadOptions(num_frames=3))
    assert (copy.first_frame, copy.settings) == (20, expert.settings)
    assert torch.equal(copy.at(2).means, expert.at(2).means)
