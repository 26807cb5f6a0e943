"""Procedural textures: functions from surface coordinates [n, 2] in metres to RGB [n, 3] in [0, 1]."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from demo.playroom.arrays import Array, f32

Texture = Callable[[Array], Array]
Colour = tuple[float, float, float]  # RGB in [0, 1]


def _mix(first: Colour | Array, second: Colour | Array, amount: Array) -> Array:
    """Linear mix of two colours [3] or [n, 3] by amounts [n]."""
    low, high = f32(first), f32(second)
    return (low + (high - low) * amount[:, None]).astype(np.float32)


def _hash(x: NDArray[np.int64], y: NDArray[np.int64], seed: int) -> Array:
    """A repeatable pseudo-random value in [0, 1) for every integer cell."""
    mixed = (x * 374761393 + y * 668265263 + seed * 1274126177) & 0xFFFFFFFF
    mixed = ((mixed ^ (mixed >> 13)) * 1274126177) & 0xFFFFFFFF
    return ((mixed ^ (mixed >> 16)) & 0xFFFF).astype(np.float32) / 65536.0


def _noise(uv: Array, scale: float, seed: int) -> Array:
    """Value noise [n] in [0, 1): smooth interpolation between random lattice values `scale` metres apart."""
    grid = uv / scale
    cell = np.floor(grid)
    x, y = cell[:, 0].astype(np.int64), cell[:, 1].astype(np.int64)
    f = grid - cell
    f = f * f * (3.0 - 2.0 * f)
    top = _hash(x, y, seed) * (1.0 - f[:, 0]) + _hash(x + 1, y, seed) * f[:, 0]
    bottom = _hash(x, y + 1, seed) * (1.0 - f[:, 0]) + _hash(x + 1, y + 1, seed) * f[:, 0]
    return top * (1.0 - f[:, 1]) + bottom * f[:, 1]


def _fractal(uv: Array, scale: float, seed: int) -> Array:
    """Three octaves of value noise, [n] in [0, 1)."""
    octaves = [_noise(uv, scale / 2**k, seed + k) * 0.5 ** (k + 1) for k in range(3)]
    return f32(sum(octaves) / 0.875)


def checker(first: Colour, second: Colour, *, size: float) -> Texture:
    """A checkerboard with squares of `size` metres."""
    return partial(_checker, first=first, second=second, size=size)


def _checker(uv: Array, *, first: Colour, second: Colour, size: float) -> Array:
    odd = np.floor(uv / size).sum(axis=1) % 2.0
    return _mix(first, second, odd) * (0.92 + 0.08 * _noise(uv, size / 3, 11)[:, None])


def bricks(brick: Colour, mortar: Colour, *, width: float, height: float) -> Texture:
    """Rows of bricks shifted by half a brick, each with its own tint."""
    return partial(_bricks, brick=brick, mortar=mortar, width=width, height=height)


def _bricks(uv: Array, *, brick: Colour, mortar: Colour, width: float, height: float) -> Array:
    row = np.floor(uv[:, 1] / height)
    along = uv[:, 0] / width + 0.5 * (row % 2.0)
    column = np.floor(along)
    tint = 0.68 + 0.5 * _hash(column.astype(np.int64), row.astype(np.int64), 3)
    inside = (np.abs(along - column - 0.5) < 0.46) & (np.abs(uv[:, 1] / height - row - 0.5) < 0.41)
    stone = f32(brick) * (tint * (0.9 + 0.2 * _noise(uv, 0.09, 5)))[:, None]
    return np.where(inside[:, None], stone, f32(mortar)).astype(np.float32)


def planks(light: Colour, dark: Colour, *, width: float) -> Texture:
    """Wooden planks running along u, with grain."""
    return partial(_planks, light=light, dark=dark, width=width)


def _planks(uv: Array, *, light: Colour, dark: Colour, width: float) -> Array:
    row = np.floor(uv[:, 1] / width)
    offset = _hash(row.astype(np.int64), np.zeros(len(uv), np.int64), 7)
    column = np.floor(uv[:, 0] / (6.0 * width) + offset)
    tint = _hash(column.astype(np.int64), row.astype(np.int64), 9)
    grain = _fractal(uv * f32([0.35, 3.0]), 0.35, 13)
    seam = np.abs(uv[:, 1] / width - row - 0.5) > 0.46
    return _mix(light, dark, f32(0.65 * tint + 0.35 * grain)) * f32(np.where(seam, 0.55, 1.0))[:, None]


def stripes(first: Colour, second: Colour, *, width: float, slant: float = 0.0) -> Texture:
    """Stripes of `width` metres across u, slanted by `slant` metres of u for a metre of v."""
    return partial(_stripes, first=first, second=second, width=width, slant=slant)


def _stripes(uv: Array, *, first: Colour, second: Colour, width: float, slant: float) -> Array:
    return _mix(first, second, f32(np.floor((uv[:, 0] + slant * uv[:, 1]) / width) % 2.0))


def dots(ground: Colour, dot: Colour, *, spacing: float) -> Texture:
    """Round dots on a square lattice."""
    return partial(_dots, ground=ground, dot=dot, spacing=spacing)


def _dots(uv: Array, *, ground: Colour, dot: Colour, spacing: float) -> Array:
    f = uv / spacing - np.floor(uv / spacing) - 0.5
    return _mix(ground, dot, ((f * f).sum(axis=1) < 0.1).astype(np.float32))


def marble(first: Colour, second: Colour, *, scale: float) -> Texture:
    """Two colours veined by fractal noise."""
    return partial(_marble, first=first, second=second, scale=scale)


def _marble(uv: Array, *, first: Colour, second: Colour, scale: float) -> Array:
    vein = 0.5 + 0.5 * np.sin(uv[:, 0] / scale * 4.0 + 7.0 * _fractal(uv, scale, 17))
    return _mix(first, second, vein.astype(np.float32))


def plaster(colour: Colour, *, scale: float) -> Texture:
    """One colour, mottled."""
    return partial(_plaster, colour=colour, scale=scale)


def _plaster(uv: Array, *, colour: Colour, scale: float) -> Array:
    return f32(colour) * (0.78 + 0.34 * _fractal(uv, scale, 23))[:, None]


def rings(first: Colour, second: Colour, *, width: float) -> Texture:
    """Rings around the origin: a poster."""
    return partial(_rings, first=first, second=second, width=width)


def _rings(uv: Array, *, first: Colour, second: Colour, width: float) -> Array:
    return _mix(first, second, np.floor(np.linalg.norm(uv, axis=1) / width) % 2.0)
