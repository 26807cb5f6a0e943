"""The frames that a camera films of the world, supersampled."""

from __future__ import annotations

import numpy as np
from moegs_rasterizer import Camera
from numpy.typing import NDArray

from demo.playroom.arrays import Array
from demo.playroom.rig import pixel_rays
from demo.playroom.tracer import soft_shadow, trace_moving, trace_still
from demo.playroom.world import World


def film_camera(world: World, camera: Camera, *, num_frames: int, supersampling: int = 2) -> NDArray[np.uint8]:
    """All frames of one camera, RGB [num_frames, h, w, 3]; solids that do not move are traced once."""
    rays = pixel_rays(camera, supersampling=supersampling)
    still = trace_still(world, rays)
    points = rays.origin + rays.directions * still.distances[:, None]
    sampled = _as_image(points, camera, supersampling)[:, 0, :, 0].reshape(-1, 3)
    frames = []
    for frame in range(num_frames):
        time = frame / num_frames
        # Soft shadows vary slowly: one value a pixel.
        dim = soft_shadow(world, sampled, time=time).reshape(camera.height, camera.width)
        shadow = dim.repeat(supersampling, axis=0).repeat(supersampling, axis=1).ravel()
        hits = trace_moving(world, rays, still, time=time, shadow=shadow)
        image = _as_image(hits.colours, camera, supersampling).mean(axis=(1, 3))
        frames.append((np.clip(image, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8))
    return np.stack(frames)


def _as_image(values: Array, camera: Camera, supersampling: int) -> Array:
    """[h, s, w, s, 3] view of the values of a supersampled grid of rays."""
    return values.reshape(camera.height, supersampling, camera.width, supersampling, 3)
