"""Metrics of whole clips: the images of every camera wait in files until its last frame is rendered.

Ranks write to the same files, and measure another camera each.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from torch import Tensor

from common import ranks
from common.disk.leftovers import shared_folder
from common.maths.tensors import all_to_uint8
from engine.evaluation.measures.metric_types import ClipPair, Measure, OpenedMetric
from scenes import ViewFrame

TRUTH_FILE = "truth"


class ClipRecorder:
    """Keeps the images of all methods and the recorded ones, 8 bits each, in files of a folder.

    view_frames: all that will be added, by any rank, in order.
    """

    def __init__(self, measures: Mapping[str, Measure], folder: Path, view_frames: Sequence[ViewFrame]) -> None:
        self._measures = measures
        self._folder = folder
        self._numbers: dict[str, int] = {}  # of the methods' files
        self._shapes: dict[int, tuple[int, ...]] = {}  # [h, w, 3] by view
        self._frames: dict[int, list[int]] = {}  # by view
        for view, frame in view_frames:
            self._frames.setdefault(view, []).append(frame)

    def add(self, view_frame: ViewFrame, images: Mapping[str, Tensor], truth: np.ndarray) -> None:
        """Keeps the prepared images [3, h, w] of a frame, by method, and its recorded image, uint8 [h, w, 3]."""
        view, frame = view_frame
        self._shapes[view] = truth.shape
        place = self._frames[view].index(frame) * truth.size
        pixels = dict(zip(images, all_to_uint8(list(images.values())), strict=True))
        for name, values in {**pixels, TRUTH_FILE: truth}.items():
            descriptor = os.open(self._path(view, name), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            with open(descriptor, "wb") as file:
                file.seek(place)
                file.write(np.ascontiguousarray(values).tobytes())

    def scores(self) -> dict[int, dict[str, dict[str, float]]]:
        """Values by view, method and metric, on all ranks; views whose frames do not follow one another have none."""
        known = ranks.gathered((self._numbers, self._shapes))
        self._numbers = next(numbers for numbers, _ in known if numbers)
        self._shapes = {view: shape for _, shapes in known for view, shape in shapes.items()}
        methods = [name for name in self._numbers if name != TRUTH_FILE]
        views = [
            view
            for view, frames in self._frames.items()
            if len(frames) > 1 and frames == list(range(frames[0], frames[0] + len(frames)))
        ]
        own = {view: {method: self._scores(view, method) for method in methods} for view in ranks.share(views)}
        parts = ranks.gathered(own)
        return {view: part[view] for view in views for part in parts if view in part}

    def _scores(self, view: int, method: str) -> dict[str, float]:
        clip = ClipPair(images=self._clip(view, method), truths=self._clip(view, TRUTH_FILE))
        return {name: float(measure.compare(clip)) for name, measure in self._measures.items()}

    def _clip(self, view: int, name: str) -> np.ndarray:
        shape = (len(self._frames[view]), *self._shapes[view])
        return np.memmap(self._path(view, name), dtype=np.uint8, mode="r", shape=shape)

    def _path(self, view: int, name: str) -> Path:
        number = self._numbers.setdefault(name, len(self._numbers))
        return self._folder / f"{view}_{number}.rgb"


@contextmanager
def clip_recorder(
    metrics: Mapping[str, OpenedMetric], parent: Path, view_frames: Sequence[ViewFrame]
) -> Iterator[ClipRecorder | None]:
    """A recorder for the metrics of whole clips among some, its files removed at the end; None where there are none.

    view_frames: all frames of the evaluation in order.
    """
    measures = {
        name: opened.measure
        for name, opened in metrics.items()
        if opened.measure is not None and opened.measure.input == "clip"
    }
    if not measures:
        yield None
        return
    with shared_folder(parent) as folder:
        yield ClipRecorder(measures, folder, view_frames)
