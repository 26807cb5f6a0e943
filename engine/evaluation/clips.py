"""Metrics of whole clips: the images of every camera wait in files until its last frame is rendered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
from torch import Tensor

from common.leftovers import unfinished_folder
from common.tensors import all_to_uint8
from engine.evaluation.metric_types import ClipPair, Measure, OpenedMetric
from scenes import ViewFrame

TRUTH_FILE = "truth"


class ClipRecorder:
    """Keeps the images of all methods and the recorded ones, 8 bits each, in files of a temporary folder."""

    def __init__(self, measures: Mapping[str, Measure], parent: Path) -> None:
        self._measures = measures
        self._open = ExitStack()
        self._folder = self._open.enter_context(unfinished_folder(parent))
        self._numbers: dict[str, int] = {}  # of the methods' files
        self._shapes: dict[int, tuple[int, ...]] = {}  # [h, w, 3] by view
        self._frames: dict[int, list[int]] = {}  # by view

    def add(self, view_frame: ViewFrame, images: Mapping[str, Tensor], truth: np.ndarray) -> None:
        """Keeps the prepared images [3, h, w] of a frame, by method, and its recorded image, uint8 [h, w, 3]."""
        view, frame = view_frame
        self._frames.setdefault(view, []).append(frame)
        self._shapes[view] = truth.shape
        pixels = dict(zip(images, all_to_uint8(list(images.values())), strict=True))
        for name, values in {**pixels, TRUTH_FILE: truth}.items():
            with self._path(view, name).open("ab") as file:
                file.write(np.ascontiguousarray(values).tobytes())

    def scores(self) -> dict[int, dict[str, dict[str, float]]]:
        """Values by view, method and metric; views whose frames do not follow one another have none."""
        methods = [name for name in self._numbers if name != TRUTH_FILE]
        return {
            view: {method: self._scores(view, method) for method in methods}
            for view, frames in self._frames.items()
            if len(frames) > 1 and frames == list(range(frames[0], frames[0] + len(frames)))
        }

    def _scores(self, view: int, method: str) -> dict[str, float]:
        clip = ClipPair(images=self._clip(view, method), truths=self._clip(view, TRUTH_FILE))
        return {name: float(measure.compare(clip)) for name, measure in self._measures.items()}

    def _clip(self, view: int, name: str) -> np.ndarray:
        shape = (len(self._frames[view]), *self._shapes[view])
        return np.memmap(self._path(view, name), dtype=np.uint8, mode="r", shape=shape)

    def _path(self, view: int, name: str) -> Path:
        number = self._numbers.setdefault(name, len(self._numbers))
        return self._folder / f"{view}_{number}.rgb"

    def close(self) -> None:
        """Removes the files."""
        self._open.close()


@contextmanager
def clip_recorder(metrics: Mapping[str, OpenedMetric], parent: Path) -> Iterator[ClipRecorder | None]:
    """A recorder for the metrics of whole clips among some, removed at the end; None where there are none."""
    measures = {
        name: opened.measure
        for name, opened in metrics.items()
        if opened.measure is not None and opened.measure.input == "clip"
    }
    if not measures:
        yield None
        return
    parent.mkdir(parents=True, exist_ok=True)
    recorder = ClipRecorder(measures, parent)
    try:
        yield recorder
    finally:
        recorder.close()
