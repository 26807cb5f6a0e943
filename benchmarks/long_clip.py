"""Memory, disk and seams of long clips, by the commands that users give: `python -m benchmarks.long_clip`."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import numpy as np
from PIL import Image

from common.text.tables import Column, table_lines
from common.text.units import MEBIBYTE, MEGABYTE
from common.text.wording import ROOT, counted
from demo.playroom import PointCounts, RigSize, write_scene
from demo.playroom.points import FILE_NAME
from demo.playroom.writer import write_video
from engine.errors import ConfigError, user_errors
from engine.evaluation.seams import AT, ELSEWHERE, LOST, ONE_WINDOW
from scenes.calibration.poses_bounds import POSES
from scenes.frames.video import decode_video, probe_video

SIZE = RigSize(width=64, height=48, num_cameras=5)
POINTS = PointCounts(still=1500, moving=500)
WINDOWS = (300, 400)  # of the two experts: most frames of a window, so that their seams lie apart
LOOK_EVERY = 0.02  # seconds between two looks at the folder of frames
COLUMNS = (
    Column(heading="frames", gap=0),
    Column(heading="command", gap=2, width=12, left=True),
    Column(heading="peak host memory, MiB", gap=2),
    Column(heading="largest folder of frames, MB", gap=2),
    Column(heading="seconds", gap=2),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """All that a command took."""

    memory: int  # peak of its resident memory, bytes
    disk: int  # largest size of the folder of frames, bytes
    seconds: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Train two experts of windows and a router on long clips, render them, and print what each command takes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.long_clip", description=main.__doc__)
    parser.add_argument("--frames", type=int, nargs="+", default=[150, 1200], help="of the clips (default: 150 1200)")
    parser.add_argument("--cache_gb", default="0.02", help="disk for decoded frames, in GB (default: 0.02)")
    parser.add_argument("--footage", type=Path, help="scene to play forwards and backwards; default: a generated one")
    parser.add_argument("--cameras", type=int, default=8, help="of the footage, evenly spread (default: 8)")
    parser.add_argument("--width", type=int, default=160, help="of the footage's images, in px (default: 160)")
    parser.add_argument("--windows", type=int, nargs=2, default=WINDOWS, help="of the two experts (default: 300 400)")
    parser.add_argument("--overlap", default="30", help="frames that two windows share (default: 30)")
    parser.add_argument("--iterations", type=int, default=800, help="of each window (default: 800)")
    parser.add_argument("--device", choices=("auto", "cuda", "cpu"), default="cpu", help="device (default: cpu)")
    given = parser.parse_args(arguments)
    rows, seams = [], []
    try:
        for frames in given.frames:
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                make_scene(folder / "scene", frames, given)
                for command, taken in run_all(folder, given):
                    numbers = [f"{taken.memory / MEBIBYTE:.0f}", f"{taken.disk / MEGABYTE:.1f}", f"{taken.seconds:.0f}"]
                    rows.append([str(frames), command, *numbers])
                seams += [f"{counted(frames, 'frame')}: {line}" for line in seam_lines(folder / "run")]
    except user_errors() as error:
        parser.exit(2, f"error: {error}\n")
    print(*table_lines(COLUMNS, rows), *seams, sep="\n")
    return 0


def make_scene(folder: Path, frames: int, given: argparse.Namespace) -> None:
    """Write a clip of so many frames: of the demo's world, or of footage that is played forwards and backwards."""
    if given.footage is None:
        size = RigSize(width=SIZE.width, height=SIZE.height, num_cameras=SIZE.num_cameras, num_frames=frames)
        write_scene(folder, size=size, counts=POINTS)
        keep_first_points(folder / FILE_NAME)
        return
    videos = sorted(given.footage.glob("cam*.mp4"))
    if not videos or not (given.footage / POSES).is_file():
        raise ConfigError(f"{given.footage}: no cam*.mp4 with {POSES}; give a scene in the N3V layout")
    chosen = np.unique(np.linspace(0, len(videos) - 1, given.cameras).round().astype(int)).tolist()
    folder.mkdir(parents=True)
    for index in chosen:
        write_video(folder / videos[index].name, np.stack(list(there_and_back(videos[index], frames, given.width))))
    np.save(folder / POSES, np.load(given.footage / POSES)[chosen])
    for points in given.footage.glob("points3D*.ply"):
        shutil.copy(points, folder)


