"""Types of the generated scene: float32 arrays and points."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float32]
Point = tuple[float, float, float]  # metres


def f32(values: ArrayLike) -> Array:
    """Values as a float32 array."""
    return np.asarray(values, np.float32)
