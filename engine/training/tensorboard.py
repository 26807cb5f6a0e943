"""TensorBoard's event files of a training, with --tensorboard; the package is optional."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from common.text.wording import shell
from engine.errors import ConfigError

EVENTS_FOLDER = "tensorboard"  # in the folder of a training
PACKAGE = "tensorboard"


def check_tensorboard(*, wanted: bool) -> None:
    """Raises ConfigError with the command that installs TensorBoard, where it is wanted and missing."""
    if wanted and find_spec(PACKAGE) is None:
        raise ConfigError(
            f"--tensorboard needs the package {PACKAGE}: run pip install -r requirements-tensorboard.txt "
            f"-c constraints.txt, or leave the flag out; training.csv has the same numbers"
        )


class EventWriter:
    """Writes numbers of a training as TensorBoard's scalars; a training resumed after `start` replaces later ones."""

    def __init__(self, folder: Path, *, start: int) -> None:
        self._folder = folder / EVENTS_FOLDER
        self._first: int | None = start + 1  # iterations from it on are written anew
        self._writer: Any = None

    def add(self, numbers: Mapping[str, float], iteration: float) -> None:
        """Writes the numbers of an iteration, and lets readers see them."""
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter  # here: the package is optional, and slow to import

            self._writer = SummaryWriter(str(self._folder), purge_step=self._first)
            self._first = None
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, int(iteration))
        self._writer.flush()

    def close(self) -> None:
        """Ends the file; `add` begins another."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def event_writer(folder: Path, *, start: int, wanted: bool) -> EventWriter | None:
    """The writer of a training's folder, where it is wanted. start: iterations done before."""
    return EventWriter(folder, start=start) if wanted else None


def tensorboard_command(folder: Path) -> str:
    """The command that shows a training's numbers in a browser."""
    return shell("tensorboard", "--logdir", folder.absolute())
