"""The kinds of files that strangers give: how a good one is made, and how the commands read it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pycolmap
import pytest
import torch

from engine.commands import train
from engine.errors import ConfigError
from engine.evaluation.measures.lpips_weights import load_lpips
from engine.runs.checkpoint import FACTS, STATE, TENSORS, checkpoint_folder, load_checkpoint
from engine.settings.parsing.config_file import read_config_file
from engine.settings.training.run import RunConfig
from engine.training.expert.saves import saved_state
from engine.training.router.resume import restore_training_state
from engine.training.router.schedule import make_optimiser
from experts import LoadOptions, load_expert
from experts.formats.packed import write_packed
from experts.formats.ply import read_ply
from experts.freetime.files import save_freetime
from experts.stg.files import save_stg
from scenes import SceneOptions, load_scene
from scenes.calibration.colmap_model import read_colmap_cameras
from scenes.camera_files import read_cameras
from scenes.points.files import read_points
from scenes.preparation.records import read_record
from tests.engine.evaluation.test_lpips import random_weights
from tests.engine.expert_scene import run, write_film
from tests.experts.ex4dgs.test_ex4dgs_files import capture
from tests.experts.ex4dgs.test_ex4dgs_files import model as ex4dgs_model
from tests.experts.freetime.models import small_model
from tests.experts.freetime.test_freetime_foreign_files import NUM_FRAMES as FREETIME_FRAMES
from tests.experts.freetime.test_freetime_foreign_files import splats
from tests.experts.stg.test_stg_files import model as stg_model
from tests.scenes.scene_folders import Rig, rig_cameras, write_colmap_model, write_n3v_scene, write_technicolor_scene
from tests.small_world import use_small_world

DEMO = Path(__file__).resolve().parents[2] / "demo" / "experts"
SMALL = Rig(frames=2, width=32, height=24, focal=30.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A good file below a folder, and a function that reads it as a command does."""

    file: Path
    read: Callable[[], object]
    refused: bool = False  # even the good file


Maker = Callable[[Path], Sample]


def _expert(name: str, file: str) -> Maker:
    """A file of one of the demo's experts."""

    def make(folder: Path) -> Sample:
        shutil.copytree(DEMO / name, folder / name)
        found = next((folder / name).rglob(file))
        return Sample(file=found, read=lambda: load_expert(name, folder / name, LoadOptions(num_frames=30)))

    return make


def _legacy(folder: Path) -> Sample:
    """A decoder that is written in the format of PyTorch before 1.6: refused, whatever is in it."""
    save_stg(stg_model("full", 1), folder / "model", 5)
    file = next((folder / "model").rglob("point_cloud.pt"))
    torch.save(torch.load(file, weights_only=True), file, _use_new_zipfile_serialization=False)
    return Sample(file=file, read=lambda: load_expert("STG", folder / "model", LoadOptions()), refused=True)


def _freetime(folder: Path) -> Sample:
    save_freetime(small_model(40), folder / "model", 7)
    file = next((folder / "model").rglob("point_cloud.ply"))
    return Sample(file=file, read=lambda: load_expert("FreeTime", folder / "model", LoadOptions(num_frames=5)))


def _freetime_checkpoint(folder: Path) -> Sample:
    file = folder / "ckpt_29999.pt"
    torch.save({"step": 29998, "splats": splats()}, file)
    return Sample(file=file, read=lambda: load_expert("FreeTime", folder, LoadOptions(num_frames=FREETIME_FRAMES)))


def _ex4dgs_checkpoint(folder: Path) -> Sample:
    file = folder / "chkpnt25.pth"
    torch.save((capture(ex4dgs_model()), 25), file)
    return Sample(file=file, read=lambda: load_expert("Ex4DGS", file, LoadOptions(num_frames=50)))


def _stg_decoder(folder: Path) -> Sample:
    save_stg(stg_model("full", 1), folder / "model", 5)
    file = next((folder / "model").rglob("point_cloud.pt"))
    return Sample(file=file, read=lambda: load_expert("STG", folder / "model", LoadOptions()))


def _packed(folder: Path) -> Sample:
    table = read_ply(next((DEMO / "STG").rglob("point_cloud.ply")))
    file = folder / "table.ply"
    write_packed(file, table.names, table.matrix[:500])
    return Sample(file=file, read=lambda: read_ply(file))


def _n3v(file: str) -> Maker:
    def make(folder: Path) -> Sample:
        write_n3v_scene(folder / "scene", SMALL)
        options = SceneOptions(cache=folder / "cache", progress=False)
        return Sample(file=folder / "scene" / file, read=lambda: load_scene(folder / "scene", options))

    return make


def _technicolor(pattern: str) -> Maker:
    def make(folder: Path) -> Sample:
        write_technicolor_scene(folder / "room")
        options = SceneOptions(cache=folder / "cache", layout="technicolor", start=1, progress=False)
        file = sorted((folder / "room").glob(pattern))[0]
        return Sample(file=file, read=lambda: load_scene(folder / "room", options))

    return make


