"""A run in small files: its experts' tables packed, networks and routing weights in half precision."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from common.disk.files import write_json
from engine.compression.ordered import sorted_along_curve
from engine.compression.pruned_files import write_run
from engine.compression.ranked_frames import frames_between
from engine.evaluation.held_out import mixture_psnr
from engine.evaluation.provenance import megabytes
from engine.runs.run import Run
from engine.runs.saved.loading import load_run
from engine.training.router.old_run import COMPRESSED
from experts.formats.packed import is_packed, write_packed
from experts.formats.ply import read_comments, read_ply
from experts.formats.torch_files import load_tensors, save_tensors

logger = logging.getLogger(__name__)

FACTS = "compressed.json"  # in the folder of the copy
SCORED_FRAMES = 10  # of each held-out camera, at most
RANKED_FRAMES = 10  # as of moegs.py prune, where it does not tell
MOST_HALF = torch.finfo(torch.float16).max


def compress_run(save_path: Path, *, overrides: Mapping[str, Any]) -> Path:
    """Writes a small copy of a trained run to `<save_path>/compressed`, and tells what it costs; its folder."""
    run = load_run(save_path, overrides=overrides, needed="test")
    out = save_path / COMPRESSED
    write_compressed(run, save_path, out, iteration=run.iteration, overrides=overrides, change={"compressed": True})
    return out


def write_compressed(
    run: Run,
    save_path: Path,
    out: Path,
    *,
    iteration: int,
    overrides: Mapping[str, Any],
    change: Mapping[str, Any],
    leave: Callable[[Run, Path], object] | None = None,
    ranked: int = RANKED_FRAMES,
) -> Run:
    """As `write_run`, in small files; leaves compressed.json with the size, and the PSNR that it costs.

    Gaussians change their order, and routing weights follow. ranked: frames that Gaussians were ranked at, if any were
    removed; the PSNR is of frames between them.
    """
    facts: dict[str, Any] = {"from": str(save_path.absolute()), "iteration": iteration}

    def finish(written: Run, folder: Path) -> None:
        facts.update(_costs(run, written, ranked))
        write_json(folder / FACTS, facts)
        if leave is not None:
            leave(written, folder)

    written = write_run(
        sorted_along_curve(run),
        save_path,
        out,
        iteration=iteration,
        overrides=overrides,
        change=change,
        packed=pack_folder,
        leave=finish,
    )
    _tell(facts, out)
    return written


def _costs(run: Run, written: Run, ranked: int) -> dict[str, Any]:
    """What a compressed run takes, and the PSNR that it has and had."""
    frames = frames_between(run, ranked, SCORED_FRAMES)
    before, after = (mixture_psnr(each, frames=frames) for each in (run, replace(written, scene=run.scene)))
    return {
        "megabytes": megabytes(written)["total"],
        "psnr": after,
        "psnr_uncompressed": before,
        "psnr_lost": before - after,
        "frames_of_each_camera": len(frames),
    }


def _tell(facts: Mapping[str, Any], out: Path) -> None:
    """Logs the size of a compressed run, and the PSNR that it costs."""
    logger.info(
        "compressed to %.1f MB: PSNR %.2f dB at the held-out cameras, %.3f dB %s than uncompressed; wrote %s",
        facts["megabytes"],
        facts["psnr"],
        abs(facts["psnr_lost"]),
        "less" if facts["psnr_lost"] > 0 else "more",
        out,
    )


def pack_folder(folder: Path) -> None:
    """Packs, in place, the tables and networks of a model's folder, as `save` wrote it."""
    for path in sorted(folder.rglob("*.ply")):
        if not is_packed(path):
            table = read_ply(path)
            write_packed(path, table.names, table.matrix, comments=read_comments(path))
    for path in sorted(folder.rglob("*.pth")):
        state = load_tensors(path)
        if isinstance(state, Mapping):
            save_tensors({name: _half(value) for name, value in state.items()}, path)


def _half(value: object) -> object:
    """A float32 tensor in half precision, where its values fit; all else as it is."""
    if not isinstance(value, Tensor) or value.dtype != torch.float32 or not value.numel():
        return value
    return value.half() if float(value.abs().max()) <= MOST_HALF else value
