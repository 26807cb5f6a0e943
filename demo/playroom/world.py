"""The demo's world: a textured room, still furniture, five solids and a pendulum that each move in their own way."""

from __future__ import annotations

from dataclasses import dataclass

from demo.playroom import motions, textures
from demo.playroom.arrays import Array, Point, f32
from demo.playroom.solids import Solid
from demo.playroom.textures import Texture


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """An axis-aligned room seen from inside; y points down, z away from the cameras."""

    low: Point  # metres
    high: Point
    faces: tuple[Texture, ...]  # six: -x, +x, -y (ceiling), +y (floor), -z, +z (back)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The room, the solids in it and the lamp."""

    room: Room
    solids: tuple[Solid, ...]
    lamp: Array  # [3] metres
    ambient: float = 0.5  # light from everywhere
    diffuse: float = 0.7  # light from the lamp


def demo_world() -> World:
    """The world of the demo: every expert's way of moving is easy somewhere in it and hard elsewhere."""
    return World(room=_room(), solids=(*_furniture(), *_movers(), *_pendulum()), lamp=f32([0.9, -1.5, 1.0]))


def _room() -> Room:
    return Room(
        low=(-2.9, -2.0, -1.5),
        high=(2.9, 1.5, 6.4),
        faces=(
            textures.stripes((0.86, 0.83, 0.74), (0.47, 0.62, 0.60), width=0.42),
            textures.plaster((0.80, 0.62, 0.44), scale=0.8),
            textures.plaster((0.88, 0.88, 0.86), scale=1.2),
            textures.planks((0.78, 0.58, 0.38), (0.45, 0.28, 0.16), width=0.34),
            textures.plaster((0.6, 0.6, 0.6), scale=1.0),
            textures.bricks((0.74, 0.42, 0.34), (0.80, 0.77, 0.72), width=0.62, height=0.28),
        ),
    )


def _furniture() -> tuple[Solid, ...]:
    return (
        Solid(
            name="poster",
            shape="box",
            extents=(0.62, 0.45, 0.04),
            texture=textures.rings((0.96, 0.92, 0.78), (0.16, 0.32, 0.55), width=0.105),
            pose=motions.still((-1.35, -0.85, 6.33)),
            moves=False,
        ),
        Solid(
            name="pillar",
            shape="cylinder",
            extents=(0.24, 1.75, 0.24),
            texture=textures.marble((0.92, 0.90, 0.86), (0.48, 0.52, 0.58), scale=0.5),
            pose=motions.still((2.05, -0.25, 5.0)),
            moves=False,
        ),
        Solid(
            name="table",
            shape="box",
            extents=(0.62, 0.32, 0.45),
            texture=textures.checker((0.90, 0.86, 0.76), (0.24, 0.36, 0.30), size=0.155),
            pose=motions.still((-1.35, 1.18, 4.3), turn=0.5),
            moves=False,
        ),
    )


def _movers() -> tuple[Solid, ...]:
    return (
        Solid(
            name="pulse",
            shape="sphere",
            extents=(0.36, 0.36, 0.36),
            texture=textures.dots((0.93, 0.75, 0.22), (0.75, 0.22, 0.16), spacing=0.19),
            pose=motions.pulse((-1.35, 0.42, 4.3), amount=0.3, beats=2.0),
        ),
        Solid(
            name="crate",
            shape="box",
            extents=(0.36, 0.36, 0.36),
            texture=textures.checker((0.95, 0.95, 0.92), (0.18, 0.30, 0.66), size=0.18),
            pose=motions.spin((0.45, 0.85, 3.5), turns=0.6),
        ),
        Solid(
            name="ball",
            shape="sphere",
            extents=(0.28, 0.28, 0.28),
            texture=textures.stripes((0.20, 0.58, 0.36), (0.95, 0.93, 0.85), width=0.22, slant=0.6),
            pose=motions.bounce((-0.75, 1.2, 3.1), height=1.3, drift=0.5, count=2.0),
        ),
        Solid(
            name="rocket",
            shape="sphere",
            extents=(0.52, 0.19, 0.19),
            texture=textures.stripes((0.90, 0.34, 0.18), (0.98, 0.88, 0.62), width=0.18),
            pose=motions.glide((-2.2, -0.55, 4.9), (2.2, -1.0, 4.4), roll=3.0),
        ),
        Solid(
            name="visitor",
            shape="box",
            extents=(0.24, 0.24, 0.24),
            texture=textures.dots((0.30, 0.70, 0.78), (0.98, 0.98, 0.95), spacing=0.16),
            pose=motions.visit((1.25, 1.25, 4.2), start=0.27, end=0.77, turns=0.5),
        ),
    )


def _pendulum() -> tuple[Solid, ...]:
    pivot = (1.0, -1.95, 4.1)
    return (
        Solid(
            name="rod",
            shape="box",
            extents=(0.03, 0.72, 0.03),
            texture=textures.plaster((0.25, 0.24, 0.26), scale=0.3),
            pose=motions.swing(pivot, radius=0.73, angle=0.6, periods=1.3),
        ),
        Solid(
            name="bob",
            shape="cylinder",
            extents=(0.27, 0.22, 0.27),
            texture=textures.checker((0.88, 0.80, 0.30), (0.42, 0.16, 0.40), size=0.15),
            pose=motions.swing(pivot, radius=1.7, angle=0.6, periods=1.3),
        ),
    )
