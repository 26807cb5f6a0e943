"""The generated scene: repeatable, and its points, images and files agree with each other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from demo.playroom import PointCounts, RigSize, known_points, rig_cameras, write_scene
from demo.playroom.film import film_camera
from demo.playroom.rig import pixel_rays, poses_bounds
from demo.playroom.solids import Solid, canonical_normals, hit_distances, to_canonical, to_world
from demo.playroom.tracer import ROOM, soft_shadow, trace_moving, trace_still
from demo.playroom.world import demo_world
from scenes import SceneOptions, load_scene
from scenes.points.files import read_points

SMALL = RigSize(width=48, height=36, num_frames=6)
COUNTS = PointCounts(still=300, moving=200, instants=3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scene") / "tiny"
    write_scene(path, size=SMALL, counts=COUNTS, supersampling=1)
    return path


def moved_solids() -> list[Solid]:
    return [solid for solid in demo_world().solids if solid.moves]


def test_films_are_repeatable() -> None:
    camera = rig_cameras(SMALL)[2]
    films = [film_camera(demo_world(), camera, num_frames=3, supersampling=1) for _ in range(2)]
    assert np.array_equal(films[0], films[1])
    assert (films[0][0] != films[0][2]).any(), "nothing moves"


def test_points_depend_on_the_seed_alone() -> None:
    cameras = rig_cameras(SMALL)[:2]
    first, again, other = (
        known_points(demo_world(), cameras, num_frames=4, counts=COUNTS, seed=seed) for seed in (0, 0, 1)
    )
    assert np.array_equal(first.tracks, again.tracks)
    assert not np.array_equal(first.tracks, other.tracks)


@pytest.mark.parametrize("shape", ["sphere", "box", "cylinder"])
def test_rays_meet_unit_shapes_on_their_surface(shape: str) -> None:
    rng = np.random.default_rng(0)
    origins = rng.normal(size=(400, 3))
    origins = (4.0 * origins / np.linalg.norm(origins, axis=1, keepdims=True)).astype(np.float32)
    directions = (rng.uniform(-0.5, 0.5, (400, 3)) - origins).astype(np.float32)  # aimed at the inside
    distances = hit_distances(shape, origins, directions)
    points = origins + directions * distances[:, None]
    level = {
        "sphere": np.linalg.norm(points, axis=1),
        "box": np.abs(points).max(axis=1),
        "cylinder": np.maximum(np.abs(points[:, 1]), np.hypot(points[:, 0], points[:, 2])),
    }[shape]
    assert np.abs(level - 1.0).max() < 1e-5
    assert ((canonical_normals(shape, points) * directions).sum(axis=1) < 0).all(), "a normal points away from its ray"
    assert np.isinf(hit_distances(shape, origins, -directions)).all()


def test_poses_are_rigid_and_invertible() -> None:
    points = np.random.default_rng(1).uniform(-1, 1, (20, 3)).astype(np.float32)
    for solid in moved_solids():
        for time in (0.0, 0.3, 0.55):
            pose = solid.pose(time)
            assert np.allclose(pose.rotation @ pose.rotation.T, np.eye(3), atol=1e-6), solid.name
            if pose.size:
                assert np.allclose(to_canonical(solid, pose, to_world(solid, pose, points)), points, atol=2e-5)


def test_every_solid_moves_and_the_visitor_comes_and_goes() -> None:
    for solid in moved_solids():
        sizes = {solid.pose(time).size for time in np.linspace(0, 0.99, 30)}
        centres = np.stack([solid.pose(time).centre for time in np.linspace(0, 0.99, 30)])
        assert len(sizes) > 1 or np.ptp(centres, axis=0).max() > 0.1 or solid.name == "crate"
    (visitor,) = (solid for solid in moved_solids() if solid.name == "visitor")
    assert [bool(visitor.pose(time).size) for time in (0.0, 0.5, 0.9)] == [False, True, False]


def test_known_points_project_onto_their_own_surface() -> None:
    """A ray sent to a known point meets that solid at that depth, or something nearer: never what lies behind."""
    world, cameras = demo_world(), rig_cameras(SMALL)
    points = known_points(world, cameras[1:3], num_frames=6, counts=COUNTS, seed=0)
    agreeing = 0
    for frame in (0, 3):
        camera = cameras[1]
        rays = pixel_rays(camera, supersampling=1)
        still = trace_still(world, rays)
        surface = rays.origin + rays.directions * still.distances[:, None]
        time = frame / 6
        hits = trace_moving(world, rays, still, time=time, shadow=soft_shadow(world, surface, time=time))
        rows = np.flatnonzero(points.present[:, frame])
        pose = camera.world_to_camera.numpy()
        local = points.tracks[rows, frame] @ pose[:3, :3].T + pose[:3, 3]
        x = np.floor(camera.fx * local[:, 0] / local[:, 2] + camera.cx).astype(int)
        y = np.floor(camera.fy * local[:, 1] / local[:, 2] + camera.cy).astype(int)
        inside = (x >= 0) & (x < camera.width) & (y >= 0) & (y < camera.height)
        pixel = (y * camera.width + x)[inside]
        same = hits.solids[pixel] == points.solids[rows][inside]
        depth = np.linalg.norm(points.tracks[rows, frame] - rays.origin, axis=1)[inside]
        # Half a pixel of slant moves the depth a little where the solid is the same.
        assert (hits.distances[pixel][same] < depth[same] + 0.35).all()
        error = np.abs(hits.colours[pixel][same] - points.colours[rows][inside][same]).mean(axis=1)
        agreeing += int((error < 0.15).sum())
        assert np.median(error) < 0.06
    assert agreeing > 300
    assert (points.solids == ROOM).any() and set(np.unique(points.solids)) >= {0, 1, 2}


def test_poses_are_in_the_llff_convention() -> None:
    """Rows give back the cameras by the published conversion: (down, right, back) to (right, down, forward)."""
    cameras = rig_cameras(SMALL)
    rows = poses_bounds(cameras, near=0.5, far=12.0)
    assert rows.shape == (len(cameras), 17)
    for camera, row in zip(cameras, rows, strict=True):
        pose = row[:15].reshape(3, 5)
        rotation = np.stack([pose[:, 1], pose[:, 0], -pose[:, 2]], axis=1)
        assert np.allclose(rotation, camera.camera_to_world[:3, :3], atol=1e-6)
        assert np.allclose(pose[:, 3], camera.centre, atol=1e-6)
        assert pose[:, 4] == pytest.approx([camera.height, camera.width, camera.fx])
        assert torch.linalg.det(camera.world_to_camera[:3, :3]) == pytest.approx(1.0, abs=1e-5)


def test_the_folder_loads_as_a_scene(folder: Path, tmp_path: Path) -> None:
    scene = load_scene(folder, SceneOptions(cache=tmp_path, progress=False))
    assert (len(scene.views), scene.num_frames, scene.test) == (SMALL.num_cameras, SMALL.num_frames, (0,))
    film = film_camera(demo_world(), rig_cameras(SMALL)[4], num_frames=SMALL.num_frames, supersampling=1)
    read = np.stack([scene.frames.read(4, frame) for frame in range(SMALL.num_frames)])
    error = np.abs(read.astype(int) - film.astype(int))
    assert error.max() <= 3  # RGB to YCbCr and back: 2 seen


def test_known_points_of_a_folder(folder: Path) -> None:
    points = read_points(folder / "known_points.npz")
    assert points.frames is not None
    first, last = (points.positions[points.frames == frame] for frame in (0, SMALL.num_frames - 1))
    assert 300 < len(first) <= 500 and len(np.unique(points.frames)) == SMALL.num_frames
    assert np.array_equal(first[:300], last[:300]), "still points move"
    assert not list(folder.glob(".*")), "a temporary file is left"
