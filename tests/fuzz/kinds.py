"""The kinds of files that strangers give: how a good one is made, and how the commands read it."""

from __future__ import annotations

import torch

from engine.runs.saved.checkpoint import FACTS, STATE, TENSORS
from engine.settings.parsing.config_file import read_config_file
from engine.settings.training.run import RunConfig
from scenes.camera_files import read_cameras
from tests.fuzz import expert_files, router_files, scene_files
from tests.fuzz.samples import Maker, text_file

CONFIG = '{"iterations": 500, "lambda_dssim": 0.2, "near": 0.5, "test_iterations": [100, 200]}\n'
_POSE = "[[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]"
_LENS = '"fx": 30, "fy": 30, "cx": 16, "cy": 12, "width": 32, "height": 24'
CAMERAS = f'[{{"world_to_camera": {_POSE}, {_LENS}, "frame": 1.5}}]\n'

# Formats with check sums, hashes or copies of their facts: what is read of a damaged file is what was written.
CHECKED: dict[str, Maker] = {
    "packed": expert_files.packed,
    "pth-ed3dgs": expert_files.expert("E-D3DGS", "deformation.pth"),
    "pth-4dgaussians": expert_files.expert("4DGaussians", "deformation.pth"),
    "freetime-checkpoint": expert_files.freetime_checkpoint,
    "chkpnt": expert_files.ex4dgs_checkpoint,
    "stg-decoder": expert_files.stg_decoder,
    "pth-legacy": expert_files.legacy,
    "router-tensors": router_files.checkpoint(TENSORS),
    "router-json": router_files.checkpoint(FACTS),
    "router-state": router_files.checkpoint(STATE),
    "expert-state": expert_files.training_state,
    "step-record": scene_files.step_record,
    "cache": scene_files.cached("*.npy"),
    "cache-record": scene_files.cached("*.json"),
    "points.npz": scene_files.points(".npz"),
    "lpips": router_files.lpips,
}
# Formats of others without any, and texts that users may edit: another number is another file.
PLAIN: dict[str, Maker] = {
    "ply-ex4dgs": expert_files.expert("Ex4DGS", "dynamic_point_cloud.ply"),
    "ply-ed3dgs": expert_files.expert("E-D3DGS", "point_cloud.ply"),
    "ply-stg": expert_files.expert("STG", "point_cloud.ply"),
    "ply-4dgaussians": expert_files.expert("4DGaussians", "point_cloud.ply"),
    "ply-freetime": expert_files.freetime,
    "cfg-args": expert_files.expert("STG", "cfg_args"),
    "config": text_file("config.json", CONFIG, lambda path: read_config_file(path, RunConfig)),
    "camera-path": text_file("cameras.json", CAMERAS, read_cameras),
    "poses-bounds": scene_files.n3v("poses_bounds.npy"),
    "mp4": scene_files.n3v("cam01.mp4"),
    "camera-table": scene_files.technicolor("cameras_parameters.txt"),
    "png": scene_files.technicolor("*.png"),
    **{
        f"colmap-{name}": scene_files.colmap(name)
        for name in ("cameras.bin", "images.bin", "cameras.txt", "images.txt")
    },
    **{f"points{suffix}": scene_files.points(suffix) for suffix in (".ply", ".bin", ".txt")},
}
KINDS = CHECKED | PLAIN
torch.set_num_threads(1)  # a forked child has the thread that forked it alone
