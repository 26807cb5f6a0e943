"""One image of a prepared scene: its cameras and points in space, from three viewpoints."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from moegs_rasterizer import Camera
from PIL import Image, ImageDraw

from scenes.points.visibility import project
from scenes.preparation.sheets.lettering import INK, MARGIN, TITLE, Labels, font, titled
from scenes.preparation.sheets.viewpoints import frusta, frustum_depth, rig_axes, viewpoint, without_strays

_WIDTH = 1600  # px
LARGE, SMALL = (_WIDTH - 2 * MARGIN, 800), ((_WIDTH - 3 * MARGIN) // 2, 620)  # panels, px
PAPER = (222, 226, 232)  # behind the points: neither black nor white ones vanish
LINE, NAME = (0, 70, 230), (0, 20, 110)
WIDE, PARALLEL = 50.0, 3.0  # horizontal fields of view, degrees
ASIDE, ABOVE = 25.0, 28.0  # how far the large panel's viewpoint is turned from the cameras' own, degrees
SMALLEST_FRUSTUM = 0.02  # of the size of what a panel shows
EDGES = ((0, 1), (0, 2), (0, 3), (0, 4), (1, 2), (2, 3), (3, 4), (4, 1))  # of a frustum's corners; 1-2 is its top


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One view of the scene."""

    caption: str
    size: tuple[int, int]  # px
    direction: np.ndarray  # [3]
    up: np.ndarray  # [3]
    angle: float  # degrees
    content: np.ndarray  # [m, 3] points that it has to show
    scale_bar: bool = False


def write_overview(
    cameras: Mapping[str, Camera], positions: np.ndarray, colours: np.ndarray, target: Path, *, title: str
) -> None:
    """Write the image of `draw_overview` as PNG."""
    draw_overview(cameras, positions, colours, title=title).save(target, format="PNG", optimize=True)


def draw_overview(
    cameras: Mapping[str, Camera], positions: np.ndarray, colours: np.ndarray, *, title: str
) -> Image.Image:
    """Draw cameras as frusta with names, and points in their colours: from behind, from above, closer or from the side.

    positions: [n, 3] world units; colours: uint8 [n, 3]; n may be 0. A frustum's red edge is its image's top. There
    is room for the cameras and most points; points far astray may lie outside the panels.
    """
    rig = list(cameras.values())
    panels = _panels(rig, positions)
    canvas = titled(title, _WIDTH, TITLE + LARGE[1] + SMALL[1] + 2 * MARGIN)
    places = [(MARGIN, TITLE), (MARGIN, TITLE + LARGE[1] + MARGIN), (SMALL[0] + 2 * MARGIN, TITLE + LARGE[1] + MARGIN)]
    for panel, place in zip(panels, places, strict=True):
        canvas.paste(_drawn(panel, cameras, positions, colours), place)
    return canvas


def _panels(rig: Sequence[Camera], positions: np.ndarray) -> tuple[Panel, Panel, Panel]:
    axes = rig_axes(rig)
    frustum = frusta(rig, frustum_depth(rig)).reshape(-1, 3)
    everything = np.concatenate([frustum, without_strays(positions)])
    ahead = axes.forward * math.cos(math.radians(ASIDE)) + axes.right * math.sin(math.radians(ASIDE))
    oblique = ahead * math.cos(math.radians(ABOVE)) - axes.up * math.sin(math.radians(ABOVE))

    def wide(caption: str, size: tuple[int, int], content: np.ndarray) -> Panel:
        return Panel(caption=caption, size=size, direction=oblique, up=axes.up, angle=WIDE, content=content)

    def flat(caption: str, direction: np.ndarray, up: np.ndarray) -> Panel:
        view = Panel(caption=caption, size=SMALL, direction=direction, up=up, angle=PARALLEL, content=everything)
        return replace(view, scale_bar=True)

    above = flat("from above", -axes.up, axes.forward)
    if axes.inward:
        return wide("from outside and above", LARGE, everything), above, flat("from the side", axes.forward, axes.up)
    behind = wide("from behind and above the cameras", LARGE, everything)
    return behind, above, wide("the cameras, closer", SMALL, frustum)


