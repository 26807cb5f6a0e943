"""Colours of maps: a scale whose brightness grows with the value, and one colour per expert."""

from __future__ import annotations

import colorsys
from functools import lru_cache

import numpy as np

# Okabe and Ito's colours (2008), which people with any colour vision tell apart, without yellow, which is not seen as a
# line on white; then two darker ones.
EXPERT_COLOURS = (
    (0, 114, 178),
    (230, 159, 0),
    (0, 158, 115),
    (204, 121, 167),
    (86, 180, 233),
    (213, 94, 0),
    (127, 127, 127),
    (91, 58, 140),
)
GOLDEN = 0.618034  # of a turn: hues this far apart never meet
START, ROTATIONS, SATURATION = 0.5, -1.5, 1.0  # of the scale


@lru_cache(maxsize=1)
def scale() -> np.ndarray:
    """Make the colours of values 0 to 255, uint8 [256, 3], from black to white.

    Cubehelix: D. A. Green, "A colour scheme for the display of astronomical intensity images", 2011, equation 3.
    """
    value = np.linspace(0, 1, 256)
    angle = 2 * np.pi * (START / 3 + ROTATIONS * value)
    amplitude = SATURATION * value * (1 - value) / 2
    cos, sin = np.cos(angle), np.sin(angle)
    turned = (-0.14861 * cos + 1.78277 * sin, -0.29227 * cos - 0.90649 * sin, 1.97294 * cos)
    colours = np.stack([value + amplitude * channel for channel in turned], axis=1)
    return (colours.clip(0, 1) * 255).round().astype(np.uint8)


@lru_cache(maxsize=8)
def expert_colours(count: int) -> np.ndarray:
    """Make different colours of experts, uint8 [count, 3]: EXPERT_COLOURS first, then further hues."""
    more = (colorsys.hls_to_rgb(number * GOLDEN % 1, 0.35, 0.9) for number in range(len(EXPERT_COLOURS), count))
    rows = [*EXPERT_COLOURS[:count], *(tuple(round(255 * channel) for channel in colour) for colour in more)]
    return np.array(rows, dtype=np.uint8).reshape(count, 3)
