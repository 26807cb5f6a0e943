"""Constants of SSIM, and its Gaussian window over many maps at once: 11x11, sigma 1.5, zero padding."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from common.maths.tensors import constant

C1, C2 = 0.01**2, 0.03**2  # (0.01 L)^2 and (0.03 L)^2 of Wang et al. 2004, where values go from 0 to L = 1
RADIUS, SIGMA = 5, 1.5  # of the window, px
_HALF = [math.exp(-(offset**2) / (2 * SIGMA**2)) for offset in range(RADIUS + 1)]
_WINDOW = [weight / (_HALF[0] + 2 * sum(_HALF[1:])) for weight in _HALF]  # from the centre outwards

_BLOCK = 32  # rows or columns that a matrix product filters at a time,
_MARGIN = 8  # from as many on both sides; RADIUS, rounded up to what GPUs read at once
_READ = _BLOCK + 2 * _MARGIN
_BAND = tuple(
    _WINDOW[abs(source - _MARGIN - target)] if abs(source - _MARGIN - target) <= RADIUS else 0.0
    for source in range(_READ)
    for target in range(_BLOCK)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Canvas:
    """Maps to be filled and then blurred together."""

    maps: Tensor  # [count, n, h, w]
    flat: Tensor | None  # what `maps` lies in on a GPU, zeros around it


def canvas(count: int, images: Tensor) -> Canvas:
    """Room for maps of the size and type of images [n, h, w], on their device."""
    if images.device.type == "cpu":
        return Canvas(maps=images.new_empty(count, *images.shape), flat=None)
    return padded_canvas(count, images)


def blurred(filled: Canvas) -> Tensor:
    """The maps, filtered: [count, n, h or more, w or more]. What lies beyond h and w is finite and means nothing."""
    if filled.flat is not None:
        return _blurred_by_products(filled.maps, filled.flat)
    filtered = torch.empty_like(filled.maps)
    for source, target in zip(filled.maps, filtered, strict=True):
        _shifted(_shifted(source, -1), -2, out=target)
    return filtered


def _shifted(image: Tensor, dim: int, *, out: Tensor | None = None) -> Tensor:
    """The window along a dimension as sums of shifted images: on a CPU faster than convolutions and products."""
    length = image.shape[dim]
    blurred = torch.mul(image, _WINDOW[0], out=out)
    for offset in range(1, min(RADIUS, length - 1) + 1):
        weight = _WINDOW[offset]
        near, far = image.narrow(dim, 0, length - offset), image.narrow(dim, offset, length - offset)
        blurred.narrow(dim, 0, length - offset).add_(far, alpha=weight)
        blurred.narrow(dim, offset, length - offset).add_(near, alpha=weight)
    return blurred


def padded_canvas(count: int, images: Tensor) -> Canvas:
    """A canvas for `_blurred_by_products`: maps below each other, zeros right of every row and below every map.

    Sides are whole blocks, with RADIUS zeros or more, which serve what follows them as well: one gap lies between two.
    """
    n, height, width = images.shape
    rows, columns = (-(-(length + RADIUS) // _BLOCK) * _BLOCK for length in (height, width))
    lead = _MARGIN * columns
    flat = images.new_zeros(2 * lead + count * n * rows * columns)
    maps = flat[lead:-lead].view(count, n, rows, columns)
    return Canvas(maps=maps[..., :height, :width], flat=flat)


def _blurred_by_products(maps: Tensor, flat: Tensor) -> Tensor:
    """The window as products with a band matrix, of blocks of columns and then of rows; most factors are zeros."""
    count, n, rows, columns = *maps.shape[:2], maps.stride(1) // maps.stride(2), maps.stride(2)
    lines, lead = count * n * rows, _MARGIN * columns
    band = constant(_BAND, flat.dtype, flat.device).view(_READ, _BLOCK)
    across = torch.empty_like(flat)
    across[:lead], across[-lead:] = 0, 0
    blocks = columns // _BLOCK
    torch.bmm(
        flat[lead - _MARGIN :].as_strided((blocks, lines, _READ), (_BLOCK, columns, 1)),
        band.expand(blocks, -1, -1),
        out=across[lead:].as_strided((blocks, lines, _BLOCK), (_BLOCK, columns, 1)),
    )
    blocks = lines // _BLOCK
    down = across.as_strided((blocks, _READ, columns), (_BLOCK * columns, columns, 1))
    return torch.bmm(band.t().expand(blocks, -1, -1), down).view(count, n, rows, columns)
