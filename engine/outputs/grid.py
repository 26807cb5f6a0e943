"""All images of a frame side by side, each with its name."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from engine.outputs.frame_images import FrameImages
from engine.outputs.maps import (
    error_colours,
    error_legend,
    text_box,
    text_size,
    winner_colours,
    winner_legend,
    with_box,
)

WIDEST = 1920  # px of a grid; larger images are made smaller
ERROR, WINNER = "error of MoE-GS", "largest gate"
TWO_ROWS = 8  # images that two rows hold, three rows more


def grid_of(frame: FrameImages, experts: Sequence[str]) -> np.ndarray:
    """Draw recorded frame, mixture, experts, error and largest gate in a grid, uint8 [h, w, 3], black where empty.

    Images keep their size unless the grid would be wider than WIDEST. Novel views have no recorded frame and no error.
    """
    tiles = {"MoE-GS": frame.image, **dict(zip(experts, frame.experts, strict=True))}
    if frame.truth is not None:
        tiles = {"recorded": frame.truth, **tiles, ERROR: error_colours(frame.image, frame.truth)}
    tiles[WINNER] = winner_colours(frame, experts)
    rows = 2 if len(tiles) <= TWO_ROWS else 3
    columns = -(-len(tiles) // rows)
    height, width = frame.image.shape[:2]
    factor = min(1.0, WIDEST / (columns * width))
    size = max(1, int(width * factor)), max(1, int(height * factor))
    grid = np.zeros((rows * size[1], columns * size[0], 3), dtype=np.uint8)
    legends = {ERROR: error_legend(size[1]), WINNER: winner_legend(experts, size[1])}
    for index, (name, image) in enumerate(tiles.items()):
        top, left = index // columns * size[1], index % columns * size[0]
        tile = with_box(_shrunk(image, size), text_box(name, text_size(size[1])))
        tile = with_box(tile, legends[name], bottom=True) if name in legends else tile
        grid[top : top + size[1], left : left + size[0]] = tile
    return grid


def _shrunk(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if (image.shape[1], image.shape[0]) == size:
        return image
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX))
