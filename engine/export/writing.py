"""The writing of an export: the file is read again and measured before it takes its place."""

from __future__ import annotations

import logging
from pathlib import Path

import torch

from common.disk.files import replacing_aside, replacing_folder
from common.text.units import MEGABYTE
from engine.export.formats import Format
from engine.export.fused import FUSED
from engine.export.job import Export, Facts
from engine.export.measure import Measured, measured

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
    prepared = kind.prepare(export)
    facts = {**facts, "left_out": prepared.left_out, **prepared.told}
    with replacing_folder(path) if kind.folder else replacing_aside(path) as staged:
        prepared.write(staged, facts)
        found = measured(
            export.run,
            prepared.sources,
            prepared.read(staged),
            frames=frames,
            only=prepared.only,
            progress=export.progress,
        )
        told = {"note": NOTE} if FUSED in prepared.sources else {}
        prepared.write(staged, {**facts, **loss_facts(found), **told})
    log_loss(found, path, fused=FUSED in prepared.sources)
    return found


def loss_facts(found: Measured) -> dict[str, object]:
    """Measurements as a file tells them."""
    return {
        "psnr": dict(found.truth),
        "psnr_to_source": dict(found.source),
        "psnr_lost": found.lost,
        "frames_of_each_camera": found.frames,
        "cameras_measured": found.cameras,
    }


def log_loss(found: Measured, path: Path, *, fused: bool) -> None:
    """Tells how much a file loses, and why where it is a fused scene."""
    if fused:
        logger.warning("%s %s loses %.2f dB; an expert alone may lose less (--content)", NOTE, path, found.lost)
    else:
        logger.info("%s loses %.2f dB of %s (%.2f dB)", path, found.lost, found.name, found.truth[found.name])


def size_of(path: Path) -> float:
    """Megabytes of a file, or of all files in a folder."""
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    return sum(each.stat().st_size for each in files) / MEGABYTE
