"""Start points as the cameras show them: colours compared between cameras, and the share of each image in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from moegs_rasterizer import Camera
from PIL import Image
from torch import Tensor

from scenes.points.visibility import project

_DEPTH_CELLS = 80  # across an image: in each cell, points far behind its nearest one are taken as hidden
_BEHIND = 0.05  # of the nearest depth
_COLOUR_WIDTH = 320  # px that images are shrunk to: colours then do not depend on a pixel of misprojection
_DARK, _BRIGHT = 12, 245  # 8-bit values beyond which noise, or clipping, hides a gain
_ROUNDS = 6  # of median polish
_FEWEST_POINTS = 200  # of a camera
SHARED_CELLS = (16, 12)  # columns, rows
SHARED_WITH = 2  # other cameras

# Share of the value, in 8-bit values. It moves mid grey by 13 of 255, which alone bounds PSNR near 26 dB.
OTHER_COLOURS = 0.10
LITTLE_SHARED = 0.10  # share of the image
# Agreement. Cameras of two real and two synthetic rigs have 0.6 or more; turned by 15 degrees, 0.35 or less.
OTHER_SCENE = 0.4


@dataclass(frozen=True, slots=True, kw_only=True)
class Sightings:
    """Pixels at which cameras see points."""

    pixels: np.ndarray  # float64 [cameras, n, 2] x before y
    visible: np.ndarray  # bool [cameras, n]: inside the image and not behind other points


@dataclass(frozen=True, slots=True, kw_only=True)
class ColourMatch:
    """Colours of points in one camera, compared with those in the others."""

    gains: tuple[float, float, float]  # ln of red, green and blue values over the median camera's
    agreement: float  # correlation, over points, of ln of brightness with its median over cameras; wrong poses: near 0


def sightings(positions: Tensor, cameras: Sequence[Camera]) -> Sightings:
    """Project points [n, 3] and leave out those that others hide: coarse depth buffers of the points themselves."""
    pixels, visible = [], []
    for camera in cameras:
        places, depths, inside = project(positions, camera)
        pixels.append(places.numpy())
        visible.append(_unhidden(places, depths.numpy(), inside.numpy(), camera))
    return Sightings(pixels=np.stack(pixels), visible=np.stack(visible))


def colour_matches(seen: Sightings, images: Sequence[np.ndarray]) -> list[ColourMatch | None]:
    """Compare the colours of points between cameras, from one image [h, w, 3] of each.

    The gains come from a median polish of ln of the colours by points and cameras: half of the points may be wrong,
    hidden or shiny. The median camera has 0. None for cameras that share too few points with at least two others.
    """
    colours = np.stack(
        [shown_values(places, *shrunk_colours(image)) for places, image in zip(seen.pixels, images, strict=True)]
    )
    known = seen.visible & (colours.min(2) >= _DARK) & (colours.max(2) <= _BRIGHT)
    known &= known.sum(0) > SHARED_WITH
    enough = known.sum(1) >= _FEWEST_POINTS
    known &= enough[:, None]
    points = known.any(0)
    if not points.any():
        return [None] * len(images)
    logs = np.where(known[:, points, None], np.log(np.maximum(colours[:, points], 1)), np.nan)
    gains = np.zeros((len(images), 3))
    for _ in range(_ROUNDS):
        usual = np.nanmedian(logs - gains[:, None], axis=0)
        gains[enough] = np.nanmedian(logs[enough] - usual, axis=1)
        gains -= np.median(gains[enough], axis=0)
    usual = np.nanmedian(logs - gains[:, None], axis=0).mean(1)
    return [
        _match(colours.mean(1), usual, gain) if measured else None
        for colours, gain, measured in zip(logs, gains, enough, strict=True)
    ]


def shared_areas(seen: Sightings, cameras: Sequence[Camera]) -> list[float]:
    """Measure the share of each image, in SHARED_CELLS cells, with a point that at least two other cameras see."""
    sizes = np.array([[camera.width, camera.height] for camera in cameras])
    shared = seen.visible & (seen.visible.sum(0) > SHARED_WITH)
    shares = []
    for places, size, points in zip(seen.pixels, sizes, shared, strict=True):
        columns, rows = (places[points] / size * SHARED_CELLS).astype(int).T
        shares.append(len(np.unique(rows * SHARED_CELLS[0] + columns)) / (SHARED_CELLS[0] * SHARED_CELLS[1]))
    return shares


def _unhidden(places: Tensor, depths: np.ndarray, inside: np.ndarray, camera: Camera) -> np.ndarray:
    size = camera.width / _DEPTH_CELLS
    columns, rows = (places[torch.from_numpy(inside)] / size).long().numpy().T
    cells = rows * (_DEPTH_CELLS + 1) + columns
    nearest = np.full(int(cells.max(initial=0)) + 1, np.inf)
    np.minimum.at(nearest, cells, depths[inside])
    visible = inside.copy()
    visible[inside] = depths[inside] <= (1 + _BEHIND) * nearest[cells]
    return visible


def _match(brightness: np.ndarray, usual: np.ndarray, gain: np.ndarray) -> ColourMatch:
    """Match of a camera with ln of brightness [n], NaN at points that it does not show, to the usual one [n]."""
    shown = np.isfinite(brightness)
    own, others = brightness[shown] - brightness[shown].mean(), usual[shown] - usual[shown].mean()
    scale = float(np.sqrt(np.square(own).sum() * np.square(others).sum()))
    agreement = float((own * others).sum()) / scale if scale > 0 else 0.0
    return ColourMatch(gains=(float(gain[0]), float(gain[1]), float(gain[2])), agreement=agreement)


def shrunk_colours(image: np.ndarray) -> tuple[np.ndarray, int]:
    """Shrink an image by a whole number to about _COLOUR_WIDTH px; returns float32 [h', w', 3] and the number."""
    factor = max(1, round(image.shape[1] / _COLOUR_WIDTH))
    return np.asarray(Image.fromarray(image).reduce(factor), np.float32), factor


def shown_values(places: np.ndarray, small: np.ndarray, factor: int) -> np.ndarray:
    """Read values [n, 3] of an image of `shrunk_colours` at pixels [n, 2] of the whole; those outside mean nothing."""
    limits = np.array([small.shape[1], small.shape[0]]) - 1
    columns, rows = (np.clip(np.nan_to_num(places / factor), 0, limits)).astype(int).T
    return small[rows, columns]
