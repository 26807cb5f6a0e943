"""Front-to-back blending of 2D Gaussians in batches of tiles."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ..types import MEDIAN_DEPTH_OF_EMPTY_PIXELS, RasterSettings
from .tiles import LEAST_ALPHA, TILE, TileLists

LARGEST_ALPHA = 0.99
LEAST_TRANSMITTANCE = 1e-4
PAIRS_PER_BATCH = 2**20  # Gaussian-pixel pairs looked at together: bounds the memory (about 50 bytes a pair)


@dataclass(frozen=True, slots=True, kw_only=True)
class Splats:
    """2D Gaussians [m] as blending takes them."""

    geometry: Tensor  # [m, 6]: mean x, y; conic xx, xy, yy; opacity
    values: Tensor  # [m, channels]
    depths: Tensor  # [m]


@dataclass(frozen=True, slots=True, kw_only=True)
class Blended:
    """Every pixel of every tile: tiles row-major, then 256 pixels row-major."""

    values: Tensor  # [tiles * 256, channels], without background
    transmittance: Tensor  # [tiles * 256], what is left of 1
    depth: Tensor  # [tiles * 256]


@dataclass(frozen=True, slots=True, kw_only=True)
class TileBatch:
    """Some tiles, their lists padded to the longest, and the pixels of each tile to blend."""

    tiles: Tensor  # [t]
    pixels: Tensor  # [p], 0 ... 255
    ids: Tensor  # [t, l]
    listed: Tensor  # [t, l], False for padding
    columns: int  # tiles in a row of the image

    @property
    def rows(self) -> Tensor:  # [t * p], rows of Blended
        return (self.tiles.unsqueeze(1) * TILE * TILE + self.pixels).flatten()

    @property
    def centres(self) -> Tensor:  # [t, p, 2]
        x = (self.tiles % self.columns * TILE).unsqueeze(1) + self.pixels % TILE
        y = (self.tiles // self.columns * TILE).unsqueeze(1) + self.pixels // TILE
        return torch.stack([x, y], dim=2)


def blend(splats: Splats, lists: TileLists, settings: RasterSettings) -> Blended:
    """Blend all tiles front to back, without background (3DGS's rule, its thresholds and its stop).

    Of several batches each is recomputed in the backward pass where gradients are recorded, so memory stays that of
    one batch.
    """
    batches: Iterable[TileBatch] = _sliced_batches(lists)
    recomputed = False  # one batch is not: it would save no memory, and PyTorch takes seconds to import what it needs
    if torch.is_grad_enabled() and (splats.geometry.requires_grad or splats.values.requires_grad):
        batches = list(batches)
        recomputed = len(batches) > 1
    rows, parts = [], []
    for batch in batches:
        if recomputed:
            part = checkpoint(_blend_batch, splats, batch, settings, use_reentrant=False, preserve_rng_state=False)
        else:
            part = _blend_batch(splats, batch, settings)
        rows.append(batch.rows)
        parts.append(part)
    order = torch.argsort(torch.cat(rows))
    values, transmittance, depth = (torch.cat(column)[order] for column in zip(*parts, strict=True))
    return Blended(values=values, transmittance=transmittance, depth=depth)


def tile_batches(lists: TileLists, *, pairs: int) -> Iterator[TileBatch]:
    """Whole tiles of like list length, with at most so many Gaussian-pixel pairs; a longer list is a batch alone."""
    order = torch.argsort(lists.counts, descending=True, stable=True)
    lengths = lists.counts[order].tolist()
    pixels = torch.arange(TILE * TILE, device=order.device)
    start = 0
    while start < len(lengths):
        longest = lengths[start]
        tiles = order[start : start + max(1, pairs // (max(1, longest) * TILE * TILE))]
        start += len(tiles)
        position = torch.arange(longest, device=order.device)
        listed = position < lists.counts[tiles].unsqueeze(1)
        ids = lists.ids[torch.where(listed, lists.starts[tiles].unsqueeze(1) + position, 0)]
        yield TileBatch(tiles=tiles, pixels=pixels, ids=ids, listed=listed, columns=lists.columns)


def _sliced_batches(lists: TileLists) -> Iterator[TileBatch]:
    """`tile_batches` of PAIRS_PER_BATCH; a list too long for it comes in slices of its tile's pixels."""
    for batch in tile_batches(lists, pairs=PAIRS_PER_BATCH):
        pixels_at_once = PAIRS_PER_BATCH // max(1, batch.ids.shape[1])
        if pixels_at_once >= TILE * TILE:
            yield batch
            continue
        for pixels in batch.pixels.split(max(1, pixels_at_once)):
            yield replace(batch, pixels=pixels)


def _blend_batch(splats: Splats, batch: TileBatch, settings: RasterSettings) -> tuple[Tensor, Tensor, Tensor]:
    """Values [t * p, channels], transmittance [t * p] and depth [t * p] of a batch."""
    alphas = batch_alphas(splats.geometry[batch.ids], batch)
    after = torch.cumprod(1 - alphas, dim=1)
    # Transmittance only falls, so the Gaussians before the stop are those that leave at least the threshold.
    blended = after >= LEAST_TRANSMITTANCE
    left = torch.cat([torch.ones_like(alphas[:, :0].sum(1, keepdim=True)), after], dim=1)
    weights = torch.where(blended, alphas * left[:, :-1], 0.0)
    transmittance = left.gather(1, blended.sum(1, keepdim=True)).flatten()
    values = torch.einsum("tlp,tlc->tpc", weights, splats.values[batch.ids]).flatten(0, 1)
    with torch.no_grad():
        depths = splats.depths[batch.ids].unsqueeze(2)
        if settings.depth == "median":
            passed = blended & (left[:, :-1] > 0.5) & (after < 0.5)
            depth = torch.where(passed.any(1), (passed * depths).sum(1), MEDIAN_DEPTH_OF_EMPTY_PIXELS)
        else:
            depth = (weights * depths).sum(1)
            if settings.depth == "mean":
                total = weights.sum(1)
                depth = torch.where(total > 0, depth / total, 0.0 if settings.far is None else settings.far)
    return values, transmittance, depth.flatten()


def batch_alphas(geometry: Tensor, batch: TileBatch) -> Tensor:
    """Alphas [t, l, p] of Gaussians [t, l, 6] at the batch's pixels, 0 where skipped."""
    mean, conic, opacity = geometry[..., :2], geometry[..., 2:5], geometry[..., 5:]
    offset = mean.unsqueeze(2) - batch.centres.unsqueeze(1)
    dx, dy = offset.unbind(3)
    xx, xy, yy = conic.unsqueeze(3).unbind(2)
    power = -0.5 * (xx * dx * dx + yy * dy * dy) - xy * dx * dy
    alphas = (opacity * torch.exp(power.clamp_max(0))).clamp_max(LARGEST_ALPHA)
    kept = (power <= 0) & (alphas >= LEAST_ALPHA) & batch.listed.unsqueeze(2)
    return torch.where(kept, alphas, 0.0)
