"""Times of a whole `render_E4.py`, on footage and experts made here: `python -m benchmarks.whole_command`."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from moegs_rasterizer import Camera
from PIL import Image

from benchmarks.workload import Workload, add_size_flags, random_run, vary_weights, workload_of
from common.text.wording import ROOT
from engine.errors import ConfigError, user_errors
from engine.outputs.video import VideoWriter
from engine.runs.device import CPU, ComputeDevice
from engine.runs.opening import new_run
from engine.runs.saved.checkpoint import save_checkpoint
from engine.runs.saved.expert_records import record_expert
from engine.settings.parsing.config_file import write_config_file
from engine.settings.parsing.fields import with_values
from engine.settings.training.run import RunConfig, expert_folders
from engine.settings.training.train import CONFIG_FILE
from engine.training.router.resume import training_state
from engine.training.router.schedule import make_optimiser
from experts import EXPERTS
from experts.random_models import NUM_FRAMES
from router import ENSEMBLES, folder_flags
from scenes.calibration.poses_bounds import POSES

ENSEMBLE = ENSEMBLES["E4"]
ITERATION = 1
BLOB = 24  # px between the random colours of the footage
SPEEDS = (3, -2)  # px a frame, of the pattern's left and right half
DEPTH_RANGE = (1.0, 100.0)  # in poses_bounds.npy; not read


def main(arguments: Sequence[str] | None = None) -> int:
    """Make a scene and a run, render it as a user does, and print the seconds of each phase."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.whole_command", description=main.__doc__)
    parser.add_argument("--device", choices=("auto", "cuda", "cpu"), default="auto", help="device to render on")
    add_size_flags(parser)
    parser.add_argument("--frames", type=int, default=60, help=f"frames, at most {NUM_FRAMES} (default: 60)")
    parser.add_argument("flags", nargs="*", help="flags of render_E4.py, after --: -- --save_img")
    given = parser.parse_args(arguments)
    try:
        if not 1 <= given.frames <= NUM_FRAMES:
            raise ConfigError(f"--frames is {given.frames}: give 1 to {NUM_FRAMES}")
        workload = workload_of(given)
        with tempfile.TemporaryDirectory() as folder:
            save_path = write_run(Path(folder), workload, frames=given.frames)
            flags = ["--save_path", str(save_path), "--skip_train", "--device", given.device, *given.flags]
            seconds = timed_command(flags)
        print(f"E4, {given.gaussians} Gaussians each, {given.width}x{given.height} px, {given.frames} frames")
        print(result_line(seconds, given.frames))
    except user_errors() as error:
        parser.error(str(error))
    return 0


def write_run(folder: Path, workload: Workload, *, frames: int) -> Path:
    """Write footage, random experts and a run of them below a folder; returns the run's."""
    compute = ComputeDevice(device=CPU, backend="torch")
    drawn = random_run(workload, ENSEMBLE, compute)
    for name, expert in zip(ENSEMBLE.experts, drawn.experts, strict=True):
        EXPERTS[name].save(expert, folder / name, ITERATION)
    scene, save_path = folder / "scene", folder / "run"
    write_scene(scene, [view.camera for view in drawn.scene.views], frames=frames)
    folders = {flag: folder / name for name, flag in folder_flags(ENSEMBLE).items()}
    settings = with_values(
        RunConfig(), {"source_path": scene, "save_path": save_path, "resolution": 1, "device": "cpu", **folders}
    )
    run = new_run(settings, ENSEMBLE)
    vary_weights(run.router)
    given = expert_folders(settings, ENSEMBLE)
    records = tuple(record_expert(expert, given[expert.name], save_path=save_path) for expert in run.experts)
    state = training_state(make_optimiser(run.router, settings.training), settings.training.seed)
    write_config_file(save_path / CONFIG_FILE, settings)
    save_checkpoint(save_path, run, ITERATION, experts=records, state=state)
    return save_path


def write_scene(folder: Path, cameras: Sequence[Camera], *, frames: int) -> None:
    """Write a scene in the N3V layout: every camera has the same video of a moving pattern."""
    folder.mkdir(parents=True)
    np.save(folder / POSES, poses_of(cameras))
    videos = [folder / f"cam{number:02d}.mp4" for number in range(len(cameras))]
    with VideoWriter(videos[0]) as writer:
        for image in moving_pattern(cameras[0].width, cameras[0].height, frames):
            writer.write(image)
    for other in videos[1:]:
        os.link(videos[0], other)


def poses_of(cameras: Sequence[Camera]) -> np.ndarray:
    """The rows [n, 17] of poses_bounds.npy: 3 x 5 (down, right, back, centre; height, width, focal), near, far."""
    rows = []
    for camera in cameras:
        right, down, forward, centre = camera.camera_to_world.double().numpy()[:3, :4].T
        size = np.array([camera.height, camera.width, camera.fx])
        matrix = np.stack([down, right, -forward, centre, size], axis=1)
        rows.append(np.concatenate([matrix.ravel(), DEPTH_RANGE]))
    return np.stack(rows)


def moving_pattern(width: int, height: int, frames: int) -> Iterator[np.ndarray]:
    """Smooth random colours, uint8 [h, w, 3], of which both halves move, and a little noise that stays."""
    draw = np.random.default_rng(0)
    colours = draw.integers(32, 224, (height // BLOB + 2, width // BLOB + 2, 3), dtype=np.uint8)
    pattern = np.asarray(Image.fromarray(colours).resize((width, height), Image.Resampling.BICUBIC))
    noise = draw.integers(0, 8, (height, width, 3), dtype=np.uint8)
    half = width // 2
    for frame in range(frames):
        left, right = (np.roll(pattern, speed * frame, axis=1) for speed in SPEEDS)
        yield np.concatenate([left[:, :half], right[:, half:]], axis=1) + noise


def timed_command(flags: Sequence[str]) -> dict[str, float]:
    """Run render_E4.py with its clock in a new process; its seconds by phase. ConfigError where it fails."""
    command = [sys.executable, "-m", "benchmarks.whole_command.timed_render", repr(time.time()), *flags]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise ConfigError(f"render_E4.py ended with exit code {done.returncode}; its message is above")
    seconds: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return seconds


def result_line(seconds: Mapping[str, float], frames: int) -> str:
    """The seconds by phase, and how much longer the rendering took than the slower of its two parts alone."""
    phases = ("imports", "loading", "decoding", "rendering")
    scores, videos = seconds["scores alone"], seconds["files alone"]
    return (
        "; ".join(f"{name} {seconds[name]:.3f} s" for name in phases)
        + f"; whole command {sum(seconds[name] for name in phases):.3f} s"
        + f"; {frames / seconds['rendering']:.2f} frames a second"
        + f"; images and scores alone {scores:.3f} s, videos and PNGs alone {videos:.3f} s"
        + f"; rendering over the slower {seconds['rendering'] / max(scores, videos):.2f}"
    )