def _drawn(panel: Panel, cameras: Mapping[str, Camera], positions: np.ndarray, colours: np.ndarray) -> Image.Image:
    eye = viewpoint(panel.content, panel.direction, panel.up, size=panel.size, angle=panel.angle)
    image = Image.fromarray(points_image(eye, positions, colours))
    labels = Labels(image, 17, colour=NAME)
    draw = ImageDraw.Draw(image)
    draw.text((10, 8), panel.caption, fill=INK, font=font(20))
    labels.keep_clear((0, 0, 20 + draw.textlength(panel.caption, font=font(20)), 36))
    if panel.scale_bar:
        labels.keep_clear(_scale_bar(draw, eye, panel))
    extent = float(np.ptp(panel.content, axis=0).max())
    rig = list(cameras.values())
    corners = frusta(rig, max(frustum_depth(rig), SMALLEST_FRUSTUM * extent))
    pixels, depths, _ = project(torch.from_numpy(corners.reshape(-1, 3)), eye)
    pixels = pixels.reshape(-1, 5, 2)
    for index in depths.reshape(-1, 5)[:, 0].argsort(descending=True).tolist():
        _draw_frustum(draw, pixels[index].tolist())
    for name, place in zip(cameras, pixels[:, 0].tolist(), strict=True):
        labels.put(name, *place)
    return image


def points_image(eye: Camera, positions: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Draw points as discs of 1 to 3 px radius, fewer ones larger, the nearest last: uint8 [h, w, 3]."""
    image = np.full((eye.height, eye.width, 3), PAPER, np.uint8)
    pixels, depths, inside = project(torch.from_numpy(np.asarray(positions, np.float64)).reshape(-1, 3), eye)
    order = np.flatnonzero(inside.numpy())
    order = order[np.argsort(-depths.numpy()[order], kind="stable")]
    radius = 3 if len(order) < 3_000 else 2 if len(order) < 20_000 else 1
    across, down = np.mgrid[-radius : radius + 1, -radius : radius + 1].reshape(2, -1)
    disc = across**2 + down**2 <= radius * (radius + 1)
    x = (pixels[order, 0].long().numpy()[:, None] + across[disc]).ravel()  # a point's pixels in a row: later points win
    y = (pixels[order, 1].long().numpy()[:, None] + down[disc]).ravel()
    shown = (x >= 0) & (x < eye.width) & (y >= 0) & (y < eye.height)
    image[y[shown], x[shown]] = np.repeat(colours[order], int(disc.sum()), axis=0)[shown]
    return image


def _draw_frustum(draw: ImageDraw.ImageDraw, corners: list[list[float]]) -> None:
    top = [tuple(corners[1]), tuple(corners[2])]
    for colour, width in (((255, 255, 255), 4), (LINE, 2)):
        for a, b in EDGES:
            draw.line([tuple(corners[a]), tuple(corners[b])], fill=colour, width=width)
    draw.line(top, fill=(220, 40, 20), width=3)
    x, y = corners[0]
    draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=LINE, outline=(255, 255, 255))


def _scale_bar(draw: ImageDraw.ImageDraw, eye: Camera, panel: Panel) -> tuple[float, float, float, float]:
    """Draws a bar of a round length in world units at the depth of the content's middle; returns its box."""
    depth = float(project(torch.from_numpy(panel.content), eye)[1].mean())
    wanted = 0.2 * panel.size[0] * depth / eye.fx
    power = 10.0 ** math.floor(math.log10(wanted))
    length = max(step * power for step in (1, 2, 5) if step * power <= wanted)
    right, bottom = panel.size[0] - 16, panel.size[1] - 16
    left = right - length * eye.fx / depth
    draw.line([(left, bottom), (right, bottom)], fill=INK, width=4)
    draw.text(
        (right, bottom - 8), f"{length:g} world unit{'' if length == 1 else 's'}", fill=INK, font=font(17), anchor="rb"
    )
    return (left - 140, bottom - 34, right + 16, bottom + 16)
