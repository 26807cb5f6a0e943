"""Solids: unit shapes under a pose that depends on the time, their surfaces, and the rays that hit them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from demo.playroom.arrays import Array, f32
from demo.playroom.textures import Texture

Shape = Literal["sphere", "box", "cylinder"]  # unit ball; cube [-1, 1]^3; |y| <= 1 and x^2 + z^2 <= 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Pose:
    """A solid's pose at one instant; `size` scales it about its centre, 0 is absent."""

    rotation: Array  # [3, 3] world_from_solid
    centre: Array  # [3] metres
    size: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Solid:
    """A textured unit shape, stretched by `extents` (half sizes in metres), that moves."""

    name: str
    shape: Shape
    extents: tuple[float, float, float]
    texture: Texture
    pose: Callable[[float], Pose]  # of the time in [0, 1)
    moves: bool = True


def to_canonical(solid: Solid, pose: Pose, points: Array) -> Array:
    """World points [n, 3] in the coordinates of the unit shape."""
    return vectors_to_canonical(solid, pose, points - pose.centre)


def vectors_to_canonical(solid: Solid, pose: Pose, vectors: Array) -> Array:
    """World directions [n, 3] in the coordinates of the unit shape; lengths along a ray stay comparable."""
    return f32(vectors @ pose.rotation / (f32(solid.extents) * pose.size))


def to_world(solid: Solid, pose: Pose, canonical: Array) -> Array:
    """Points [n, 3] of the unit shape in world coordinates."""
    return f32((canonical * f32(solid.extents) * pose.size) @ pose.rotation.T + pose.centre)


def canonical_normals(shape: Shape, canonical: Array) -> Array:
    """Outward normals [n, 3] of the unit shape at surface points [n, 3]."""
    if shape == "sphere":
        return canonical
    if shape == "box":
        return _largest_axis(canonical)
    cap = np.abs(canonical[:, 1]) > np.hypot(canonical[:, 0], canonical[:, 2])
    side = canonical * f32([1, 0, 1])
    return np.where(cap[:, None], canonical * f32([0, 1, 0]), side)


def normals(solid: Solid, pose: Pose, canonical: Array) -> Array:
    """Unit world normals [n, 3] at canonical surface points."""
    stretched = canonical_normals(solid.shape, canonical) / f32(solid.extents)
    world = stretched @ pose.rotation.T
    return world / np.linalg.norm(world, axis=1, keepdims=True)


def surface_coordinates(shape: Shape, extents: tuple[float, float, float], canonical: Array) -> Array:
    """Texture coordinates [n, 2] in metres; each box face and cylinder cap has a region of its own."""
    p, e = canonical, f32(extents)
    if shape == "box":
        normal = _largest_axis(p)
        axis, face = np.abs(normal).argmax(axis=1), normal.sum(axis=1)
        u = np.where(axis == 0, p[:, 2] * e[2], p[:, 0] * e[0])
        v = np.where(axis == 1, p[:, 2] * e[2], p[:, 1] * e[1])
        # Faces lie far apart in the texture, so that they differ; the one towards -z keeps its origin in its middle.
        return np.stack([u + 10.0 * ((axis + 1) % 3), v + 10.0 * (face > 0)], axis=1).astype(np.float32)
    angle = np.arctan2(p[:, 0], -p[:, 2]) * e[0]
    if shape == "sphere":
        return np.stack([angle, np.arcsin(np.clip(p[:, 1], -1, 1)) * e[1]], axis=1).astype(np.float32)
    cap = np.abs(p[:, 1]) > np.hypot(p[:, 0], p[:, 2])
    side = np.stack([angle, p[:, 1] * e[1]], axis=1)
    return np.where(cap[:, None], p[:, [0, 2]] * e[[0, 2]], side).astype(np.float32)


def hit_distances(shape: Shape, origins: Array, directions: Array) -> Array:
    """Distance [n] along canonical rays to the first hit from outside, inf where there is none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        if shape == "sphere":
            near, far = _quadric_interval(origins, directions)
        elif shape == "box":
            near, far = _slab_interval(origins, directions)
        else:
            side_near, side_far = _quadric_interval(origins[:, ::2], directions[:, ::2])
            cap_near, cap_far = _slab_interval(origins[:, 1:2], directions[:, 1:2])
            near, far = np.maximum(side_near, cap_near), np.minimum(side_far, cap_far)
        hit = (near < far) & (near > 1e-4)
    return np.where(hit, near, f32(np.inf))


def _largest_axis(points: Array) -> Array:
    """The signed unit axis nearest to each point [n, 3]."""
    axis = np.abs(points).argmax(axis=1)
    rows = np.arange(len(points))
    normal = np.zeros_like(points)
    normal[rows, axis] = np.sign(points[rows, axis])
    return normal


def _quadric_interval(origins: Array, directions: Array) -> tuple[Array, Array]:
    """The interval of a ray inside |p| < 1; empty where it misses."""
    a = (directions * directions).sum(axis=1)
    b = (origins * directions).sum(axis=1)
    c = (origins * origins).sum(axis=1) - 1.0
    root = np.sqrt(b * b - a * c)  # nan where missed: every comparison is then false
    return (-b - root) / a, (-b + root) / a


def _slab_interval(origins: Array, directions: Array) -> tuple[Array, Array]:
    """The interval of a ray inside |p_i| < 1 on every axis given."""
    first, second = (-1.0 - origins) / directions, (1.0 - origins) / directions
    return np.minimum(first, second).max(axis=1), np.maximum(first, second).min(axis=1)
