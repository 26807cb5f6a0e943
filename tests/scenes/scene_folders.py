"""Writers of tiny scenes in the data sets' folder layouts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import cos, sin
from pathlib import Path

import av
import numpy as np
import torch
from moegs_rasterizer import Camera
from PIL import Image

Draw = Callable[[int, int, int, int], np.ndarray]  # camera, frame, width, height -> uint8 [height, width, 3]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rig:
    """Size of a generated scene; frames are numbered from `start`."""

    cameras: Sequence[str] = ("cam00", "cam01", "cam02")
    frames: int = 4
    start: int = 0
    width: int = 64
    height: int = 48
    focal: float = 60.0
    off_centre: tuple[float, float] = (0.0, 0.0)  # px, times the camera's index + 1


def draw(camera: int, frame: int, width: int, height: int) -> np.ndarray:
    """An image that tells camera and frame by its left half's colour; the right half is white above black."""
    image = np.zeros((height, width, 3), np.uint8)
    image[:, : width // 2] = colour(camera, frame)
    image[: height // 2, width // 2 :] = 255
    return image


def colour(camera: int, frame: int) -> tuple[int, int, int]:
    return 40 + 10 * camera, 30 + 8 * (frame % 25), 90


def rig_cameras(rig: Rig) -> dict[str, Camera]:
    """Cameras in an arc about (0, 0, 4), by name."""
    cameras = {}
    for index, name in enumerate(rig.cameras):
        angle = 0.15 * (index - 1)
        world_to_camera = torch.eye(4, dtype=torch.float64)
        world_to_camera[0, 0] = world_to_camera[2, 2] = cos(angle)
        world_to_camera[0, 2], world_to_camera[2, 0] = sin(angle), -sin(angle)
        world_to_camera[:3, 3] = torch.tensor([0.1 * index, -0.05 * index, 0.2 * index], dtype=torch.float64)
        cameras[name] = Camera(
            world_to_camera=world_to_camera,
            fx=rig.focal,
            fy=rig.focal,
            cx=rig.width / 2 + rig.off_centre[0] * (index + 1),
            cy=rig.height / 2 + rig.off_centre[1] * (index + 1),
            width=rig.width,
            height=rig.height,
        )
    return cameras


def write_video(
    path: Path,
    frames: Sequence[np.ndarray],
    *,
    key_frames_every: int = 250,
    rate: int = 30,
    times: Sequence[int] | None = None,
    rotation: int = 0,
    flip: bool = False,
) -> None:
    """Near-lossless H.264; times: when each frame is shown, in 1 / rate s (by default 0, 1, 2 …).

    rotation: degrees counter-clockwise by which players turn the frames, which they then mirror if `flip`.
    """
    height, width = frames[0].shape[:2]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "4", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.gop_size = key_frames_every
        if rotation or flip:
            stream.set_display_rotation(rotation, hflip=flip)
        for number, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = times[number], Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def write_poses_bounds(path: Path, cameras: Sequence[Camera]) -> None:
    rows = []
    for camera in cameras:
        right, down, forward, centre = camera.camera_to_world[:3].numpy().T
        size = np.array([camera.height, camera.width, camera.fx])
        rows.append([*np.stack([down, right, -forward, centre, size], axis=1).ravel(), 0.5, 20.0])
    np.save(path, np.array(rows))


def write_n3v_frames(folder: Path, rig: Rig, pattern: str = "{name}/{frame}.png", image: Draw = draw) -> None:
    """Frames as images named by the pattern, or as videos where the pattern has no {frame}."""
    for index, name in enumerate(rig.cameras):
        frames = [image(index, frame, rig.width, rig.height) for frame in range(rig.start, rig.start + rig.frames)]
        if "{frame" not in pattern:
            write_video(folder / pattern.format(name=name), frames)
            continue
        for number, frame in enumerate(frames, start=rig.start):
            path = folder / pattern.format(name=name, frame=number)
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(frame).save(path)


def write_n3v_scene(
    folder: Path, rig: Rig | None = None, *, pattern: str = "{name}.mp4", image: Draw = draw
) -> dict[str, Camera]:
    """A scene in the N3V layout: frames and poses_bounds.npy; returns the cameras."""
    rig = rig or Rig()
    cameras = rig_cameras(rig)
    folder.mkdir(parents=True, exist_ok=True)
    write_n3v_frames(folder, rig, pattern, image)
    write_poses_bounds(folder / "poses_bounds.npy", list(cameras.values()))
    return cameras


def write_technicolor_scene(folder: Path, rig: Rig | None = None, *, image: Draw = draw) -> dict[str, Camera]:
    """A scene in the Technicolor layout: flat PNGs and cameras_parameters.txt; returns the cameras.

    By default 12 cameras, frames from 1 on, and principal points that lie off the centre, differently in each camera.
    """
    rig = rig or Rig(
        cameras=[f"cam{i:02d}" for i in range(12)], start=1, frames=3, width=64, height=34, off_centre=(0.4, -0.25)
    )
    cameras = rig_cameras(rig)
    folder.mkdir(parents=True, exist_ok=True)
    rows = ["f cx cy aspect skew qw qx qy qz tx ty tz"]
    for index, camera in enumerate(cameras.values()):
        for frame in range(rig.start, rig.start + rig.frames):
            name = f"{folder.name.capitalize()}_undist_{frame:05d}_{index:02d}.png"
            Image.fromarray(image(index, frame, rig.width, rig.height)).save(folder / name)
        half = np.arctan2(float(camera.world_to_camera[0, 2]), float(camera.world_to_camera[0, 0])) / 2
        numbers = [camera.fx, camera.cx, camera.cy, 1, 0, cos(half), 0, sin(half), 0]
        numbers += camera.world_to_camera[:3, 3].tolist()
        rows.append(" ".join(f"{number:.17g}" for number in numbers))
    (folder / "cameras_parameters.txt").write_text("\n".join(rows) + "\n")
    return cameras


def write_colmap_model(
    folder: Path, cameras: dict[str, Camera], *, suffix: str = ".png", model: str = "PINHOLE", distortion: float = 0.01
) -> None:
    """A COLMAP model with one camera an image and no points; distortion: the last parameter of models that have it."""
    import pycolmap

    folder.mkdir(parents=True)
    lines, images = [], []
    for number, (name, camera) in enumerate(cameras.items(), start=1):
        rotation = pycolmap.Rotation3d(camera.world_to_camera[:3, :3].numpy())
        x, y, z, w = rotation.quat
        translation = camera.world_to_camera[:3, 3].tolist()
        intrinsics = {
            "PINHOLE": [camera.fx, camera.fy, camera.cx, camera.cy],
            "SIMPLE_PINHOLE": [camera.fx, camera.cx, camera.cy],
            "SIMPLE_RADIAL": [camera.fx, camera.cx, camera.cy, distortion],
            "OPENCV": [camera.fx, camera.fy, camera.cx, camera.cy, 0.0, 0.0, 0.0, distortion],
            "OPENCV_FISHEYE": [camera.fx, camera.fy, camera.cx, camera.cy, 0.0, 0.0, 0.0, distortion],
        }[model]
        lines.append(" ".join(map(str, [number, model, camera.width, camera.height, *intrinsics])))
        images += [" ".join(map(str, [number, w, x, y, z, *translation, number, name + suffix])), ""]
    (folder / "cameras.txt").write_text("\n".join(lines) + "\n")
    (folder / "images.txt").write_text("\n".join(images) + "\n")
    (folder / "points3D.txt").write_text("")
