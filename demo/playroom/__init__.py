"""A small multi-camera video made from nothing: textured solids moving in a textured room, ray-traced."""

from demo.playroom.points import KnownPoints, PointCounts, known_points
from demo.playroom.rig import RigSize, rig_cameras
from demo.playroom.writer import write_scene

__all__ = [
    "KnownPoints",
    "PointCounts",
    "RigSize",
    "known_points",
    "rig_cameras",
    "write_scene",
]
