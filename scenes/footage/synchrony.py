"""Offsets of cameras in time, from the motion that they see at the same places of the scene.

Many points are drawn where the cameras look. At a point that something passes, the brightness changes in every camera
that sees the point, at the same moment. So each camera's changes of brightness at all points are correlated with the
mean of the other cameras' at these points, at every offset: the correlation has one sharp peak. Points that show a
surface, an occluder or nothing add noise, which cancels. Motion of the whole image, summed, has a broad peak instead:
it misses the offset of more than half of the cameras of a real dome.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from moegs_rasterizer import Camera
from PIL import Image
from torch import Tensor

from scenes.points.visibility import project

WIDTH = 160  # px that images are shrunk to
WINDOW = 64  # frames that are compared
FEWEST_FRAMES = 20
LARGEST = 15  # frames: offsets that are looked for
CANDIDATES = 100_000  # points drawn
POINTS = 8_000  # of them, those with most motion
_BESIDE = 2  # frames: offsets so near to the peak are part of it
_ENOUGH_CAMERAS = 6  # more of them do not make a point better

# Peak over the other offsets' mean, in their standard deviations. Of measurements of 28 real cameras, 98 % have more,
# and so have all of 17 synthetic ones. Of real cameras whose time runs backwards, which have no right offset, 4 % do.
SURE = 5.5
# Moments on which a peak rests. False peaks of real cameras in clips of 30 to 40 frames rest on 2.8 to 3.8: a thing
# that flashes by twice. Right ones of WINDOW frames rest on 9.9 or more.
FEWEST_MOMENTS = 5.0
# Frames. Real and synthetic cameras in step that are sure lie within 0.4.
OUT_OF_STEP = 0.75
# Of the peak, which the correlation without an offset must stay below: slow motion has broad peaks. Of a clip of fewer
# frames than WINDOW less by the root of their share, as chance moves the top of a broad peak further.
_CLEARLY = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Offset:
    """A camera's offset from the other cameras."""

    frames: float  # positive: behind, its frame N shows the moment of their frame N - frames
    correlation: float  # there
    at_zero: float  # correlation without an offset
    peak: float  # height of the correlation over other offsets, in their standard deviations
    moments: float  # on which the correlation rests: few, where a thing that flashes by has most of it
    length: int  # frames compared

    @property
    def is_sure(self) -> bool:
        return self.peak >= SURE and self.moments >= FEWEST_MOMENTS

    @property
    def is_out_of_step(self) -> bool:
        clearly = _CLEARLY * min(1.0, self.length / WINDOW) ** 0.5
        return self.is_sure and abs(self.frames) >= OUT_OF_STEP and self.at_zero < clearly * self.correlation


def shrunk(image: np.ndarray) -> np.ndarray:
    """Shrink uint8 [h, w, 3] by a whole number to about WIDTH px; returns its green, which is quick, uint8 [h', w']."""
    green = np.ascontiguousarray(image[..., 1])
    return np.asarray(Image.fromarray(green).reduce(max(1, round(image.shape[1] / WIDTH))))


def offsets(clips: Sequence[np.ndarray], cameras: Sequence[Camera], positions: Tensor) -> list[Offset | None]:
    """Measure the offset of each camera from the others, from clips [frames, h, w] of the same frame numbers.

    positions [n, 3]: points drawn where the cameras look, of which the POINTS with most motion are used. The most
    certain of the cameras out of step is left out of the others' mean, and all are measured again, until none is left
    or half of the cameras are out. None where a camera sees no motion, and for fewer than FEWEST_FRAMES frames.
    """
    if len(clips) < 2 or len(clips[0]) < FEWEST_FRAMES:
        return [None] * len(clips)
    changes, seen = _changes(clips, cameras, positions)
    members = np.ones(len(clips), bool)  # of the mean
    while True:
        measured = [_offset(changes, seen, members, view) for view in range(len(clips))]
        strays = {
            view: offset.peak
            for view, offset in enumerate(measured)
            if offset and offset.is_out_of_step
            if members[view]
        }
        if not strays or members.sum() - 1 <= len(clips) / 2:
            return measured
        members[max(strays, key=lambda view: strays[view])] = False


