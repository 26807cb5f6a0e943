"""The scene's folder, in the layout of Neural 3D Video (N3V)."""

from __future__ import annotations

import logging
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import numpy as np
from moegs_rasterizer import Camera
from numpy.typing import NDArray

from common.disk.files import replacing
from demo.playroom.film import film_camera
from demo.playroom.points import PointCounts, known_points, save_known_points
from demo.playroom.rig import RigSize, poses_bounds, rig_cameras
from demo.playroom.world import World, demo_world
from scenes.calibration.poses_bounds import POSES

logger = logging.getLogger(__name__)

NEAR, FAR = 0.5, 12.0  # metres; between them lies everything that a camera of the rig sees
FRAMES_PER_SECOND = 30


def write_scene(
    folder: Path,
    *,
    size: RigSize | None = None,
    counts: PointCounts | None = None,
    supersampling: int = 2,
    seed: int = 0,
) -> None:
    """Films the demo world: poses_bounds.npy, camXX.mp4 (H.264 without loss but for rounding) and known_points.npz.

    The images are the same for every seed; it draws the known points. They are taken from what the training
    cameras see (all but cam00).
    """
    size = size or RigSize()
    world, cameras = demo_world(), rig_cameras(size)
    folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for path in pool.map(lambda item: _film(world, item, folder, size, supersampling), enumerate(cameras)):
            logger.info("wrote %s", path)
    points = known_points(world, cameras[1:], num_frames=size.num_frames, counts=counts, seed=seed)
    save_known_points(points, folder)
    with replacing(folder / POSES) as temporary:
        np.save(temporary, poses_bounds(cameras, near=NEAR, far=FAR))


def _film(world: World, item: tuple[int, Camera], folder: Path, size: RigSize, supersampling: int) -> Path:
    number, camera = item
    path = folder / f"cam{number:02d}.mp4"
    write_video(path, film_camera(world, camera, num_frames=size.num_frames, supersampling=supersampling))
    return path


def write_video(path: Path, frames: NDArray[np.uint8]) -> None:
    """Writes RGB frames [n, h, w, 3] as H.264 with full chroma and no loss but that of rounding."""
    with replacing(path) as temporary, av.open(str(temporary), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=FRAMES_PER_SECOND, options={"crf": "0", "preset": "veryfast"})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv444p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
