"""Images of a rendered sequence as files: videos as upstream names them and, on request, a PNG per frame."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from fractions import Fraction
from functools import partial
from pathlib import Path
from types import TracebackType

import numpy as np

from common.cores import usable_cores
from engine.outputs.background import Background
from engine.outputs.encoders import choose_encoders
from engine.outputs.files import write_png
from engine.outputs.frame_images import DepthRange, FrameImages, frame_images
from engine.outputs.joined_videos import joined_parts
from engine.outputs.streams import MIXTURE, Stream, streams_of
from engine.outputs.video import FPS, VideoWriter
from engine.settings.rendering.render import EncoderChoice
from engine.settings.rendering.render_maps import MapName
from router import Mixture

__all__ = ["MIXTURE", "RenderWriter"]
FRAMES_WAITING = 4  # of each video, while its encoder is behind
PNG_WORKERS = min(8, usable_cores())


class RenderWriter:
    """Streams mixtures into `videos/{video_MoE, video_<Expert>, weights_<Expert>}.mp4` and PNG folders.

    PNGs (pngs=True) go to `renders/`, `gt/`, `renders_<Expert>/` and `weights_<Expert>/`. Weight images are grey:
    gate x 255, rounded. maps: further videos, with PNGs in folders of their names. fps: frames per second, 30 where it
    is None. encoder: see `choose_encoders`. Each video has a thread of its own, the PNGs share some; `write` waits
    where they fall behind, and raises their errors. Use it as a context manager; the videos appear when the block ends
    well, and all of them could be written. Several ranks write a block of the frames each, and rank 0 joins the parts
    of the videos.
    """

    def __init__(
        self,
        folder: Path,
        experts: Sequence[str],
        *,
        fps: Fraction | None,
        videos: bool,
        pngs: bool,
        maps: Sequence[MapName] = (),
        encoder: EncoderChoice = "software",
    ) -> None:
        self.folder = folder
        self.pngs = pngs
        self._streams = streams_of(experts, maps)
        self._winner = "winner" in maps or "grid" in maps
        self._depth_range: DepthRange | None = None  # the first frame's, so that colours mean the same in all
        self._stack = ExitStack()
        names = [stream.video for stream in self._streams if stream.video is not None] if videos else []
        chosen = zip(names, choose_encoders(encoder, len(names)), strict=True)
        self._open_video = {name: partial(VideoWriter, fps=fps or FPS, encoder=each) for name, each in chosen}
        self._videos: dict[str, VideoWriter] = {}  # open within the block
        self._encoders = {name: Background(name, waiting=FRAMES_WAITING) for name in names}
        self._png_writers = Background("png", workers=PNG_WORKERS, waiting=2 * PNG_WORKERS)
        self._backgrounds = (*self._encoders.values(), self._png_writers)
        self._png_folders: dict[Path, None] = {}  # in the order of the first image

    def images(self, mixture: Mixture, truth: np.ndarray | None = None, *, mean: bool = False) -> FrameImages:
        """The images of a frame to `write`, `truth` uint8 [h, w, 3]; mean: with that of the experts."""
        frame = frame_images(mixture, truth, mean=mean, winner=self._winner, depth_range=self._depth_range)
        self._depth_range = frame.depth_range
        return frame

    def write(self, name: str, frame: FrameImages) -> None:
        """Appends a frame to every video; `name` ("cam00_00012") is the PNGs' name."""
        for stream in self._streams:
            if stream.of_truth and frame.truth is None:
                continue
            if stream.video in self._videos:
                self._encoders[stream.video].add(_encode, self._videos[stream.video], stream, frame)
            if self.pngs:
                self._png_folders[self.folder / stream.folder] = None
                self._png_writers.add(_write_png, self.folder / stream.folder / f"{name}.png", stream, frame)

    @property
    def files(self) -> tuple[Path, ...]:
        """The videos written and the folders of PNGs."""
        videos = [self._target(name) for name, writer in self._videos.items() if writer.frames]
        return (*videos, *self._png_folders)

    def _target(self, name: str) -> Path:
        return self.folder / "videos" / f"{name}.mp4"

    def _finish(self) -> None:
        """Waits for the threads. No video has its name yet: the first error leaves none of them."""
        for name, encoder in self._encoders.items():
            encoder.add(self._videos[name].finish)
        for background in self._backgrounds:
            background.finish()

    def __enter__(self) -> RenderWriter:
        targets = [self._target(name) for name in self._open_video]
        parts = self._stack.enter_context(joined_parts(targets)) if targets else ()
        for (name, open_video), part in zip(self._open_video.items(), parts, strict=True):
            self._videos[name] = self._stack.enter_context(open_video(part))
        for background in self._backgrounds:  # the last entered are the first to end
            self._stack.enter_context(background)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._stack.__exit__(kind, error, trace)
            return
        with self._stack:
            self._finish()


def _encode(video: VideoWriter, stream: Stream, frame: FrameImages) -> None:
    video.write(stream.draw(frame))


def _write_png(path: Path, stream: Stream, frame: FrameImages) -> None:
    write_png(path, stream.draw(frame))
