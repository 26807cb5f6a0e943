from __future__ import annotations

import numpy as np
import pytest

from scenes import SceneError
from scenes.points.files import read_points
from scenes.points.ply import read_ply_vertices
from scenes.preparation.sfm import clouds
from scenes.preparation.sfm.clouds import write_clouds
from tests.scenes.small_rigs import places, write_points3d

NAMES = ["points3D.ply", "points3D_downsample.ply", "points3D_downsample2.ply"]
COLUMNS = ("x", "y", "z", "nx", "ny", "nz", "red", "green", "blue")


def model_of(root, frame, count, *, seed=0, colour=51):
    folder = root / f"colmap_{frame}" / "sparse" / "0"
    write_points3d(folder, places(count, seed=seed), colour)
    return folder


def test_the_three_files(tmp_path, monkeypatch):
    monkeypatch.setattr(clouds, "LIMITS", dict(zip(NAMES, (None, 800, 300), strict=True)))
    counts = write_clouds([model_of(tmp_path, 0, 1000)], tmp_path)
    assert list(counts) == NAMES
    assert counts["points3D.ply"] == 1000
    assert 0.9 * 800 < counts["points3D_downsample.ply"] <= 800
    assert 0.9 * 300 < counts["points3D_downsample2.ply"] <= 300
    for name in NAMES:
        rows = read_ply_vertices(tmp_path / name)
        assert len(rows) == counts[name]
        assert rows.dtype.names == COLUMNS
        assert [rows.dtype[column].str for column in COLUMNS] == ["<f4"] * 6 + ["|u1"] * 3
        assert not any(rows[column].any() for column in ("nx", "ny", "nz"))
        assert (rows["red"] == 51).all()
        assert (rows["green"] == 0).all()
        assert (rows["blue"] == 255).all()
    assert set(map(tuple, read_points(tmp_path / NAMES[2]).positions)) <= set(map(tuple, places(1000)))
    np.testing.assert_array_equal(read_points(tmp_path / NAMES[0]).positions, places(1000))
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_the_published_limits():
    assert list(clouds.LIMITS.items()) == list(zip(NAMES, (None, 100_000, 40_000), strict=True))


def test_points_of_several_models_know_their_frames(tmp_path):
    models = [
        model_of(tmp_path, 50, 40, seed=1),
        model_of(tmp_path, 0, 30, seed=2),
        model_of(tmp_path, 100, 20, seed=2),
    ]
    counts = write_clouds(models, tmp_path)
    assert set(counts.values()) == {90}  # the same place at another frame is another point
    points = read_points(tmp_path / "points3D.ply")
    assert [(points.frames == frame).sum() for frame in (50, 0, 100)] == [40, 30, 20]
    np.testing.assert_array_equal(points.positions[points.frames == 50], places(40, seed=1))


def test_models_without_points_or_number(tmp_path):
    with pytest.raises(SceneError, match="holds no points; reconstruct"):
        write_clouds([model_of(tmp_path, 0, 0)], tmp_path)
    with pytest.raises(SceneError, match=r"holds no points3D.bin; reconstruct"):
        write_clouds([tmp_path], tmp_path)
    with pytest.raises(SceneError, match="no COLMAP models given"):
        write_clouds([], tmp_path)
    write_points3d(tmp_path / "other" / "sparse" / "0", places(5))
    with pytest.raises(SceneError, match=r"must lie in colmap_<frame>/sparse/0"):
        write_clouds([model_of(tmp_path, 1, 5), tmp_path / "other" / "sparse" / "0"], tmp_path)
    assert list(tmp_path.glob("*.ply")) == []
