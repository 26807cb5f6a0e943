"""The figure of a run: recorded frame, mixture, experts and gates at one moment, as a labelled grid."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from common.disk.files import replacing
from common.maths.tensors import to_uint8
from engine.evaluation.measures.psnr import psnr
from engine.evaluation.scoring import image_tensor
from engine.runs.device import wait
from engine.runs.run import Run, mix_view

TILE_WIDTH = 300  # pixels
MARGIN, LABEL = 6, 24
COLOURS, PASSES = 256, 3  # of the PNG's palette: 40 % of the size, at 39 dB


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """A labelled image."""

    label: str
    image: np.ndarray  # uint8 [h, w, 3] or [h, w]


def write_figure(run: Run, target: Path, *, view: int, frame: int) -> Path:
    """Writes the grid of a view and a frame as PNG.

    First row: the recorded frame and the experts; second row: the mixture and each expert's gate.
    """
    tiles = figure_tiles(run, view, frame)
    with replacing(target) as temporary:
        image = compose(tiles, columns=1 + len(run.experts))
        image.quantize(COLOURS, kmeans=PASSES).save(temporary, format="PNG", optimize=True)
    return target


def figure_tiles(run: Run, view: int, frame: int) -> list[Tile]:
    """The grid's images, row by row."""
    mixture, truth = mix_view(run, view, frame), run.scene.frames.read(view, frame)
    wait(run.compute)
    reference = image_tensor(truth, run.device)

    def scored(name: str, image: Tensor) -> Tile:
        return Tile(label=f"{name}  {psnr(image.clamp(0, 1), reference):.1f} dB", image=to_uint8(image))

    names = [expert.name for expert in run.experts]
    return [
        Tile(label=f"recorded, {run.scene.views[view].name}, frame {frame}", image=truth),
        *(scored(name, image) for name, image in zip(names, mixture.images, strict=True)),
        scored("MoE-GS", mixture.image),
        *(
            Tile(label=f"gate of {name}  {gate.mean():.0%}", image=to_uint8(gate))
            for name, gate in zip(names, mixture.gates, strict=True)
        ),
    ]


def compose(tiles: list[Tile], *, columns: int) -> Image.Image:
    """Tiles in rows on white, each below its label."""
    height = round(TILE_WIDTH * tiles[0].image.shape[0] / tiles[0].image.shape[1])
    rows = -(-len(tiles) // columns)
    size = (columns * (TILE_WIDTH + MARGIN) + MARGIN, rows * (height + LABEL + MARGIN) + MARGIN)
    canvas = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(size=15)
    for index, tile in enumerate(tiles):
        left = MARGIN + index % columns * (TILE_WIDTH + MARGIN)
        top = MARGIN + index // columns * (height + LABEL + MARGIN)
        draw.text((left, top), tile.label, fill="black", font=font)
        image = Image.fromarray(tile.image).convert("RGB").resize((TILE_WIDTH, height), Image.Resampling.BICUBIC)
        canvas.paste(image, (left, top + LABEL))
    return canvas


def most_divided(run: Run, view: int) -> int:
    """The frame whose experts' images vary most, of about ten."""
    frames = range(0, run.scene.num_frames, max(1, run.scene.num_frames // 10))
    return max(frames, key=lambda frame: float(mix_view(run, view, frame).images.var(dim=0).mean()))
