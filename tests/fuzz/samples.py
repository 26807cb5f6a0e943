"""A good file of a kind, and how a command reads it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A good file below a folder, and a function that reads it as a command does."""

    file: Path
    read: Callable[[], object]  # gives all values that come of the file
    refused: bool = False  # even the good file


Maker = Callable[[Path], Sample]


def text_file(name: str, text: str, read: Callable[[Path], object]) -> Maker:
    def make(folder: Path) -> Sample:
        (folder / name).write_text(text)
        return Sample(file=folder / name, read=lambda: read(folder / name))

    return make
