"""A scene of small images with the views of a narrow lens: `python -m benchmarks.cropped_rig SOURCE TARGET`.

Cameras of a rig that see less of the scene share fewer pixels. So experts err more at views that are new to them, and
what a router does there can be measured at little cost.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from common.disk.files import replacing
from common.text.suggestions import hint
from common.text.wording import counted
from engine.errors import ConfigError, user_errors
from scenes.calibration.poses_bounds import POSES, read_poses_bounds
from scenes.frames.video import Video, decode_video, probe_video
from scenes.router_cameras import spread_cameras

POINTS = ("points3D*.ply", "known_points.npz")  # start points, which no crop changes
QUALITY = {"crf": "2", "preset": "veryfast"}  # near-lossless, with full chroma
USUAL_RATE = Fraction(30)  # frames per second, where a video does not tell
THREADS = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Copy a scene in the N3V layout, its videos cropped to the middle."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cropped_rig", description=main.__doc__)
    parser.add_argument("source", type=Path, help="folder of camXX.mp4 and poses_bounds.npy")
    parser.add_argument("target", type=Path, help="folder of the new scene")
    parser.add_argument("--size", default="480x360", help="width x height to keep, in px (default: 480x360)")
    parser.add_argument(
        "--cameras",
        nargs="+",
        default=[],
        metavar="N | CAM",
        help="how many cameras to keep, the first and others spread evenly, or their names (default: all)",
    )
    given = parser.parse_args(arguments)
    try:
        names = crop_rig(given.source, given.target, size=_size(given.size), cameras=given.cameras)
    except user_errors() as error:
        parser.exit(2, f"error: {error}\n")
    print(f"written: {given.target} ({counted(len(names), 'camera')}: {' '.join(names)})")
    return 0


def crop_rig(source: Path, target: Path, *, size: tuple[int, int], cameras: Sequence[str] = ()) -> list[str]:
    """Write the scene and give its cameras' names; ConfigError or SceneError for what is missing or too small.

    size: width and height, px. cameras: names, or one number as text; none: all.
    """
    if (target / POSES).exists():
        raise ConfigError(f"{target}: holds a scene already; choose another folder")
    files = {path.stem: path for path in sorted(source.glob("cam*.mp4"))}
    if not files:
        raise ConfigError(f"{source}: no camXX.mp4 in it; give the folder of a scene in the N3V layout")
    names = _chosen(source, list(files), cameras)
    videos = {name: probe_video(files[name]) for name in names}
    rows = np.load(source / POSES)[[list(files).index(name) for name in names]]
    rows = np.stack([_cropped_row(row, videos[name], size) for name, row in zip(names, rows, strict=True)])
    target.mkdir(parents=True, exist_ok=True)
    for name, video in videos.items():
        rate = video.timing.rate if video.timing else None
        write_video(target / f"{name}.mp4", _middle(video, size), size=size, rate=rate or USUAL_RATE)
    for path in (path for pattern in POINTS for path in source.glob(pattern)):
        shutil.copyfile(path, target / path.name)
    with replacing(target / POSES) as temporary:  # the last: a scene without it is not complete
        np.save(temporary, rows)
    return names


def write_video(path: Path, frames: Iterator[np.ndarray], *, size: tuple[int, int], rate: Fraction) -> None:
    """Write uint8 [h, w, 3] RGB frames as H.264."""
    with replacing(path) as temporary, av.open(str(temporary), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=rate, options=QUALITY)
        (stream.width, stream.height), stream.pix_fmt = size, "yuv444p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise ConfigError(f"--size is {text}: give WIDTHxHEIGHT, such as 480x360")
    return int(width), int(height)


def _chosen(source: Path, names: Sequence[str], asked: Sequence[str]) -> list[str]:
    """Names of the cameras to keep: the first, which is held out, and those that stand for all others."""
    if len(asked) == 1 and asked[0].isdecimal():
        count = int(asked[0])
        if not 2 <= count <= len(names):
            raise ConfigError(f"--cameras is {count}: give 2 to {len(names)}, the cameras of {source}")
        first, *others = names
        views = list(read_poses_bounds(source / POSES, names).values())[1:]
        return sorted([first, *(others[index] for index in spread_cameras(views, count - 1))])
    for name in asked:
        if name not in names:
            raise ConfigError(f"--cameras {name}: {source} has no such camera; {hint(name, names)}")
    return sorted(asked) or list(names)


def _cropped_row(row: np.ndarray, video: Video, size: tuple[int, int]) -> np.ndarray:
    """A row of poses_bounds.npy for the middle of a video: height, width and, of the video's pixels, the focal length.

    ConfigError where the middle is no whole number of pixels away from the edges, or there is less than is asked for.
    """
    for full, kept, what in ((video.width, size[0], "width"), (video.height, size[1], "height")):
        if kept > full or (full - kept) % 2:
            raise ConfigError(
                f"{video.path}: its {what} is {full} px, and {kept} px of it are asked for: give a number up to that, "
                f"{'even' if full % 2 == 0 else 'odd'} as it is, so that the middle stays the middle"
            )
    matrix = row[:15].reshape(3, 5).copy()
    focal = matrix[2, 4] * video.width / matrix[1, 4]
    matrix[:, 4] = size[1], size[0], focal
    return np.concatenate([matrix.ravel(), row[15:]])


def _middle(video: Video, size: tuple[int, int]) -> Iterator[np.ndarray]:
    left, top = (video.width - size[0]) // 2, (video.height - size[1]) // 2
    for frame in decode_video(video, 0, video.count, threads=THREADS):
        yield np.ascontiguousarray(frame[top : top + size[1], left : left + size[0]])


if __name__ == "__main__":
    raise SystemExit(main())
