"""The origin of a training's first points."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from scenes import SceneError, SceneOptions, load_scene
from scenes.points.cloud import thinned
from scenes.points.random import random_points
from scenes.points.start import load_start_points
from scenes.points.visibility import suggest_near, views_of
from tests.scenes.small_rigs import (
    coloured,
    load,
    places,
    scene_of,
    trained,
    write_ply,
    write_points3d,
)


@pytest.mark.parametrize(
    ("order", "place", "shade", "value"),
    [("<", "f4", "u1", 51), (">", "f8", "u2", 13107), ("text", "f4", "f4", 0.2), ("text", "f8", "u1", 51)],
)
def test_ply_files_of_other_programs(tmp_path, order, place, shade, value):
    positions = places(30)
    columns = [(name, place, positions[:, axis]) for axis, name in enumerate("xyz")]
    columns += [("nx", "f4", np.zeros(30))]
    columns += [(name, shade, np.full(30, value * factor)) for name, factor in (("red", 1), ("green", 0), ("blue", 5))]
    path = write_ply(tmp_path / "cloud.ply", columns, order=order, after="3 0 1 2\n")
    cloud = load(scene_of(tmp_path / "room"), path)
    assert torch.equal(cloud.positions, torch.from_numpy(positions))
    torch.testing.assert_close(cloud.colours, torch.tensor([0.2, 0.0, 1.0]).expand(30, 3))
    assert (cloud.frames, cloud.note) == (None, f"30 points from {path}")


def test_frames_of_an_archive_count_from_the_clips_start(tmp_path):
    scene = scene_of(tmp_path / "room", start=100)
    path = tmp_path / "points.npz"
    np.savez(path, xyz=places(30), rgb=np.full((30, 3), 255, np.uint8), frame=np.repeat([100, 104, 130], 10))
    first = load(scene, path)
    assert first.frames.tolist() == [0] * 10 and first.note == f"30 points from {path}; kept the 10 at frame 100"
    both = load(scene, path, frames=range(10))
    assert both.frames.tolist() == [0] * 10 + [4] * 10
    assert torch.equal(both.positions, torch.from_numpy(places(30)[:20]))
    late = load(scene, path, frames=[5])
    assert late.frames.tolist() == [4] * 10
    assert late.note == f"30 points from {path}; none at frame 105, so kept those at frame 104, the nearest"


@pytest.mark.parametrize(("name", "duration"), [("points3D_total50.ply", 50), ("points.ply", 10)])
def test_fractions_of_the_clip_become_frames(tmp_path, name, duration):
    frames = np.arange(duration)
    columns = [*coloured(places(duration)), ("t", "f4", frames / duration)]
    cloud = load(scene_of(tmp_path / "room"), write_ply(tmp_path / name, columns), frames=range(duration))
    assert cloud.frames.tolist() == frames.tolist()


def test_tracked_points_stand_at_the_frames_asked_for(tmp_path):
    scene = scene_of(tmp_path / "room")
    tracks = np.stack([places(20), places(20) + 0.1], axis=1)
    present = np.ones((20, 2), bool)
    present[:5, 1] = False
    np.savez(scene.root / "known_points.npz", tracks=tracks, colours=np.full((20, 3), 0.5), present=present)
    cloud = load(scene, frames=[1])
    assert torch.equal(cloud.positions, torch.from_numpy(tracks[5:, 1])) and (cloud.frames == 1).all()


def test_each_frame_has_its_colmap_model(tmp_path):
    scene = scene_of(tmp_path / "room", start=3)
    for number, seed in ((3, 0), (5, 1)):
        write_points3d(scene.root / f"colmap_{number}" / "sparse" / "0", places(7, seed=seed))
    first = load(scene)
    assert torch.equal(first.positions, torch.from_numpy(places(7))) and (first.frames == 0).all()
    torch.testing.assert_close(first.colours, torch.tensor([0.2, 0.0, 1.0]).expand(7, 3))
    both = load(scene, frames=range(4))
    assert torch.equal(both.positions[7:], torch.from_numpy(places(7, seed=1)))
    assert both.frames.tolist() == [0] * 7 + [2] * 7
    assert both.note == "14 points from the COLMAP models of 2 of 4 frames"
    assert first.note == "7 points from the COLMAP model of frame 3"
    write_points3d(scene.root / "colmap_4" / "sparse" / "0", places(1, seed=2))
    assert load(scene, frames=range(3)).note == "15 points from the COLMAP models of 3 frames"


def test_text_models(tmp_path):
    scene = scene_of(tmp_path / "room")
    folder = scene.root / "colmap_0" / "sparse" / "0"
    folder.mkdir(parents=True)
    (folder / "points3D.txt").write_text("# a comment\n7 0.1 0.2 3 255 51 0 0.4 1 2 3 4\n8 -0.1 0 2.5 0 0 0 1\n")
    cloud = load(scene)
    torch.testing.assert_close(cloud.positions, torch.tensor([[0.1, 0.2, 3.0], [-0.1, 0.0, 2.5]]))
    torch.testing.assert_close(cloud.colours, torch.tensor([[1.0, 0.2, 0.0], [0.0, 0.0, 0.0]]))


def test_random_points_are_had_where_there_are_others(tmp_path):
    scene = scene_of(tmp_path / "room")
    write_ply(scene.root / "points3D.ply", coloured(places(9)))
    wanted = random_points(scene, frame=0, count=7, seed=2)
    cloud = load_start_points(scene, source="random", frames=(0,), limit=7, seed=2)
    assert torch.equal(cloud.positions, wanted.positions) and cloud.note == wanted.note
    assert load(scene).count == 9


def test_the_first_source_there_is_counts(tmp_path):
    scene = scene_of(tmp_path / "room")
    assert "random" in load(scene, limit=3).note
    names = ["colmap_0/sparse/0/points3D.ply", "points3D.ply", "points3D_downsample.ply", "points3D_downsample2.ply"]
    for count, name in enumerate(names, start=4):
        write_ply(scene.root / name, coloured(places(count)))
        assert load(scene).count == count
    (scene.root / "colmap_0" / "sparse" / "0" / "points3D.txt").write_text("")
    assert load(scene).count == 7, "a model without points was used"
    write_points3d(scene.root / "colmap_1" / "sparse" / "0", places(9))
    assert load(scene).count == 7, "another frame's model was used"
    assert load(scene, frames=[1]).count == 9
    assert load(scene, scene.root / "points3D.ply", frames=[1]).count == 5


def broken_files(folder: Path) -> dict[str, Path]:
    folder.mkdir()
    whole = write_ply(folder / "whole.ply", coloured(places(9))).read_bytes()
    (folder / "short.ply").write_bytes(whole[:-1])
    (folder / "page.ply").write_bytes(b"<!DOCTYPE html>")
    (folder / "short.bin").write_bytes(struct.pack("<Q", 3) + bytes(60))
    (folder / "junk.npz").write_bytes(b"PK junk")
    (folder / "cloud.obj").write_text("v 0 0 0\n")
    np.savez(folder / "names.npz", points=np.zeros((3, 3)))
    write_ply(folder / "plain.ply", coloured(places(9))[:3])
    write_ply(folder / "model.ply", [*coloured(places(9))[:3], ("f_dc_0", "f4", np.zeros(9))])
    write_ply(folder / "none.ply", coloured(places(0)))
    write_ply(folder / "bright.ply", [(name, "f4", values) for name, _, values in coloured(places(9))])
    write_ply(folder / "behind.ply", coloured(-places(9)))
    write_ply(folder / "nan.ply", coloured(np.full((3, 3), np.nan)))
    return {path.name: path for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent.ply", "no such file"),
        ("short.ply", "truncated: 8 of 9 points"),
        ("page.ply", "not a PLY file"),
        ("short.bin", "cannot hold 3 points"),
        ("junk.npz", "not a readable point cloud"),
        ("cloud.obj", ".obj is no point cloud"),
        ("names.npz", "arrays points, expected xyz and rgb"),
        ("plain.ply", "columns x, y, z, expected x y z and red green blue"),
        ("model.ply", "trained model, not a point cloud"),
        ("none.ply", "holds no points"),
        ("bright.ply", r"colours from 51 to 51, floats must lie in 0 ... 1"),
        ("behind.ply", "none of the start points is in the image .* another world frame"),
        ("nan.ply", "no start points are left .*dropped 3 points with values that are not finite"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, name, message):
    path = broken_files(tmp_path / "files").get(name, tmp_path / name)
    with pytest.raises(SceneError, match=message) as raised:
        load(scene_of(tmp_path / "room"), path)
    assert "\n" not in str(raised.value)


def test_a_cloud_that_is_hardly_seen_is_noted(tmp_path):
    positions = np.concatenate([places(10), -places(30)])
    cloud = load(scene_of(tmp_path / "room"), write_ply(tmp_path / "cloud.ply", coloured(positions)))
    assert cloud.count == 40 and "only 25.0% of them" in cloud.note


@pytest.mark.parametrize(
    ("folder", "file", "count"),
    [("basketball", None, 47328), ("kitchen_tiny", "surface_points.npz", 25011), ("basketball", "random", 5000)],
)
def test_real_clouds(shared, tmp_path, folder, file, count):
    root = shared(f"data/{folder}")
    options = SceneOptions(cache=tmp_path, duration=1, needed="test", resolution=4, progress=False)
    scene = load_scene(root, options)
    if file == "random":
        cloud = random_points(scene, frame=0, count=count, seed=0)
    else:
        cloud = load(scene, root / file if file else None)
    assert cloud.count == count
    assert (views_of(cloud.positions, trained(scene)) > 0).double().mean() > 0.9
    assert 0.1 < suggest_near(cloud, trained(scene)) < 1.5
    assert 0.1 < cloud.colours.mean() < 0.9 and len(thinned(cloud, 2000).positions) > 1900


def test_points_of_a_published_colmap_model(shared, tmp_path):
    model = shared("data/flame_steak_frame0")
    room = tmp_path / "flame_steak" / "colmap_0"
    room.mkdir(parents=True)
    for name in ("images", "sparse"):
        (room / name).symlink_to(model / name)
    scene = load_scene(room.parent, SceneOptions(cache=tmp_path / "cache", resolution=8, needed="test", progress=False))
    cloud = load(scene)
    assert cloud.count == 7188 and cloud.note.endswith("dropped 110 repeated points")
    assert (views_of(cloud.positions, trained(scene)) >= 2).all(), "a triangulated point is in two images"
