"""The demo's scene, generated: textured solids that move in a textured room, ray-traced for a rig of cameras.

`world` lists the room and its solids, made of `solids`, `textures` and `motions`. `tracer` finds what the rays of the
cameras of `rig` meet, `film` makes images of it, `points` the known surface points, and `writer` the scene's folder.
"""

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
