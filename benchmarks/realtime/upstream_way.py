"""A model of how MoE-GS's published code draws a frame, to measure beside ours.

`python -m benchmarks.realtime.upstream_way` measures it alone.

For each expert: its Gaussians are computed, its colours are rasterized, and its three routing weights are rasterized by
another call, as colours. Softmax and blend are PyTorch's. Nothing is kept from frame to frame. The original kernels
wait in each call for the number of instances; ours do not, so the model is rather faster than what it stands for.

The model has none of that code. Its kernels are ours without what the original ones do not have (CLASSIC_FLAGS), in a
process of their own, as a process loads one library of kernels.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace

import torch
from moegs_rasterizer import Gaussians, Layer, RasterSettings, rasterize
from moegs_rasterizer.compile.cuda_library import FLAGS_VARIABLE
from torch import Tensor

from benchmarks.realtime.times import timed_frames
from benchmarks.workload import Workload, add_size_flags, random_run, workload_of
from common.maths.tensors import constant
from engine.runs.device import open_compute_device
from engine.runs.run import Run
from experts.base import Expert
from router import ENSEMBLES
from router.features import FEATURE_BACKGROUND
from router.layers import gaussians_of
from router.mixture import blend

# Squares of 3 sigma, a sort by tile and depth of every pair of a Gaussian and a 16x16 tile, and no culling by warps.
CLASSIC_FLAGS = "-DMOEGS_WITHOUT_EXACT_TILES -DMOEGS_WITHOUT_WARP_CULLING -DMOEGS_WITHOUT_SEPARATE_SORTS"
CONVENTION = RasterSettings(tile_rule="inria")  # of the call that rasterizes weights
PATIENCE = 300  # seconds for the other process, which compiles kernels


@torch.no_grad()
def upstream_frame(run: Run, frame: float) -> Tensor:
    """The mixture [3, h, w] at the first camera, the published code's way."""
    view = run.scene.views[0]
    images, weights = [], []
    for index, expert in enumerate(run.experts):
        gaussians = gaussians_of(expert, view.camera, frame, camera_number=view.number)
        settings = replace(expert.settings, tile_rule="inria")
        images.append(_expert_image(run, expert, gaussians, settings, frame))
        features = run.router.features(index, expert.rows(frame), run.time(frame))
        carried = replace(gaussians, sh=None, colours=features)
        layer = Layer(gaussians=carried, settings=CONVENTION, background=_constant(FEATURE_BACKGROUND, features))
        weights.append(rasterize([layer], view.camera, backend=run.backend)[0].colour)
    rays = run.router.rays.of_last(view.camera, dtype=weights[0].dtype, device=weights[0].device)
    logits = run.router.head(weights, rays)
    return blend(torch.stack(images), logits, temperature=run.router.eval_temperature).image


def _expert_image(run: Run, expert: Expert, gaussians: Gaussians, settings: RasterSettings, frame: float) -> Tensor:
    layer = Layer(gaussians=gaussians, settings=settings, background=_constant(expert.background, gaussians.means))
    camera = run.scene.views[0].camera
    return expert.colour(rasterize([layer], camera, backend=run.backend)[0], camera, frame=frame)


def _constant(values: Sequence[float], like: Tensor) -> Tensor:
    return constant(tuple(values), like.dtype, like.device)


def times_with_classic_kernels(workload: Workload, frames: int) -> list[float]:
    """Milliseconds of frames by the classic kernels, measured by another process.

    Raises RuntimeError with its last words where it fails.
    """
    numbers = {"gaussians": workload.gaussians, "width": workload.width, "height": workload.height, "frames": frames}
    command = [
        sys.executable,
        "-m",
        "benchmarks.realtime.upstream_way",
        *(f"--{name}={value}" for name, value in numbers.items()),
    ]
    environment = {**os.environ, FLAGS_VARIABLE: CLASSIC_FLAGS}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False)
    if done.returncode:
        raise RuntimeError(
            f"benchmarks.realtime.upstream_way ended with {done.returncode}: {done.stderr.strip()[-2000:]}"
        )
    times: list[float] = json.loads(done.stdout.splitlines()[-1])
    return times


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the milliseconds of frames drawn the published code's way on a GPU, as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.realtime.upstream_way", description=main.__doc__)
    add_size_flags(parser)
    parser.add_argument("--frames", type=int, default=12, help="frames of the clip (default: 12)")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="device to time (default: cuda)")
    given = parser.parse_args(arguments)
    compute = open_compute_device(given.device, "auto")
    workload = workload_of(given)
    run = random_run(workload, ENSEMBLES["E4"], compute)
    run = replace(run, scene=replace(run.scene, num_frames=given.frames))
    times, _ = timed_frames(lambda frame: upstream_frame(run, frame), range(given.frames), compute)
    print(json.dumps(times))
    return 0


if __name__ == "__main__":
    sys.exit(main())
