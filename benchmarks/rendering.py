"""Times of a rendering with scores, videos and PNGs, on random Gaussians: `python -m benchmarks.rendering`."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from benchmarks.workload import add_size_flags, random_run, workload_of
from common.text.tables import Column, table_lines
from engine.errors import user_errors
from engine.evaluation.mixture import EvaluationOptions, evaluate_mixture
from engine.runs.device import device_facts, open_compute_device, wait
from engine.runs.run import Run, mix_view
from engine.settings.rendering.render_maps import MAPS
from router import ENSEMBLES

SCORES = EvaluationOptions(videos=False, networks=False, constant_frames=0, progress=False)
VIDEOS = replace(SCORES, videos=True)
STAGES = {  # beside the mixture alone: what is done with each frame
    "scores": SCORES,
    "scores and videos": VIDEOS,
    "scores, videos and PNGs": replace(VIDEOS, images=True),
    "scores, videos and maps": replace(VIDEOS, maps=MAPS),
}
COLUMNS = (
    Column(heading="a frame with", gap=0, width=26, left=True),
    Column(heading="ms", gap=2),
    Column(heading="x mixture", gap=2),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the mean time of a frame: the mixture alone, then with scores (no LPIPS) and files."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rendering", description=main.__doc__)
    parser.add_argument("--device", choices=("auto", "cuda", "cpu"), default="auto", help="device to time")
    add_size_flags(parser)
    parser.add_argument("--frames", type=int, default=60, help="frames to time (default: 60)")
    given = parser.parse_args(arguments)
    try:
        compute = open_compute_device(given.device, "auto")
        workload = workload_of(given)
        run = random_run(workload, ENSEMBLES["E4"], compute)
        print(f"E4, {given.gaussians} Gaussians each, {given.width}x{given.height} px; {device_facts(compute)}")
        print("\n".join(table_lines(COLUMNS, frame_times(run, frames=given.frames))))
    except user_errors() as error:
        parser.error(str(error))
    return 0


def frame_times(run: Run, *, frames: int) -> list[list[str]]:
    """Rows of the table: what is done, mean milliseconds a frame, and these over the mixture's own."""

    def mixtures() -> None:
        for frame in range(frames):
            mix_view(run, 0, frame)
            wait(run.compute)

    mix_view(run, 0, 0)  # to warm up
    alone = _milliseconds(mixtures, frames)
    rows = [["mixture alone", f"{alone:.1f}", "1.00"]]
    for name, options in STAGES.items():
        with tempfile.TemporaryDirectory() as folder:
            chosen = replace(options, frames=range(frames))
            spent = _milliseconds(
                partial(evaluate_mixture, run, views=[0], folder=Path(folder), options=chosen), frames
            )
        rows.append([name, f"{spent:.1f}", f"{spent / alone:.2f}"])
    return rows


def _milliseconds(work: Callable[[], object], frames: int) -> float:
    start = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - start) / frames


if __name__ == "__main__":
    sys.exit(main())
