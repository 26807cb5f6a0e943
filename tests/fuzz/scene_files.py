"""Files of scenes: calibrations, footage, decoded frames and points."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pycolmap

from scenes import Scene, SceneError, SceneOptions, load_scene
from scenes.calibration.colmap_model import read_colmap_cameras
from scenes.points.files import read_points
from scenes.preparation.records import Record, Stamp, read_record, write_record
from tests.fuzz.samples import Maker, Sample
from tests.scenes.scene_folders import Rig, rig_cameras, write_colmap_model, write_n3v_scene, write_technicolor_scene

SMALL = Rig(frames=2, width=32, height=24, focal=30.0)


def n3v(file: str) -> Maker:
    def make(folder: Path) -> Sample:
        write_n3v_scene(folder / "scene", SMALL)
        options = SceneOptions(cache=folder / "cache", progress=False)
        return Sample(file=folder / "scene" / file, read=lambda: _values(load_scene(folder / "scene", options)))

    return make


def technicolor(pattern: str) -> Maker:
    def make(folder: Path) -> Sample:
        write_technicolor_scene(folder / "room")
        options = SceneOptions(cache=folder / "cache", layout="technicolor", start=1, progress=False)
        file = sorted((folder / "room").glob(pattern))[0]
        return Sample(file=file, read=lambda: _values(load_scene(folder / "room", options)))

    return make


def cached(pattern: str) -> Maker:
    def make(folder: Path) -> Sample:
        write_n3v_scene(folder / "scene", SMALL)
        options = SceneOptions(cache=folder / "cache", progress=False)
        load_scene(folder / "scene", options)

        def read() -> object:
            return _values(load_scene(folder / "scene", options))

        return Sample(file=sorted((folder / "cache").rglob(pattern))[0], read=read)

    return make


def colmap(name: str) -> Maker:
    def make(folder: Path) -> Sample:
        write_colmap_model(folder / "text", rig_cameras(SMALL))
        if name.endswith(".txt"):
            return Sample(file=folder / "text" / name, read=lambda: read_colmap_cameras(folder / "text"))
        (folder / "binary").mkdir()
        pycolmap.Reconstruction(folder / "text").write_binary(folder / "binary")
        return Sample(file=folder / "binary" / name, read=lambda: read_colmap_cameras(folder / "binary"))

    return make


def points(suffix: str) -> Maker:
    def make(folder: Path) -> Sample:
        file, rows = folder / f"points{suffix}", np.random.default_rng(0).random((20, 3))
        if suffix == ".ply":
            head = "ply\nformat ascii 1.0\nelement vertex 20\n"
            head += "".join(f"property float {name}\n" for name in "xyz")
            head += "".join(f"property uchar {name}\n" for name in ("red", "green", "blue")) + "end_header\n"
            file.write_text(head + "".join(f"{x} {y} {z} 1 2 3\n" for x, y, z in rows))
        elif suffix == ".npz":
            np.savez(file, xyz=rows, rgb=rows)
        elif suffix == ".txt":
            file.write_text("".join(f"{i} {x} {y} {z} 1 2 3 0.5\n" for i, (x, y, z) in enumerate(rows)))
        else:
            point = np.dtype([("id", "<u8"), ("xyz", "<f8", 3), ("rgb", "u1", 3), ("error", "<f8"), ("track", "<u8")])
            file.write_bytes((20).to_bytes(8, "little") + np.zeros(20, point).tobytes())
        return Sample(file=file, read=lambda: read_points(file))

    return make


def step_record(folder: Path) -> Sample:
    """A step's record: where it is damaged, the step is made again."""
    file = folder / "preparation" / "clouds.json"
    stamps: list[Stamp] = [["clouds/0.ply", 5, 7]]
    record = Record(
        version=1, options={"every": 1}, inputs=[["a.mp4", 5, 7]], outputs=["clouds"], stamps=stamps, result=None,
        finished=True,
    )  # fmt: skip
    write_record(file, record)

    def read() -> Record:
        found = read_record(file)
        if found is None:
            raise SceneError(f"{file}: not used")
        return found

    return Sample(file=file, read=read)


def _values(scene: Scene) -> object:
    """All that a scene's files say: cameras, split, clip, and the frames of all views."""
    places = [(view, frame) for view in range(len(scene.views)) for frame in range(scene.num_frames)]
    pixels = [scene.frames.read(*place) for place in places]
    return scene.views, scene.train, scene.test, scene.start, scene.num_frames, scene.frame_rate, pixels
