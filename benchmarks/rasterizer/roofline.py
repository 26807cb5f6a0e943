"""The least time of a pass: what it must move and compute, counted on the very scene, over the rates of the machine.

Work per stage, with the number of issue slots a pair needs estimated from the instructions of the inner loops. No
machine reaches all of it at once: a pass within twice the estimate leaves little to gain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from moegs_rasterizer.reference.blending import LEAST_TRANSMITTANCE, TileBatch, batch_alphas, tile_batches
from moegs_rasterizer.reference.oracle import cull, select_rows
from moegs_rasterizer.reference.projection import project
from moegs_rasterizer.reference.tiles import TILE, tile_lists
from moegs_rasterizer.types import Camera, Layer
from torch import Tensor

WARP = 32  # lanes
SUB_TILE = (8, 4)  # pixels of a warp, columns and rows
TESTED_SLOTS, BLENDED_SLOTS = 14, 12  # issue slots of a Gaussian-pixel pair
# A backward pass by Gaussians: each warp takes WARP of a tile's Gaussians past its 256 pixels, one after the other.
STEPS_PER_BUCKET = TILE * TILE + WARP - 1
FULL_STEP_SLOTS, FEATURES_STEP_SLOTS = 72, 25
FLOAT = 4  # bytes
GEOMETRY_FLOATS = 11  # mean, scales, quaternion, opacity
RECORD_BYTES = 48  # a projected Gaussian
DEPTH_PAIR_BYTES, DEPTH_PASSES = 8, 4  # key and row; 32 bits, 8 a pass
RADIX_BITS = 8
INDEX_BYTES = 4
PAIRS_PER_BATCH = 2**22


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Work of one forward pass over some layers."""

    gaussians: int
    visible: int  # Gaussians that reach a pixel
    boxed: int  # (Gaussian, tile) pairs by the box of the alpha = 1/255 ellipse
    instances: int  # of these, pairs where some pixel's alpha reaches 1/255
    walked: int  # instances before the last pixel of their tile is full
    tested: int  # pairs (instance, pixel) in the warps' 8x4 sub-tiles where a pixel's alpha reaches 1/255
    blended: int  # pairs that change their pixel
    tiles: int  # of all layers
    colour_floats: int  # colour parameters (spherical harmonics or channels) of all visible Gaussians
    feature_floats: int  # features of all visible Gaussians
    pixel_floats: int  # values of all images
    state_floats: int  # transmittance and values at every WARP walked instances, of 256 pixels

    def __add__(self, other: Counts) -> Counts:
        return Counts(**{one.name: getattr(self, one.name) + getattr(other, one.name) for one in fields(Counts)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Rates of a GPU, which the estimate divides by."""

    bytes_per_second: float  # device memory, read and written by a large copy
    warp_instructions_per_second: float  # multiprocessors x 4 x clock


def count_layers(layers: Sequence[Layer], camera: Camera) -> Counts:
    """Counts of a pass over several layers, exactly; in seconds on a GPU."""
    counts = [count_layer(layer, camera) for layer in layers]
    return sum(counts[1:], start=counts[0])


@torch.no_grad()
def count_layer(layer: Layer, camera: Camera) -> Counts:
    """Counts of one layer by evaluating every alpha with the PyTorch back-end."""
    seen, boxes = cull(layer, camera)
    projection = project(select_rows(layer.gaussians, seen), camera, layer.settings)
    lists = tile_lists(boxes, projection.depths, camera)
    geometry = torch.cat([projection.means2d, projection.conics, projection.opacities.unsqueeze(1)], dim=1)
    totals = torch.zeros(4, dtype=torch.int64, device=geometry.device)
    reached = torch.zeros(len(seen) + 1, dtype=torch.bool, device=geometry.device)
    for batch in tile_batches(lists, pairs=PAIRS_PER_BATCH):
        if batch.ids.shape[1] == 0:
            break  # no Gaussian reaches this tile nor those that follow
        alphas = batch_alphas(geometry[batch.ids], batch)
        inside = _inside(batch, camera)
        kept = (alphas > 0) & inside
        reached[torch.where(kept.any(2), batch.ids, len(seen))] = True
        totals += _count_batch(torch.where(kept, alphas, 0.0), kept, inside.expand_as(kept))
    instances, walked, tested, blended = totals.tolist()
    visible = int(reached[:-1].sum())
    given = layer.gaussians
    features = 0 if layer.features is None else layer.features.shape[1]
    channels = given.colour_channels + features
    colour_floats = given.colour_channels if given.sh is None else given.sh[0].numel()
    return Counts(
        gaussians=given.count,
        visible=visible,
        boxed=int(lists.counts.sum()),
        instances=instances,
        walked=walked,
        tested=tested,
        blended=blended,
        tiles=lists.columns * lists.rows,
        colour_floats=visible * colour_floats,
        feature_floats=visible * features,
        pixel_floats=channels * camera.width * camera.height,
        state_floats=walked // WARP * TILE * TILE * (1 + channels),
    )


def estimate_forward(counts: Counts, machine: Machine) -> dict[str, float]:
    """Milliseconds of each stage of a forward pass."""
    key_bits = max(1, (counts.tiles - 1).bit_length())
    pair = INDEX_BYTES + (2 if key_bits <= 16 else 4)
    passes = -(-key_bits // RADIX_BITS)
    parameters = counts.gaussians * GEOMETRY_FLOATS + counts.colour_floats + counts.feature_floats
    moved = {
        "projection": parameters * FLOAT + counts.visible * RECORD_BYTES,
        "depth sort": counts.visible * DEPTH_PAIR_BYTES * 2 * DEPTH_PASSES,
        "instances": counts.instances * pair,
        "tile sort": counts.instances * pair * 2 * passes,
        "blending": counts.walked * RECORD_BYTES + counts.pixel_floats * FLOAT,
    }
    stages = {name: 1000 * size / machine.bytes_per_second for name, size in moved.items()}
    slots = TESTED_SLOTS * counts.tested + BLENDED_SLOTS * counts.blended
    stages["blending"] += 1000 * slots / WARP / machine.warp_instructions_per_second
    return stages


def estimate_backward(counts: Counts, machine: Machine, *, full: bool) -> dict[str, float]:
    """Milliseconds of each stage of a backward pass, the forward pass not included.

    The state is what the forward pass stored at every WARP instances: the transmittance, and for a full pass the
    blended values.
    """
    steps = counts.walked / WARP * STEPS_PER_BUCKET
    slots = steps * (FULL_STEP_SLOTS if full else FEATURES_STEP_SLOTS)
    state = counts.state_floats if full else counts.walked // WARP * TILE * TILE
    blending = 1000 * slots / machine.warp_instructions_per_second + 1000 * state * FLOAT / machine.bytes_per_second
    return {"blending backward": blending}


def _inside(batch: TileBatch, camera: Camera) -> Tensor:
    """Mask [t, 1, p] of pixels that the image has."""
    x, y = batch.centres.unbind(2)
    return ((x < camera.width) & (y < camera.height)).unsqueeze(1)


def _count_batch(alphas: Tensor, kept: Tensor, inside: Tensor) -> Tensor:
    """Instances, walked, tested and blended [4] of alphas [t, l, p], kept where they reach 1/255."""
    after = torch.cumprod(1 - alphas, dim=1) >= LEAST_TRANSMITTANCE
    live = inside.clone()
    live[:, 1:] &= after[:, :-1]
    reached = kept.any(2)
    walked = reached & live.any(2)
    warps = _by_warp(kept).any(3) & _by_warp(live).any(3)
    return torch.stack([reached.sum(), walked.sum(), warps.sum() * WARP, (kept & after).sum()])


def _by_warp(mask: Tensor) -> Tensor:
    """A mask [t, l, 256] as [t, l, 8 sub-tiles, 32 pixels]."""
    columns, rows = SUB_TILE
    grid = mask.unflatten(2, (TILE // rows, rows, TILE // columns, columns))
    return grid.transpose(3, 4).flatten(4, 5).flatten(2, 3)
