"""A contact sheet: one small image of every camera, with its name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from PIL import Image, ImageDraw

from scenes.frames.image_files import decode_images, probe_images
from scenes.preparation.sheets.lettering import INK, MARGIN, TITLE, font, titled

_WIDTH = 1600  # px
LABEL = 26  # px, height of a name above its image
SHAPE = 0.7  # height over width that a sheet comes near to
_SMALLEST = 200  # px, width of an image
GROUND = (235, 235, 235)


def write_sheet(images: Mapping[str, Path], target: Path, *, title: str) -> None:
    """Write the sheet of `draw_sheet` as PNG."""
    draw_sheet(images, title=title).save(target, format="PNG")


def draw_sheet(images: Mapping[str, Path], *, title: str) -> Image.Image:
    """Draw images by camera name, row by row in the mapping's order, 1600 px wide; each keeps its shape.

    Cameras of different sizes are shown at one scale. SceneError where an image is unreadable.
    """
    sizes = {name: _size(path) for name, path in images.items()}
    widest, highest = max(width for width, _ in sizes.values()), max(height for _, height in sizes.values())
    columns = column_count(len(images), highest / widest)
    cell = (_WIDTH - MARGIN) // columns - MARGIN
    scale = cell / widest
    row = LABEL + round(scale * highest) + MARGIN
    canvas = titled(title, _WIDTH, TITLE + -(-len(images) // columns) * row + MARGIN)
    draw = ImageDraw.Draw(canvas)
    for index, (name, path) in enumerate(images.items()):
        left, top = MARGIN + index % columns * (cell + MARGIN), TITLE + index // columns * row
        label = name if len(set(sizes.values())) == 1 else f"{name}  {sizes[name][0]}x{sizes[name][1]}"
        draw.text((left, top + LABEL / 2), label, fill=INK, font=font(19), anchor="lm")
        draw.rectangle((left, top + LABEL, left + cell - 1, top + row - MARGIN - 1), fill=GROUND)
        size = (max(1, round(scale * sizes[name][0])), max(1, round(scale * sizes[name][1])))
        canvas.paste(_small(path, size), (left, top + LABEL))
    return canvas


def column_count(count: int, ratio: float) -> int:
    """Count columns for images of a height over width: the sheet's own comes near to SHAPE, few places stay empty."""

    def badness(columns: int) -> float:
        rows = -(-count // columns)
        shape = rows * (ratio + LABEL * columns / _WIDTH) / columns
        return abs(shape - SHAPE) + 1 - count / (rows * columns)

    return min(range(1, min(count, _WIDTH // (_SMALLEST + MARGIN)) + 1), key=badness)


def _size(path: Path) -> tuple[int, int]:
    images = probe_images({0: path})
    return images.width, images.height


def _small(path: Path, size: tuple[int, int]) -> Image.Image:
    (frame,) = decode_images(probe_images({0: path}), 0, 1)
    return Image.fromarray(frame).resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)
