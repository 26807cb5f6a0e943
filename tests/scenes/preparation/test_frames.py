from __future__ import annotations

import shutil
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scenes import SceneError
from scenes.frames.sources import FrameSource
from scenes.frames.video import Video, decode_video, probe_video
from scenes.preparation.frames import ImagesByFrame, written_frames
from scenes.preparation.steps import opened
from tests.scenes.preparation.stand_in import contents, options
from tests.scenes.scene_folders import Rig, write_n3v_frames

RIG = Rig(cameras=("cam00", "cam01"), frames=5)


def footage(root: Path) -> dict[str, FrameSource]:
    root.mkdir(exist_ok=True)
    if not (root / "cam00.mp4").exists():
        write_n3v_frames(root, RIG, "{name}.mp4")
    return {name: probe_video(root / f"{name}.mp4") for name in RIG.cameras}


def written(root: Path, numbers: list[int], **changed: object) -> tuple[ImagesByFrame, list[str]]:
    sources = footage(root)
    with opened(root) as bench:
        images = written_frames(bench, sources, numbers, options(**changed))
        return images, [report.outcome for report in bench.reports]


def names(root: Path) -> list[str]:
    return [name for name in contents(root) if name.endswith(".png")]


def test_frames_are_written_as_decoded(tmp_path: Path) -> None:
    images, _ = written(tmp_path, [0, 3])
    assert names(tmp_path) == ["cam00/000000.png", "cam00/000003.png", "cam01/000000.png", "cam01/000003.png"]
    video = footage(tmp_path)["cam01"]
    assert isinstance(video, Video)
    frames = list(decode_video(video, 0, 5, threads=1))
    assert np.array_equal(np.asarray(Image.open(images[3]["cam01"])), frames[3])


def test_training_resolution_is_that_of_the_readers(tmp_path: Path) -> None:
    images, _ = written(tmp_path, [1], resolution=2)
    assert Image.open(images[1]["cam00"]).size == (32, 24)
    _, outcomes = written(tmp_path, [1], resolution=2)
    assert outcomes == ["skipped", "skipped"]
    _, outcomes = written(tmp_path, [1], resolution=2, resize="lanczos")
    assert outcomes == ["done", "done"]


def test_frames_that_are_there_stay_and_new_ones_join_them(tmp_path: Path) -> None:
    written(tmp_path, [0])
    _, more = written(tmp_path, [0, 1, 2])
    _, fewer = written(tmp_path, [2])
    assert (more, fewer) == (["done", "done"], ["skipped", "skipped"])
    assert len(names(tmp_path)) == 6


def test_another_size_removes_frames_of_the_old_one(tmp_path: Path) -> None:
    written(tmp_path, [0, 1])
    written(tmp_path, [0], resolution=2)
    assert names(tmp_path) == ["cam00/000000.png", "cam01/000000.png"]


def test_a_damaged_frame_is_written_again_for_its_camera_alone(tmp_path: Path) -> None:
    written(tmp_path, [0, 1])
    whole = contents(tmp_path)
    (tmp_path / "cam01" / "000001.png").write_bytes(b"")
    _, outcomes = written(tmp_path, [0, 1])
    assert sorted(outcomes) == ["done", "skipped"]
    assert contents(tmp_path) == whole


def test_images_of_someone_else_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "cam01").mkdir()
    (tmp_path / "cam01" / "000000.png").write_bytes(b"mine")
    with pytest.raises(SceneError, match=r"cam01/000000\.png would be overwritten"):
        written(tmp_path, [0])
    assert (tmp_path / "cam01" / "000000.png").read_bytes() == b"mine"
    assert not (tmp_path / "cam00").exists()


def test_a_video_that_breaks_off_leaves_no_frame_of_its_camera(tmp_path: Path) -> None:
    sources = footage(tmp_path)
    longer = {
        name: Video(path=source.path, count=9, width=64, height=48)
        for name, source in sources.items()
        if isinstance(source, Video)
    }
    with opened(tmp_path) as bench, pytest.raises(SceneError, match=r"cam0\d\.mp4: ends after 5 of 9 frames") as caught:
        written_frames(bench, longer, [0, 7], options())
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == []


def test_a_full_disk_is_noticed_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**6, 10**6 - 100, 100))
    with pytest.raises(SceneError, match=r"0\.0 GB needed for 4 frames of 2 cameras, 0\.0 GB free"):
        written(tmp_path, [0, 1])
    assert names(tmp_path) == []
