"""Frames kept as image files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from scenes.types import SceneError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberedImages:
    """Images of one camera by frame number."""

    paths: Mapping[int, Path]
    width: int
    height: int

    @property
    def first(self) -> int:
        return min(self.paths)

    @property
    def last(self) -> int:
        return max(self.paths)

    def run(self, start: int) -> int:
        """Count the frames from `start` on without a gap."""
        count = 0
        while start + count in self.paths:
            count += 1
        return count

    def files(self, start: int, count: int) -> list[Path]:
        """List the files that the frames [start, start + count) come from."""
        return [self.paths[number] for number in range(start, start + count)]


def numbered_images(folder: Path) -> dict[int, Path]:
    """Find a folder's images whose names are integers (0.png, 000000.jpg); SceneError where two have one number."""
    return keyed_images((int(path.stem), path) for path in images_of(folder) if path.stem.isdecimal())


def images_of(folder: Path) -> list[Path]:
    """List the image files directly inside a folder, sorted by name."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)


def keyed_images(numbered: Iterable[tuple[int, Path]]) -> dict[int, Path]:
    """Map numbers to files; SceneError where two files claim one number."""
    paths: dict[int, Path] = {}
    for number, path in numbered:
        if number in paths:
            raise SceneError(f"{path} and {paths[number].name} are both frame {number}: keep one set of images")
        paths[number] = path
    return paths


def probe_images(paths: Mapping[int, Path]) -> NumberedImages:
    """Read the size from the header of the first image; SceneError where it cannot be read."""
    path = paths[min(paths)]
    try:
        with Image.open(path) as image:
            width, height = image.size
    except (OSError, SyntaxError) as error:
        raise _unreadable(path, error) from error
    return NumberedImages(paths=paths, width=width, height=height)


def decode_images(images: NumberedImages, start: int, count: int) -> Iterator[np.ndarray]:
    """Yield uint8 [height, width, 3] RGB (an alpha channel is dropped) of the frames [start, start + count).

    SceneError where a file is damaged or has another size than the camera's first image.
    """
    for path in images.files(start, count):
        try:
            with Image.open(path) as image:
                frame = np.asarray(image.convert("RGB"))
        except (OSError, SyntaxError) as error:
            raise _unreadable(path, error) from error
        if frame.shape[:2] != (images.height, images.width):
            raise SceneError(
                f"{path}: {frame.shape[1]}x{frame.shape[0]} px, but the camera's first image has "
                f"{images.width}x{images.height}; extract the frames again"
            )
        yield frame


def _unreadable(path: Path, error: Exception) -> SceneError:
    reason = " ".join(str(error).split())
    return SceneError(
        f"{path}: not a readable image ({reason}); copy it again or put a neighbouring frame in its place"
    )
