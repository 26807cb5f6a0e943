"""Motions of solids: functions from the time in [0, 1) to a pose."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import cos, exp, pi, sin

from demo.playroom.arrays import Array, Point, f32
from demo.playroom.solids import Pose

Motion = Callable[[float], Pose]


def rotation(axis: str, angle: float) -> Array:
    """Rotation [3, 3] by `angle` radians about a world axis "x", "y" or "z"."""
    c, s = cos(angle), sin(angle)
    rows: dict[str, list[list[float]]] = {
        "x": [[1, 0, 0], [0, c, -s], [0, s, c]],
        "y": [[c, 0, s], [0, 1, 0], [-s, 0, c]],
        "z": [[c, -s, 0], [s, c, 0], [0, 0, 1]],
    }
    return f32(rows[axis])


def still(centre: Point, *, turn: float = 0.0) -> Motion:
    """No motion; turned by `turn` radians about the vertical."""
    return partial(_still, centre=centre, turn=turn)


def _still(time: float, *, centre: Point, turn: float) -> Pose:
    return Pose(rotation=rotation("y", turn), centre=f32(centre))


def glide(start: Point, end: Point, *, roll: float) -> Motion:
    """A straight line at constant speed, rolling by `roll` radians about x in all."""
    return partial(_glide, start=start, end=end, roll=roll)


def _glide(time: float, *, start: Point, end: Point, roll: float) -> Pose:
    centre = f32(start) + (f32(end) - f32(start)) * f32(time)
    return Pose(rotation=rotation("x", roll * time), centre=centre)


def spin(centre: Point, *, turns: float) -> Motion:
    """Turning about the vertical, tilted a little so that the top shows."""
    return partial(_spin, centre=centre, turns=turns)


def _spin(time: float, *, centre: Point, turns: float) -> Pose:
    return Pose(rotation=rotation("x", 0.35) @ rotation("y", 2.0 * pi * turns * time), centre=f32(centre))


def bounce(low: Point, *, height: float, drift: float, count: float) -> Motion:
    """A ball that bounces `count` times: parabolas with a kink at each impact, drifting along x."""
    return partial(_bounce, low=low, height=height, drift=drift, count=count)


def _bounce(time: float, *, low: Point, height: float, drift: float, count: float) -> Pose:
    part = (time * count + 0.5) % 1.0
    lift = 4.0 * height * part * (1.0 - part)
    centre = f32([low[0] + drift * time, low[1] - lift, low[2]])
    return Pose(rotation=rotation("z", 5.0 * time), centre=centre)


def swing(pivot: Point, *, radius: float, angle: float, periods: float) -> Motion:
    """A pendulum's part at `radius` metres from its pivot, swinging in the image plane."""
    return partial(_swing, pivot=pivot, radius=radius, angle=angle, periods=periods)


def _swing(time: float, *, pivot: Point, radius: float, angle: float, periods: float) -> Pose:
    tilt = angle * sin(2.0 * pi * periods * time)
    reach = f32([sin(tilt), cos(tilt), 0.0]) * f32(radius)
    return Pose(rotation=rotation("z", -tilt), centre=f32(pivot) + reach)


def pulse(centre: Point, *, amount: float, beats: float) -> Motion:
    """Swelling and shrinking about its centre."""
    return partial(_pulse, centre=centre, amount=amount, beats=beats)


def _pulse(time: float, *, centre: Point, amount: float, beats: float) -> Pose:
    return Pose(rotation=rotation("y", 0.6), centre=f32(centre), size=1.0 + amount * sin(2.0 * pi * beats * time))


def visit(centre: Point, *, start: float, end: float, turns: float) -> Motion:
    """There only between two times; it jerks sideways half-way."""
    return partial(_visit, centre=centre, start=start, end=end, turns=turns)


def _visit(time: float, *, centre: Point, start: float, end: float, turns: float) -> Pose:
    shift = 0.45 / (1.0 + exp(-60.0 * (time - 0.5 * (start + end))))
    moved = f32([centre[0] + shift, centre[1], centre[2]])
    return Pose(rotation=rotation("y", 2.0 * pi * turns * time), centre=moved, size=float(start <= time < end))
