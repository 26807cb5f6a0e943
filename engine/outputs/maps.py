"""Maps of a frame: the mixture's error, the expert with the largest gate, depth; each with its legend."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from engine.outputs.colours import expert_colours, scale
from engine.outputs.frame_images import FrameImages

MOST_ERROR = 0.25  # of channels in [0, 1]: the end of the error's scale
SMALLEST_TEXT, LARGEST_TEXT = 9, 24  # px
TEXT_SHARE = 24  # an image's height over that of its text
BACKGROUND, INK = (24, 24, 24), (255, 255, 255)
BAR = 6  # widths of a bar of colours in heights of the text


def error_map(frame: FrameImages) -> np.ndarray:
    """Draw the error's colours with their legend."""
    assert frame.truth is not None, "novel views have no error"
    return with_box(error_colours(frame.image, frame.truth), error_legend(len(frame.image)), bottom=True)


def error_colours(image: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Colour |image - recorded frame|, both uint8 [h, w, 3], mean over channels, on the scale from 0 to MOST_ERROR."""
    red, green, blue = np.moveaxis(np.abs(image.astype(np.int16) - truth), 2, 0)
    return _colours_of_sums()[red + green + blue]


@lru_cache(maxsize=1)
def _colours_of_sums() -> np.ndarray:
    """Colours of the three channels' errors in 8 bits, by their sum."""
    return scale()[np.minimum(np.rint(np.arange(3 * 255 + 1) / (3 * MOST_ERROR)), 255).astype(np.uint8)]


def error_legend(height: int) -> np.ndarray:
    """Draw the error's scale for an image of some height."""
    return _scale_legend("0", f"{MOST_ERROR:g} or more", text_size(height))


def winner_map(frame: FrameImages, experts: Sequence[str]) -> np.ndarray:
    """Draw the colours of the largest gate with their legend."""
    return with_box(winner_colours(frame, experts), winner_legend(experts, len(frame.image)), bottom=True)


def winner_colours(frame: FrameImages, experts: Sequence[str]) -> np.ndarray:
    """Colour each pixel by the expert with the largest gate."""
    assert frame.winner is not None, "the frame was made without it"
    return expert_colours(len(experts))[frame.winner]


def winner_legend(experts: Sequence[str], height: int) -> np.ndarray:
    """Draw the experts' colours and names for an image of some height; in columns where one takes more than half."""
    size = text_size(height)
    lines = max(1, height // 2 // len(text_box("", size)))
    return _names_legend(tuple(experts), size, lines)


def depth_map(frame: FrameImages) -> np.ndarray:
    """Draw the mixture's depth: near is white, far and empty are black; the legend has the range in world units."""
    assert frame.depth is not None and frame.depth_range is not None, "the mixture was rendered without depths"
    near, far = frame.depth_range
    legend = _scale_legend(f"{far:.3g}", f"{near:.3g}", text_size(len(frame.depth)))
    return with_box(scale()[frame.depth], legend, bottom=True)


def text_size(height: int) -> int:
    """Choose the height of text, in px, for an image's height."""
    return min(max(height // TEXT_SHARE, SMALLEST_TEXT), LARGEST_TEXT)


def with_box(image: np.ndarray, box: np.ndarray, *, bottom: bool = False) -> np.ndarray:
    """Copy an image, uint8 [h, w, 3], with a box in its upper or lower left corner, cut off where it is larger."""
    drawn = image.copy()
    height, width = min(len(box), len(image)), min(box.shape[1], image.shape[1])
    start = len(image) - height if bottom else 0
    drawn[start : start + height, :width] = box[:height, :width]
    return drawn


@lru_cache(maxsize=64)
def text_box(text: str, size: int) -> np.ndarray:
    """Draw a line of text in a box, uint8 [h, w, 3]; `size` px high letters."""
    font = ImageFont.load_default(size)
    left, _, right, _ = font.getbbox(text)
    pad = size // 3
    box = Image.new("RGB", (round(right - left) + 2 * pad, size + 2 * pad), BACKGROUND)
    ImageDraw.Draw(box).text((pad - left, pad + size / 2), text, fill=INK, font=font, anchor="lm")
    return np.asarray(box)


@lru_cache(maxsize=8)
def _scale_legend(low: str, high: str, size: int) -> np.ndarray:
    """The scale between the texts of its ends."""
    left, right = text_box(low, size), text_box(high, size)
    bar = np.full((len(left), BAR * size, 3), BACKGROUND, dtype=np.uint8)
    pad = size // 3
    bar[pad:-pad] = scale()[np.linspace(0, 255, BAR * size).round().astype(np.uint8)]
    return np.concatenate([left, bar, right], axis=1)


@lru_cache(maxsize=8)
def _names_legend(names: tuple[str, ...], size: int, lines: int) -> np.ndarray:
    """A square of its colour, then the name, for each; so many lines in a column."""
    texts = [text_box(name, size) for name in names]
    pad, width = size // 3, max(text.shape[1] for text in texts)
    entries = []
    for text, colour in zip(texts, expert_colours(len(names)), strict=True):
        line = np.full((len(text), width + size + pad, 3), BACKGROUND, dtype=np.uint8)
        line[pad : pad + size, pad : pad + size] = colour
        line[:, size + pad : size + pad + text.shape[1]] = text
        entries.append(line)
    entries += [np.full_like(entries[0], BACKGROUND)] * (-len(entries) % lines if len(entries) > lines else 0)
    return np.concatenate([np.concatenate(entries[at : at + lines]) for at in range(0, len(entries), lines)], axis=1)