def _cached(pattern: str) -> Maker:
    def make(folder: Path) -> Sample:
        write_n3v_scene(folder / "scene", SMALL)
        options = SceneOptions(cache=folder / "cache", progress=False)
        load_scene(folder / "scene", options)

        def read() -> object:
            return load_scene(folder / "scene", options).frames.read(0, 1)

        return Sample(file=sorted((folder / "cache").rglob(pattern))[0], read=read)

    return make


def _colmap(name: str) -> Maker:
    def make(folder: Path) -> Sample:
        write_colmap_model(folder / "text", rig_cameras(SMALL))
        if name.endswith(".txt"):
            return Sample(file=folder / "text" / name, read=lambda: read_colmap_cameras(folder / "text"))
        (folder / "binary").mkdir()
        pycolmap.Reconstruction(folder / "text").write_binary(folder / "binary")
        return Sample(file=folder / "binary" / name, read=lambda: read_colmap_cameras(folder / "binary"))

    return make


def _points(suffix: str) -> Maker:
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


def _checkpoint(name: str) -> Maker:
    """A file of a router's checkpoint of the small world."""

    def make(folder: Path) -> Sample:
        with pytest.MonkeyPatch.context() as patch:
            given = [*use_small_world(patch, folder), f"--save_path={folder / 'out'}", "--iterations=2"]
            if train.main("E3", [*given, "--test_iterations"]) != 0:
                raise ConfigError("the small world cannot be trained")
        saved = checkpoint_folder(folder / "out")

        def read() -> object:
            router = load_checkpoint(saved)
            if name == STATE:
                restore_training_state(make_optimiser(router.router, RunConfig().training), saved, 0)
            return router

        return Sample(file=saved / name, read=read)

    return make


def _state(folder: Path) -> Sample:
    film = write_film(folder)
    if run(film, folder / "model", "stg") != 0:
        raise ConfigError("the film cannot be trained on")
    newest = saved_state(folder / "model")
    assert newest is not None

    def read() -> None:
        from engine.commands import train_expert
        from tests.engine.expert_scene import arguments

        argv = [*arguments(film, folder / "model", "stg"), "--resume"]
        train_expert.command(argv, prog="moegs.py train-expert", description="")

    return Sample(file=newest[1], read=read)


def _lpips(folder: Path) -> Sample:
    file = folder / "alex.npz"
    np.savez(file, **{name: tensor.numpy() for name, tensor in random_weights("alex").items()})
    return Sample(file=file, read=lambda: load_lpips("alex", file))


def _text(name: str, text: str, read: Callable[[Path], object]) -> Maker:
    def make(folder: Path) -> Sample:
        (folder / name).write_text(text)
        return Sample(file=folder / name, read=lambda: read(folder / name))

    return make


CONFIG = '{"iterations": 500, "lambda_dssim": 0.2, "near": 0.5, "test_iterations": [100, 200]}\n'
RECORD = (
    '{"version": 1, "options": {"every": 1}, "inputs": [["a.mp4", 5, 7]], "outputs": ["clouds"], '
    '"stamps": [["clouds/0.ply", 5, 7]], "result": null, "finished": true}\n'
)
_POSE = "[[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]"
_LENS = '"fx": 30, "fy": 30, "cx": 16, "cy": 12, "width": 32, "height": 24'
CAMERAS = f'[{{"world_to_camera": {_POSE}, {_LENS}, "frame": 1.5}}]\n'

KINDS: dict[str, Maker] = {
    "ply-ex4dgs": _expert("Ex4DGS", "dynamic_point_cloud.ply"),
    "ply-ed3dgs": _expert("E-D3DGS", "point_cloud.ply"),
    "ply-stg": _expert("STG", "point_cloud.ply"),
    "ply-4dgaussians": _expert("4DGaussians", "point_cloud.ply"),
    "ply-freetime": _freetime,
    "packed": _packed,
    "pth-ed3dgs": _expert("E-D3DGS", "deformation.pth"),
    "pth-4dgaussians": _expert("4DGaussians", "deformation.pth"),
    "freetime-checkpoint": _freetime_checkpoint,
    "chkpnt": _ex4dgs_checkpoint,
    "stg-decoder": _stg_decoder,
    "pth-legacy": _legacy,
    "cfg-args": _expert("STG", "cfg_args"),
    "router-tensors": _checkpoint(TENSORS),
    "router-json": _checkpoint(FACTS),
    "router-state": _checkpoint(STATE),
    "expert-state": _state,
    "config": _text("config.json", CONFIG, lambda path: read_config_file(path, RunConfig)),
    "camera-path": _text("cameras.json", CAMERAS, read_cameras),
    "step-record": _text("clouds.json", RECORD, read_record),
    "poses-bounds": _n3v("poses_bounds.npy"),
    "mp4": _n3v("cam01.mp4"),
    "camera-table": _technicolor("cameras_parameters.txt"),
    "png": _technicolor("*.png"),
    "cache": _cached("*.npy"),
    "cache-record": _cached("*.json"),
    **{f"colmap-{name}": _colmap(name) for name in ("cameras.bin", "images.bin", "cameras.txt", "images.txt")},
    **{f"points{suffix}": _points(suffix) for suffix in (".ply", ".npz", ".bin", ".txt")},
    "lpips": _lpips,
}
torch.set_num_threads(1)  # a forked child has the thread that forked it alone
