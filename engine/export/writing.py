"""The writing of an export: the file is read again and measured before it takes its place."""

from __future__ import annotations

import logging
from pathlib import Path

import torch

from common.files import replacing, replacing_folder
from common.units import MEGABYTE
from engine.export.formats import Export, Facts, Format
from engine.export.measure import MIXTURE, PLAYER, Measured, measured

logger = logging.getLogger(__name__)

NOTE = (
    "The mixture blends the images of its experts, pixel by pixel. No single scene of Gaussians does the same, so that "
    "no file of splats is the mixture."
)


@torch.no_grad()
def write_export(export: Export, kind: Format, path: Path, *, frames: int, facts: Facts) -> Measured:
    """Writes an export whole or not at all, with what it loses among its facts; what was measured.

    frames: to measure, of each held-out camera.
    """
    write = kind.prepare(export)
    with replacing_folder(path) if kind.folder else replacing(path) as staged:
        write(staged, facts)
        found = measured(export.run, export.content, kind.read(staged, export), frames=frames, progress=export.progress)
        write(staged, {**facts, **loss_facts(found), "note": NOTE})
    return found


def loss_facts(found: Measured) -> dict[str, object]:
    """What was measured, for the file."""
    return {
        "psnr": dict(found.truth),
        "psnr_to_source": dict(found.source),
        "psnr_lost": found.lost,
        "frames_of_each_camera": found.frames,
        "cameras": found.cameras,
    }


def log_loss(found: Measured, path: Path) -> None:
    """Tells how much a file loses, and of what."""
    source = next(iter(found.truth))
    logger.info("%s loses %.2f dB of %s (%.2f dB)", path, found.lost, source, found.truth[source])
    if source == MIXTURE:
        logger.info("%s", NOTE)


def size_of(path: Path) -> float:
    """Megabytes of a file, or of all files in a folder."""
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    return sum(each.stat().st_size for each in files) / MEGABYTE


__all__ = ["NOTE", "PLAYER", "log_loss", "loss_facts", "size_of", "write_export"]
