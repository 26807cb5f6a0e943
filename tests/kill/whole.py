"""Files as a kill may leave them: whole ones can be read to their end, unfinished ones are hidden."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import torch
from PIL import Image
from safetensors import safe_open

from common.disk.files import file_hash
from common.disk.leftovers import UNFINISHED
from experts.formats.ply import read_ply
from scenes.points.files import read_points
from scenes.preparation.steps import FOLDER
from scenes.preparation.steps import UNFINISHED as UNFINISHED_STEPS


def _video(path: Path) -> None:
    with av.open(str(path)) as container:
        for _ in container.decode(video=0):
            pass


def _image(path: Path) -> None:
    with Image.open(path) as image:
        image.load()


def _table(path: Path) -> None:
    """A table of Gaussians, or a cloud of points with colours."""
    (read_points if b"property uchar red" in path.read_bytes()[:1024] else read_ply)(path)


READERS: dict[str, Callable[[Path], object]] = {
    ".json": lambda path: json.loads(path.read_text(encoding="utf-8")),
    ".pt": lambda path: torch.load(path, map_location="cpu", weights_only=True),
    ".safetensors": lambda path: safe_open(str(path), "pt").keys(),
    ".ply": _table,
    ".npy": lambda path: np.load(path, mmap_mode="r"),
    ".mp4": _video,
    ".png": _image,
}
STEPS = f"{FOLDER}/{UNFINISHED_STEPS}"  # of a preparation
RESULTS = (".ply", ".safetensors", ".png", ".mp4")  # the same in every run of a command


def damaged(folder: Path) -> list[str]:
    """Files below a folder, but unfinished ones, that cannot be read."""
    broken = []
    for path in _finished(folder):
        try:
            READERS.get(path.suffix, Path.read_bytes)(path)
        except Exception as error:
            broken.append(f"{path.relative_to(folder)} ({type(error).__name__}: {error})")
    return broken


def unfinished(folder: Path) -> list[str]:
    """Files and folders below a folder that are hidden as unfinished, and those of a preparation's steps."""
    return sorted(path.name for path in (*folder.rglob(f"{UNFINISHED}*"), *folder.glob(f"{STEPS}/*")))


def fingerprint(folder: Path) -> dict[str, str]:
    """Hash of every result below a folder by its path; files that hold times have their name alone."""
    return {
        str(path.relative_to(folder)): file_hash(path) if path.suffix in RESULTS else "" for path in _finished(folder)
    }


def _finished(folder: Path) -> list[Path]:
    steps = folder / STEPS
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_relative_to(steps)]
    return [path for path in files if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
