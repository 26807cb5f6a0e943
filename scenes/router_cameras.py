"""Training cameras that no expert is trained on: the router learns at them how experts err at views new to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from moegs_rasterizer import Camera

from common.deferred import deferred
from scenes.types import Scene, SceneError

if TYPE_CHECKING:
    import torch
else:
    torch = deferred("torch")

SMALLEST_PART = 3  # one in so many training cameras at most: experts need the others
_DIGITS = 6  # of distances, as shares of the rig's size, that count: rounding must not decide on any machine


def with_router_cameras(scene: Scene, count: int) -> Scene:
    """The scene with `count` of its training cameras left to the router; the experts' are the others.

    They depend on the training cameras' places alone, so every command of a scene chooses the same. The rig's radius
    stays. SceneError where more than a third would be left.
    """
    most = len(scene.train) // SMALLEST_PART
    if count > most:
        raise SceneError(
            f"{scene.root}: --router_cameras is {count}, and the scene has {len(scene.train)} training cameras: at "
            f"most a third may be left to the router; give {most} or less"
        )
    chosen = spread_cameras([scene.views[view].camera for view in scene.train], count)
    left = tuple(scene.train[index] for index in chosen)
    return replace(scene, train=tuple(view for view in scene.train if view not in left), router=left)


def spread_cameras(cameras: Sequence[Camera], count: int) -> list[int]:
    """Choose `count` cameras that stand for all: first the one nearest to the mean centre.

    Each next one lowers the mean distance of all cameras to the nearest chosen one the most (the greedy k-median). So a
    smaller count gives the first of a larger one, and cameras at the rig's rim, which no others could replace, come
    late; of two that are as good, the one nearer to the mean centre.
    """
    centres = torch.stack([camera.camera_to_world[:3, 3].double().cpu() for camera in cameras])
    from_mean = (centres - centres.mean(dim=0)).norm(dim=1)
    size = float(from_mean.max()) or 1.0
    from_mean = (from_mean / size * 10**_DIGITS).round()
    distances = torch.cdist(centres, centres) / size
    chosen: list[int] = []
    nearest = torch.full((len(cameras),), torch.inf, dtype=torch.float64)
    for _ in range(count):
        costs = (torch.minimum(distances, nearest).mean(dim=1) * 10**_DIGITS).round() if chosen else 0
        costs = costs + from_mean / (2 * 10**_DIGITS)
        costs[chosen] = torch.inf
        chosen.append(int(costs.argmin()))
        nearest = torch.minimum(nearest, distances[chosen[-1]])
    return chosen
