from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scenes import SceneError
from tests.scenes.layouts.n3v.test_n3v_preparation import prepare, scene
from tests.scenes.preparation.stand_in import StandIn, contents


def no_poses(root: Path) -> None:
    (root / "poses_bounds.npy").unlink()


def broken_poses(root: Path) -> None:
    (root / "poses_bounds.npy").write_bytes(b"\x93NUMPY broken")


def few_poses(root: Path) -> None:
    np.save(root / "poses_bounds.npy", np.load(root / "poses_bounds.npy")[:2])


def no_video(root: Path) -> None:
    for path in root.glob("*.mp4"):
        path.unlink()


def broken_video(root: Path) -> None:
    (root / "cam01.mp4").write_bytes(b"no video")


def half_a_video(root: Path) -> None:
    data = (root / "cam01.mp4").read_bytes()
    (root / "cam01.mp4").write_bytes(data[: len(data) // 2])


def own_points(root: Path) -> None:
    (root / "points3D.ply").write_bytes(b"mine")


def own_model(root: Path) -> None:
    (root / "colmap_0").mkdir()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (no_poses, r"poses_bounds\.npy: no such file; copy it from the data set, or find the cameras by"),
        (broken_poses, r"poses_bounds\.npy: not a readable numpy file"),
        (few_poses, r"poses_bounds\.npy: 2 rows, but 3 cameras have frames"),
        (no_video, r"no frames found"),
        (broken_video, r"cam01\.mp4: not a readable video"),
        (half_a_video, r"cam01\.mp4: "),
        (own_points, r"points3D\.ply would be overwritten"),
        (own_model, r"colmap_0 would be overwritten"),
    ],
)
def test_errors_are_one_line_and_leave_nothing(tmp_path: Path, damage: Any, message: str) -> None:
    damage(scene(tmp_path))
    before, stand_in = contents(tmp_path), StandIn()
    with pytest.raises(SceneError, match=message) as caught:
        prepare(tmp_path, stand_in)
    assert "\n" not in str(caught.value)
    assert contents(tmp_path) == before
    assert stand_in.calls == []


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"every": 0}, r"every 0 means nothing"),
        ({"end": 9}, r"4 frames found from frame 0 on, 9 asked for"),
        ({"trainer_folders": ("ed3dgs",)}, r"ed3dgs link to the images of all frames; .*--frames all"),
        ({"resolution": 0}, r"resolution 0 means nothing"),
    ],
)
def test_options_that_do_not_fit(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    stand_in = StandIn()
    with pytest.raises(SceneError, match=message):
        prepare(scene(tmp_path), stand_in, **changed)
    assert stand_in.calls == []
