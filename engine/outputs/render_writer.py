"""Images of a rendered sequence as files: videos as upstream names them and, on request, a PNG per frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import numpy as np

from common.tensors import to_uint8
from engine.outputs.files import write_png
from engine.outputs.video import FPS, VideoWriter
from router import Mixture

MIXTURE = "MoE"  # the mixture's name among files and scored methods


class RenderWriter:
    """Streams mixtures into `videos/{video_MoE, video_<Expert>, weights_<Expert>}.mp4` and PNG folders.

    PNGs (pngs=True) go to `renders/`, `gt/`, `renders_<Expert>/` and `weights_<Expert>/`. Weight images are grey:
    gate x 255, rounded. fps: frames per second, 30 where it is None. Use it as a context manager; a video appears when
    the block ends well.
    """

    def __init__(self, folder: Path, experts: Sequence[str], *, fps: Fraction | None, videos: bool, pngs: bool) -> None:
        self.folder = folder
        self.experts = tuple(experts)
        self.pngs = pngs
        self._stack = ExitStack()
        names = [f"video_{name}" for name in (MIXTURE, *self.experts)] + [f"weights_{name}" for name in self.experts]
        self._videos = (
            {name: VideoWriter(folder / "videos" / f"{name}.mp4", fps=fps or FPS) for name in names} if videos else {}
        )
        self._png_folders: dict[Path, None] = {}  # in the order of the first image

    def write(self, name: str, mixture: Mixture, truth: np.ndarray | None = None) -> None:
        """Appends a frame to every video; `name` ("cam00_00012") is the PNGs' name, `truth` uint8 [h, w, 3]."""
        if not self._videos and not self.pngs:
            return
        for video, folder, image in self._images(mixture):
            if self._videos:
                self._videos[video].write(image)
            if self.pngs:
                self._write_png(folder, name, image)
        if self.pngs and truth is not None:
            self._write_png("gt", name, truth)

    def _images(self, mixture: Mixture) -> Iterator[tuple[str, str, np.ndarray]]:
        """Name of the video, name of the PNG folder, image."""
        yield f"video_{MIXTURE}", "renders", to_uint8(mixture.image)
        for expert, image, gate in zip(self.experts, mixture.images, mixture.gates, strict=True):
            yield f"video_{expert}", f"renders_{expert}", to_uint8(image)
            yield f"weights_{expert}", f"weights_{expert}", to_uint8(gate)

    def _write_png(self, folder: str, name: str, image: np.ndarray) -> None:
        self._png_folders[self.folder / folder] = None
        write_png(self.folder / folder / f"{name}.png", image)

    @property
    def files(self) -> tuple[Path, ...]:
        """The videos written and the folders of PNGs."""
        videos = [writer.path for writer in self._videos.values() if writer.frames]
        return (*videos, *self._png_folders)

    def __enter__(self) -> RenderWriter:
        for writer in self._videos.values():
            self._stack.enter_context(writer)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)
