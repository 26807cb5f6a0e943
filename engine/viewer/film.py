"""A camera path as a video, made image by image between the pictures of browsers."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from moegs_rasterizer import Camera

from engine.outputs.video import FPS, VideoWriter
from engine.runs.run import Run
from engine.viewer.images import picture_of
from engine.viewer.state import ViewState


def filmed(run: Run, state: ViewState, way: Sequence[tuple[Camera, float]]) -> Generator[bytes | None, None, None]:
    """Renders cameras, each with the frame to show, one at each step; the last step gives the bytes of the MP4.

    state: what the images show, at frames of their own. Closing it at any step leaves nothing on disk.
    """
    with TemporaryDirectory(prefix="moegs-view-") as folder:
        file = Path(folder) / "path.mp4"
        with VideoWriter(file, fps=run.scene.frame_rate or FPS) as writer:
            for camera, frame in way:
                writer.write(picture_of(run, replace(state, frame=frame), camera, width=camera.width).image)
                yield None
        yield file.read_bytes()
