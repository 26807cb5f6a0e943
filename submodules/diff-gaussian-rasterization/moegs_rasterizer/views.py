"""A camera and a layer's settings as the compiled back-ends take them: rows of doubles."""

from __future__ import annotations

import math

from torch import Tensor

from .types import Camera, RasterSettings

DEPTH_KINDS = ("sum", "mean", "median")  # order of DepthKind in csrc/layout.h


def view_rows(camera: Camera, settings: list[RasterSettings]) -> list[list[float]]:
    """The doubles of `View` in csrc/layout.h, a row for each layer."""
    numbers = camera_numbers(camera)
    return [[*numbers, *settings_numbers(one)] for one in settings]


def camera_numbers(camera: Camera) -> list[float]:
    """A camera as the first doubles of `View` in csrc/layout.h; where its matrix lies on a GPU, this waits for it."""
    rows = matrix_rows(camera.world_to_camera)
    rotation, translation = [row[:3] for row in rows[:3]], [row[3] for row in rows[:3]]
    seen = [*rotation[0], *rotation[1], *rotation[2], *translation, *_centre(rotation, translation)]
    return [*seen, camera.fx, camera.fy, camera.cx, camera.cy, camera.width, camera.height]


def blend_options(settings: RasterSettings) -> tuple[float, float]:
    """Kind of depth, and the depth of empty pixels where it is the mean."""
    return DEPTH_KINDS.index(settings.depth), settings.far or 0.0


def settings_numbers(settings: RasterSettings) -> list[float]:
    """A layer's settings as the last doubles of `View` in csrc/layout.h."""
    return [
        settings.low_pass,
        settings.near,
        math.inf if settings.far is None else settings.far,
        math.inf if settings.ndc_limit is None else settings.ndc_limit,
        settings.compensate,
        settings.tile_rule == "inria",
    ]


def matrix_rows(matrix: Tensor) -> list[list[float]]:
    """A matrix as Python numbers; where it lies on a GPU, this waits for it."""
    rows: list[list[float]] = matrix.tolist()
    return rows


def determinant(m: list[list[float]]) -> float:
    """Determinant of the upper left 3x3 part of a matrix."""
    minors = (m[1][1] * m[2][2] - m[1][2] * m[2][1], m[1][0] * m[2][2] - m[1][2] * m[2][0])
    return m[0][0] * minors[0] - m[0][1] * minors[1] + m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0])


def _centre(m: list[list[float]], t: list[float]) -> list[float]:
    """The camera's centre -M^-1 t in world units, by Cramer's rule: M need not be a rotation."""
    over = -1 / determinant(m)
    columns = [[row[k] for row in m] for k in range(3)]
    replaced = [[t if k == axis else columns[k] for k in range(3)] for axis in range(3)]
    return [determinant(one) * over for one in replaced]  # a matrix and its transpose have the same determinant
