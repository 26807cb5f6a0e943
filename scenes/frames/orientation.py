"""Orientation of a picture: the rotation and mirroring with which its file says that it is shown."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Orientation:
    """Stored pixels to shown ones: transpose rows and columns, then flip."""

    transpose: bool = False
    flip_rows: bool = False
    flip_columns: bool = False


UPRIGHT = Orientation()


def orientation_of(matrix: np.ndarray) -> Orientation | None:
    """Read FFmpeg's display matrix [a b u c d v x y w]: shown x' = a x + c y and y' = b x + d y, y points down.

    None where the picture is turned by another angle than a multiple of 90 degrees (within one degree).
    """
    a, b, _, c, d = (float(value) for value in matrix[:5])
    largest = max(abs(value) for value in (a, b, c, d))
    kept, swapped = min(abs(a), abs(d)), min(abs(b), abs(c))
    if largest == 0 or min(kept, swapped) > np.tan(np.radians(1)) * max(kept, swapped):
        return None
    if kept > swapped:
        return Orientation(flip_rows=d < 0, flip_columns=a < 0)
    return Orientation(transpose=True, flip_rows=b < 0, flip_columns=c < 0)


def shown_size(width: int, height: int, orientation: Orientation) -> tuple[int, int]:
    """Give width and height in px of the shown picture."""
    return (height, width) if orientation.transpose else (width, height)


def shown(image: np.ndarray, orientation: Orientation) -> np.ndarray:
    """Turn a stored picture [h, w, 3] to the one that is shown; an upright one is returned as it is."""
    if orientation == UPRIGHT:
        return image
    if orientation.transpose:
        image = image.transpose(1, 0, 2)
    rows = slice(None, None, -1 if orientation.flip_rows else 1)
    columns = slice(None, None, -1 if orientation.flip_columns else 1)
    return np.ascontiguousarray(image[rows, columns])
