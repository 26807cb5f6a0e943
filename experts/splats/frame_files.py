"""Sequences of PLY files, one a frame, with the columns of 3DGS: every viewer of still splats reads each of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import torch
from moegs_rasterizer import Gaussians, RasterSettings
from torch import Tensor

from experts.base import CheckpointError, Provenance
from experts.canonical.files import read_canonical, write_canonical
from experts.canonical.gaussians import CanonicalGaussians
from experts.formats.ply import read_ply
from experts.random_models import raw_tensors
from experts.splats.model import Splats

_NUMBER = re.compile(r"(\d+)\D*$")


def write_frame(path: Path, gaussians: Gaussians) -> None:
    """Writes Gaussians of one frame, in 3DGS's columns."""
    write_canonical(path, CanonicalGaussians(**raw_tensors(gaussians)))


def still(gaussians: Gaussians) -> Splats:
    """Gaussians as splats that every frame shows."""
    count = gaussians.count
    return Splats(
        gaussians=CanonicalGaussians(**raw_tensors(gaussians)),
        times=torch.zeros(count),
        widths=torch.full((count,), torch.inf),
        velocities=torch.zeros(count, 3),
        windows=torch.tensor([-torch.inf, torch.inf]).repeat(count, 1),
        num_frames=1,
    ).requires_grad_(False)


def frame_files(folder: Path) -> list[Path]:
    """The PLY files of a folder in the order of the last number in their names; CheckpointError where there are none.

    Also for a file without a number, for two with the same one, and for a number that is left out.
    """
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".ply")
    if not paths:
        raise CheckpointError(f"{folder}: no .ply file in it; give a folder with one for each frame")
    found: dict[int, Path] = {}
    for path in paths:
        match = _NUMBER.search(path.stem)
        if match is None and len(paths) > 1:
            raise CheckpointError(f"{path}: no number in its name; name the files by their frames, as frame_00012.ply")
        number = int(match.group(1)) if match else 0
        if number in found:
            raise CheckpointError(f"{path}: has the number of {found[number].name}; give one file for each frame")
        found[number] = path
    numbers = sorted(found)
    missing = next((each + 1 for each, later in pairwise(numbers) if later != each + 1), None)
    if missing is not None:
        raise CheckpointError(
            f"{folder}: has {found[missing - 1].name}, and no file {missing}; give one for each frame, with numbers "
            "that follow each other"
        )
    return [found[number] for number in numbers]


def read_sequence(
    paths: Sequence[Path],
    *,
    settings: RasterSettings | None = None,
    background: Sequence[float] = (0.0, 0.0, 0.0),
    first_frame: int | None = None,
) -> Splats:
    """Splats of PLY files, one a frame: each is there at its frame, and stands still. Raises CheckpointError."""
    clouds = [read_canonical(read_ply(path)) for path in paths]
    counts = torch.tensor([len(cloud.means) for cloud in clouds])
    frames = torch.arange(len(clouds)).repeat_interleave(counts).float()
    names = [name for name, _ in clouds[0].named_parameters()]

    def joined(name: str) -> Tensor:
        return torch.cat([getattr(cloud, name).detach() for cloud in clouds])

    return Splats(
        gaussians=CanonicalGaussians(**{name: joined(name) for name in names}),
        times=frames,
        widths=torch.full_like(frames, torch.inf),
        velocities=torch.zeros(len(frames), 3),
        windows=torch.stack([frames - 0.5, frames + 0.5], dim=1),
        num_frames=len(paths),
        first_frame=first_frame,
        settings=settings,
        background=background,
        provenance=Provenance(files=tuple(paths), iteration=0),
    )