def keep_first_points(path: Path) -> None:
    """Leave the start points of the first frame: a file of all frames' takes memory that grows with the clip."""
    with np.load(path) as known:
        there = known["present"][:, 0]
        points = {"xyz": known["tracks"][there, 0], "rgb": known["colours"][there].clip(0, 1)}
    np.savez(path, **points)


def there_and_back(path: Path, frames: int, width: int) -> Iterator[np.ndarray]:
    """Yield a video's frames uint8 [h, w, 3], forwards and backwards until there are enough."""
    video = probe_video(path)
    size = (width, round(width * video.height / video.width / 2) * 2)
    images = [
        np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX))
        for image in decode_video(video, 0, video.count, threads=2)
    ]
    yield from islice(cycle([*images, *reversed(images)]), frames)


def run_all(folder: Path, given: argparse.Namespace) -> Iterator[tuple[str, Taken]]:
    """Run the commands one after the other; yields each one's name and what it took. ConfigError where one fails."""
    shared = ["--device", given.device, "--cache_path", str(folder / "frames"), "--cache_gb", given.cache_gb]
    source = ["--source_path", str(folder / "scene"), *shared]
    experts = []
    for number, windows in enumerate(given.windows):
        model = folder / f"freetime_{number}"
        words = ["--model_path", str(model), "--windows", str(windows), "--overlap", given.overlap]
        words += ["--iterations", str(given.iterations), "--max_points", "6000", "--seed", str(number)]
        words += ["--test_iterations", "--test_frames", "20"]
        yield "train-expert", watched(["train-expert", "freetime", *source, *words], folder / "frames")
        experts += ["--expert", f"freetime={model}"]
    run = ["--save_path", str(folder / "run")]
    words = [*experts, "--iterations", str(given.iterations), "--test_iterations"]
    yield "train", watched(["train", *source, *run, *words], folder / "frames")
    yield "render", watched(["render", *run, *shared, "--skip_train"], folder / "frames")


def watched(words: Sequence[str], frames: Path) -> Taken:
    """Run a command of moegs.py; what it took, its folder of frames looked at all the while."""
    ended, sizes = threading.Event(), [0]

    def look() -> None:
        while not ended.wait(LOOK_EVERY):
            sizes.append(bytes_below(frames))

    start = time.perf_counter()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen([sys.executable, str(ROOT / "moegs.py"), *words], stdout=output, stderr=output)
        watcher = threading.Thread(target=look)
        watcher.start()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        ended.set()
        watcher.join()
        if process.returncode:
            output.seek(0)
            last = output.read().decode(errors="replace").strip().splitlines()[-1:]
            raise ConfigError(f"moegs.py {words[0]}: exit code {process.returncode}: {' '.join(last)}")
    return Taken(memory=usage.ru_maxrss * 1024, disk=max(sizes), seconds=time.perf_counter() - start)


def bytes_below(folder: Path) -> int:
    """Count the bytes of all files below a folder; one that is renamed meanwhile counts once."""
    sizes = {}
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                status = os.lstat(os.path.join(place, name))
            except FileNotFoundError:
                continue
            sizes[status.st_ino] = status.st_size
    return sum(sizes.values())


def seam_lines(run: Path) -> Iterator[str]:
    """Lines on what the seams of a rendered run cost."""
    for path in run.glob("test/*/metrics.json"):
        if seams := json.loads(path.read_text(encoding="utf-8")).get("seams"):
            blend = seams["methods"]["MoE"]
            means = ", ".join(f"{name} {blend[name]:.2f}" for name in (AT, ELSEWHERE, ONE_WINDOW))
            yield f"tPSNR of the blend, dB: {means}; lost at seams: {seams[LOST]:.2f}"


if __name__ == "__main__":
    sys.exit(main())
