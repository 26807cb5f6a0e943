"""Random points where a rig's cameras look: the start of a training that has no reconstruction."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from moegs_rasterizer import Camera
from torch import Tensor

from common.disk.arrays import read_array
from common.text.wording import counted
from scenes.calibration.poses_bounds import POSES
from scenes.points.cloud import PointCloud
from scenes.points.visibility import shown_colours, views_of
from scenes.types import Scene, SceneError

SEEN_BY = 2  # training cameras at least; asking a third of a dome's leaves its floor and walls without points
BALL = 1.25  # radius of the volume inside an inward-looking rig, in distances of its cameras from what they look at
NEAREST, FARTHEST = 0.5, 50.0  # depths before a forward-facing rig, in its radii
DRAWS = 200  # rounds in which the points must be found, and a twentieth of them in which the first must be
_AXES_APART = 1e-3  # least mean squared sine between optical axes for which the point that they look at is known

Draw = Callable[[int], Tensor]


def random_points(scene: Scene, *, frame: int, count: int, seed: int) -> PointCloud:
    """Draw `count` points that at least two training cameras see, in the mean of the colours they show at a frame.

    Cameras around a place: uniform in a ball about the point nearest to all optical axes. Others: on rays of random
    pixels, uniform in 1/depth, between the near and far of `poses_bounds.npy` where it has them. SceneError where the
    cameras see nothing in common, or stand in one place and no bounds are known. The same seed gives the same points.
    """
    positions, volume = random_positions(scene, count=count, seed=seed)
    needed = min(len(scene.train), SEEN_BY)
    return PointCloud(
        positions=positions,
        colours=shown_colours(positions, scene, frame),
        frames=None,
        note=f"{counted(count, 'random point')} {volume}, each seen by {needed} or more training cameras",
    )


def random_positions(scene: Scene, *, count: int, seed: int) -> tuple[Tensor, str]:
    """Draw the positions [count, 3] of `random_points`, and describe the volume that they lie in."""
    cameras = [scene.views[index].camera for index in scene.train]
    rng = np.random.default_rng(seed)
    bounds = stored_bounds(scene)
    around = inward_ball(cameras, scene.rig_radius)
    if around is not None:
        near, far = bounds or (0.0, math.inf)
        draw, volume = _in_ball(*around, rng), f"in a ball of radius {around[1]:.3g} scene units"
    else:
        near, far = bounds or _guessed_bounds(scene)
        draw, volume = _in_frusta(cameras, near, far, rng), f"at depths of {near:.3g} to {far:.3g} scene units"
    needed = min(len(cameras), SEEN_BY)
    positions = _accepted(draw, count, lambda points: views_of(points, cameras, near=near, far=far) >= needed)
    if positions is None:
        raise SceneError(
            f"{scene.root}: no two training cameras see the same place {volume}, so random start points cannot be "
            "drawn; give a file of start points"
        )
    return positions, volume


def stored_bounds(scene: Scene) -> tuple[float, float] | None:
    """Read near and far, world units, of the median camera in `poses_bounds.npy`; None where the scene has none."""
    path = scene.root / POSES
    try:
        near, far = np.median(read_array(path)[:, -2:].astype(np.float64), axis=0).tolist()
    except Exception:  # the reader of the scene's cameras has told what is wrong with it
        return None
    return (near, far) if 0 < near < far < math.inf else None


def inward_ball(cameras: Sequence[Camera], rig_radius: float) -> tuple[Tensor, float] | None:
    """Find centre [3] and radius of what cameras look at that stand around it; None for a forward-facing rig.

    The centre has the least squared distance to the optical axes. A rig looks inward where that point lies within the
    rig's radius of the cameras' mean, and before nine of ten cameras.
    """
    centres = torch.stack([camera.centre.double() for camera in cameras])
    axes = torch.stack([camera.world_to_camera[2, :3].double() for camera in cameras])
    across = torch.eye(3, dtype=torch.float64) - axes[:, :, None] * axes[:, None]  # projections along each axis
    if torch.linalg.eigvalsh(across.mean(0))[0] < _AXES_APART:
        return None
    looked_at = torch.linalg.solve(across.sum(0), (across @ centres[:, :, None]).sum(0))[:, 0]
    before = ((looked_at - centres) * axes).sum(1) > 0
    if (looked_at - centres.mean(0)).norm() > rig_radius or before.double().mean() < 0.9:
        return None
    return looked_at, BALL * float((centres - looked_at).norm(dim=1).median())


def _guessed_bounds(scene: Scene) -> tuple[float, float]:
    if scene.rig_radius <= 0:
        raise SceneError(
            f"{scene.root}: the training cameras stand in one place and there is no poses_bounds.npy with bounds, so "
            "the depth of the scene cannot be guessed; give a file of start points"
        )
    return NEAREST * scene.rig_radius, FARTHEST * scene.rig_radius


def _in_ball(centre: Tensor, radius: float, rng: np.random.Generator) -> Draw:
    def draw(count: int) -> Tensor:
        directions = rng.standard_normal((count, 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        return centre + radius * torch.from_numpy(directions * np.cbrt(rng.random((count, 1))))

    return draw


def _in_frusta(cameras: Sequence[Camera], near: float, far: float, rng: np.random.Generator) -> Draw:
    to_world = torch.stack([torch.linalg.inv(camera.world_to_camera.double()) for camera in cameras])
    lenses = np.array([[c.width, c.height, c.cx, c.cy, c.fx, c.fy] for c in cameras])

    def draw(count: int) -> Tensor:
        chosen = rng.integers(len(cameras), size=count)
        size, centre, focal = np.split(lenses[chosen], 3, axis=1)
        depths = 1 / rng.uniform(1 / far, 1 / near, (count, 1))
        local = np.concatenate([(rng.random((count, 2)) * size - centre) / focal, np.ones((count, 1))], axis=1) * depths
        matrices = to_world[chosen]
        return (matrices[:, :3, :3] @ torch.from_numpy(local)[:, :, None])[:, :, 0] + matrices[:, :3, 3]

    return draw


def _accepted(draw: Draw, count: int, accept: Callable[[Tensor], Tensor]) -> Tensor | None:
    """The first `count` accepted draws, float32 [count, 3]; None where so many are not found."""
    accepted, number = [], 0
    for _ in range(DRAWS):
        points = draw(count).float()
        accepted.append(points[accept(points)])
        number += len(accepted[-1])
        if number >= count:
            return torch.cat(accepted)[:count]
        if number == 0 and len(accepted) >= DRAWS // 20:
            return None
    return None