def correlations(first: np.ndarray, second: np.ndarray, largest: int) -> np.ndarray:
    """Correlate changes [n, t] of the same n points, summed over them, at offsets of second -largest ... largest."""
    count = first.shape[1]
    products = first.T @ second
    energy, other = np.square(first).sum(0), np.square(second).sum(0)
    values = []
    for offset in range(-largest, largest + 1):
        here, there = slice(max(0, -offset), count - max(0, offset)), slice(max(0, offset), count - max(0, -offset))
        scale = float(energy[here].sum() * other[there].sum())
        values.append(float(np.trace(products, offset)) / scale**0.5 if scale > 0 else 0.0)
    return np.array(values)


def _changes(
    clips: Sequence[np.ndarray], cameras: Sequence[Camera], positions: Tensor
) -> tuple[np.ndarray, np.ndarray]:
    """Changes of brightness [cameras, points, frames - 1] at the points with most motion, and who sees them."""
    pixels, seen = _pixels(clips, cameras, positions)
    motion = np.full(seen.shape, np.nan, np.float32)
    steps = [np.diff(clip.astype(np.int16), axis=0) for clip in clips]
    for view, step in enumerate(steps):
        activity = np.abs(step).mean(0)
        activity /= max(float(np.sqrt(np.square(activity).mean())), 1e-9)
        motion[view, seen[view]] = activity.ravel()[pixels[view, seen[view]]]
    views = seen.sum(0)
    score = np.zeros(len(views))
    several = views >= 2
    score[several] = np.nanmedian(motion[:, several], axis=0) * np.sqrt(np.minimum(views[several], _ENOUGH_CAMERAS))
    chosen = np.argsort(-score, kind="stable")[:POINTS]
    chosen = chosen[score[chosen] > 0]
    seen = seen[:, chosen]
    changes = np.zeros((len(clips), len(chosen), len(steps[0])), np.float32)
    for view, step in enumerate(steps):
        rows = seen[view]
        values = step.reshape(len(step), -1)[:, pixels[view, chosen[rows]]].T.astype(np.float32)
        scale = float(np.sqrt(np.square(values).mean())) if values.size else 0.0
        changes[view, rows] = (values - values.mean(1, keepdims=True)) / max(scale, 1e-9)
    return changes, seen


def _pixels(clips: Sequence[np.ndarray], cameras: Sequence[Camera], positions: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Index [cameras, n] of each point's pixel in the shrunk images, and who sees it."""
    indices, seen = [], []
    for clip, camera in zip(clips, cameras, strict=True):
        height, width = clip.shape[1:]
        places, _, inside = project(positions, camera)
        factor = max(1, round(camera.width / WIDTH))
        columns, rows = np.clip(np.nan_to_num(places.numpy() / factor), 0, [width - 1, height - 1]).astype(int).T
        indices.append(rows * width + columns)
        seen.append(inside.numpy())
    return np.stack(indices), np.stack(seen)


def _offset(changes: np.ndarray, seen: np.ndarray, members: np.ndarray, view: int) -> Offset | None:
    """Offset of a camera from the mean of those members that see the same points."""
    others = members.copy()
    others[view] = False
    rows = seen[view] & seen[others].any(0)
    if not others.any() or not rows.any():
        return None
    mean = changes[others][:, rows].sum(0) / seen[others][:, rows].sum(0)[:, None]
    largest = min(LARGEST, changes.shape[2] // 3)
    values = correlations(mean, changes[view, rows], largest)
    top = int(values.argmax())
    away = values[np.abs(np.arange(len(values)) - top) > _BESIDE]
    if float(away.std()) == 0:
        return None
    return Offset(
        frames=top - largest + _between(values, top),
        correlation=float(values[top]),
        at_zero=float(values[largest]),
        peak=float((values[top] - away.mean()) / away.std()),
        moments=_moments(mean, changes[view, rows], top - largest),
        length=changes.shape[2] + 1,
    )


def _moments(first: np.ndarray, second: np.ndarray, offset: int) -> float:
    """Number of moments on which the correlation of changes [n, t] at an offset rests: all alike, it is that of all."""
    shares = np.diagonal(first.T @ second, offset)
    energy = float(np.square(shares).sum())
    return float(shares.sum()) ** 2 / energy if energy > 0 else 0.0


def _between(values: np.ndarray, top: int) -> float:
    """Position between -0.5 and 0.5 of the top of the parabola through a peak and its neighbours."""
    if not 0 < top < len(values) - 1:
        return 0.0
    before, peak, after = values[top - 1 : top + 2]
    curvature = before - 2 * peak + after
    return float(0.5 * (before - after) / curvature) if curvature < 0 else 0.0
