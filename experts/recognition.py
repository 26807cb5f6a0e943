"""Recognition of a folder that was given to the wrong expert."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from experts.base import CheckpointError
from experts.formats.columns import GAUSSIAN
from experts.formats.folders import find_iteration
from experts.formats.ply import read_column_names
from experts.spec import ExpertSpec

_TABLE = "point_cloud.ply"  # of every expert


def require_own_files(spec: ExpertSpec, path: Path, iteration: int | None, *, experts: Collection[ExpertSpec]) -> None:
    """Raise CheckpointError where a folder's files look like another expert's, naming the flag to give it to.

    iteration: to be read, None for the highest. Files that are missing are the loader's to name.
    """
    segments = _segments(path, experts)
    if segments and spec.segments is None:
        raise _mistaken(path, segments[0], spec, detail=" (a folder of segments)")
    for table in _tables([path / name for name in segments[1]] if segments else [path], iteration):
        names = read_column_names(table)
        owner = owner_of(names, experts)
        if owner is None:
            listed = ", ".join(names[:4])
            raise CheckpointError(
                f"{table}: no expert's Gaussians (columns {listed}, ...), {spec.name} expected; check the path"
            )
        if owner.name != spec.name:
            raise _mistaken(table, owner, spec)


def owner_of(columns: Collection[str], experts: Collection[ExpertSpec]) -> ExpertSpec | None:
    """The expert whose signature some columns have; one that adds no column to 3DGS's only where no other has."""
    owners = [spec for spec in experts if any(name in columns for name in spec.signature)]
    return min(owners, key=lambda spec: spec.signature[0] in GAUSSIAN, default=None)


def _segments(path: Path, experts: Collection[ExpertSpec]) -> tuple[ExpertSpec, list[str]] | None:
    """The expert whose segments a folder without a model of its own holds, and their names."""
    if (path / "point_cloud").exists():
        return None
    for spec in experts:
        names = [] if spec.segments is None else spec.segments.names(path)
        if names:
            return spec, names
    return None


def _tables(folders: list[Path], iteration: int | None) -> list[Path]:
    """The PLY files of those folders that hold a model of the iteration."""
    tables = []
    for folder in folders:
        try:
            tables.append(find_iteration(folder, iteration)[1] / _TABLE)
        except CheckpointError:
            continue
    return [table for table in tables if table.is_file()]


def _mistaken(path: Path, owner: ExpertSpec, wanted: ExpertSpec, *, detail: str = "") -> CheckpointError:
    return CheckpointError(
        f"{path}: looks like {owner.name}{detail}, {wanted.name} expected; give it to --{owner.flag}"
    )
