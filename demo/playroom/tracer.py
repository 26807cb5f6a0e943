"""Ray tracing of the world: primary hits, Lambert shading, shadows."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from demo.playroom.arrays import Array, f32
from demo.playroom.solids import (
    Pose,
    Solid,
    hit_distances,
    normals,
    surface_coordinates,
    to_canonical,
    to_world,
    vectors_to_canonical,
)
from demo.playroom.world import Room, World

ROOM = -1  # index of the room among the solids


@dataclass(frozen=True, slots=True, kw_only=True)
class Rays:
    """Rays with unit directions from one point."""

    origin: Array  # [3]
    directions: Array  # [n, 3]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hits:
    """The first surface that each ray meets."""

    colours: Array  # [n, 3], shaded
    distances: Array  # [n] metres
    solids: NDArray[np.int64]  # [n] index into World.solids, or ROOM
    canonical: Array  # [n, 3] in the solid's unit shape; world points for the room


def trace_still(world: World, rays: Rays) -> Hits:
    """Hits of the room and the solids that do not move, with the shadows these cast."""
    points, outward, albedo, distances = _room_surface(world.room, rays)
    colours = albedo * _light(world, points, outward, occlusion=_corner_darkening(world.room, points))
    count = len(distances)
    hits = Hits(colours=colours, distances=distances, solids=np.full(count, ROOM), canonical=points)
    still = [index for index, solid in enumerate(world.solids) if not solid.moves]
    for index in still:
        _overlay(world, hits, rays, index=index, time=0.0)
    lit = _sharp_shadow(world, rays.origin + rays.directions * hits.distances[:, None], still)
    return replace(hits, colours=hits.colours * lit[:, None])


def trace_moving(world: World, rays: Rays, still: Hits, *, time: float, shadow: Array) -> Hits:
    """Adds the moving solids at a time in [0, 1) to the hits of the still ones, which `shadow` [n] dims."""
    hits = Hits(
        colours=still.colours * shadow[:, None],
        distances=still.distances.copy(),
        solids=still.solids.copy(),
        canonical=still.canonical.copy(),
    )
    for index, solid in enumerate(world.solids):
        if solid.moves:
            _overlay(world, hits, rays, index=index, time=time)
    return hits


def soft_shadow(world: World, points: Array, *, time: float) -> Array:
    """Share of the light [n] that the moving solids, taken as ellipsoids, let through to points [n, 3]."""
    through = np.ones(len(points), np.float32)
    for solid in world.solids:
        pose = solid.pose(time)
        if not solid.moves or pose.size == 0.0:
            continue
        start = to_canonical(solid, pose, points)
        path = to_canonical(solid, pose, world.lamp[None]) - start
        along = np.clip(-(start * path).sum(axis=1) / (path * path).sum(axis=1), 0.0, 1.0)
        miss = np.linalg.norm(start + path * along[:, None], axis=1)
        cover = np.clip((1.35 - miss) / 0.7, 0.0, 1.0) * (along > 0.0)
        through *= 1.0 - 0.45 * cover * cover * (3.0 - 2.0 * cover)
    return through


def _overlay(world: World, hits: Hits, rays: Rays, *, index: int, time: float) -> None:
    """Replaces, in place, the hits that one solid is nearer than."""
    solid = world.solids[index]
    pose = solid.pose(time)
    rows = _rows_near(solid, pose, rays)
    if not len(rows):
        return
    origin = to_canonical(solid, pose, rays.origin[None])
    directions = vectors_to_canonical(solid, pose, rays.directions[rows])
    distances = hit_distances(solid.shape, np.broadcast_to(origin, directions.shape), directions)
    nearer = distances < hits.distances[rows]
    rows, distances = rows[nearer], distances[nearer]
    canonical = origin + directions[nearer] * distances[:, None]
    hits.colours[rows] = shade(world, solid, pose, canonical)
    hits.distances[rows], hits.solids[rows], hits.canonical[rows] = distances, index, canonical


def shade(world: World, solid: Solid, pose: Pose, canonical: Array) -> Array:
    """Colours [n, 3] of canonical surface points of a solid: texture times ambient and Lambert light."""
    albedo = solid.texture(surface_coordinates(solid.shape, solid.extents, canonical))
    return albedo * _light(world, to_world(solid, pose, canonical), normals(solid, pose, canonical), occlusion=1.0)


def _light(world: World, points: Array, outward: Array, *, occlusion: Array | float) -> Array:
    """Light [n, 1] at points with unit normals: ambient, brighter from above, and the lamp."""
    towards = world.lamp - points
    distance = np.linalg.norm(towards, axis=1)
    facing = np.clip((towards * outward).sum(axis=1) / distance, 0.0, 1.0)
    ambient = world.ambient * (1.0 - 0.25 * outward[:, 1])
    return ((ambient + world.diffuse * facing / (1.0 + 0.03 * distance**2)) * occlusion)[:, None].astype(np.float32)


def _rows_near(solid: Solid, pose: Pose, rays: Rays) -> NDArray[np.int64]:
    """Indices of the rays that pass the solid's bounding sphere."""
    towards = pose.centre - rays.origin
    squared = float(towards @ towards) - (float(np.linalg.norm(solid.extents)) * pose.size) ** 2
    along = rays.directions @ towards
    return np.flatnonzero((along > 0) & (along * along >= squared)) if pose.size > 0 else np.empty(0, np.int64)


def _room_surface(room: Room, rays: Rays) -> tuple[Array, Array, Array, Array]:
    """Points, inward normals, albedo and distances where rays leave the room."""
    low, high = f32(room.low), f32(room.high)
    with np.errstate(divide="ignore", invalid="ignore"):
        exits = np.where(rays.directions > 0, high - rays.origin, low - rays.origin) / rays.directions
    exits = np.where(np.isfinite(exits), exits, np.inf)
    axis = exits.argmin(axis=1)
    rows = np.arange(len(axis))
    distances = exits[rows, axis]
    points = (rays.origin + rays.directions * distances[:, None]).astype(np.float32)
    upper = rays.directions[rows, axis] > 0
    inward = np.zeros_like(points)
    inward[rows, axis] = np.where(upper, -1.0, 1.0)
    albedo = np.empty_like(points)
    for face, texture in enumerate(room.faces):
        chosen = (axis == face // 2) & (upper == bool(face % 2))
        u, v = ((2, 1), (0, 2), (0, 1))[face // 2]
        albedo[chosen] = texture(points[chosen][:, [u, v]])
    return points, inward, albedo, distances.astype(np.float32)


def _corner_darkening(room: Room, points: Array) -> Array:
    """Less light [n] where walls meet: the product over the two nearest other walls."""
    gaps = np.minimum(points - f32(room.low), f32(room.high) - points)
    gaps = np.sort(np.abs(gaps), axis=1)[:, 1]  # the smallest is the wall the point lies on
    return (1.0 - 0.35 * np.exp(-gaps / 0.35)).astype(np.float32)


def _sharp_shadow(world: World, points: Array, indices: list[int]) -> Array:
    """1 where the lamp is seen from points [n, 3], less where a still solid is in between."""
    lit = np.ones(len(points), np.float32)
    for index in indices:
        solid = world.solids[index]
        pose = solid.pose(0.0)
        start = to_canonical(solid, pose, np.broadcast_to(world.lamp, points.shape))
        path = to_canonical(solid, pose, points) - start
        lit[hit_distances(solid.shape, start, path) < 0.995] = 0.62
    return lit
