"""The router's three weights a Gaussian as columns of an expert's PLY file, as MoE-GS's own stage 2 saves them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from experts.base import CheckpointError
from experts.formats.ply import PlyTable, read_comments, read_ply, select, write_ply

ROUTING = ("f_t_0", "w_b_0", "w_b_1")  # temporal, base, directional: the order in the file
_BASE_DIRECTIONAL_TEMPORAL = ("w_b_0", "w_b_1", "f_t_0")


def routing_columns(table: PlyTable, prefix: str = "") -> Tensor | None:
    """Router weights [n, 3] as (base, directional, temporal), or None where the file has none.

    prefix: of the columns' names. Original full STG files also have f_t_* columns (their time features): only w_b_*
    says that a router wrote the file.
    """
    if f"{prefix}w_b_0" not in table.names:
        return None
    return select(table, [f"{prefix}{name}" for name in _BASE_DIRECTIONAL_TEMPORAL])


def append_columns(path: Path, weights: Tensor, prefix: str = "") -> None:
    """Add router weights [n, 3] (base, directional, temporal) to a PLY file that has none, behind its own columns."""
    table = read_ply(path)
    names = [*table.names, *(f"{prefix}{name}" for name in ROUTING)]
    in_file_order = weights.detach().cpu()[:, [2, 0, 1]]
    matrix = torch.cat([torch.from_numpy(table.matrix), in_file_order.float()], dim=1)
    write_ply(path, names, matrix, comments=read_comments(path))


def read_columns_of(tables: Sequence[tuple[Path, str]], *, parts: str) -> Tensor | None:
    """Router weights [n, 3] of the files of one model, each with its prefix; None where no file has any.

    parts: a name for the files, for the message. Raises CheckpointError where only some of them have weights.
    """
    weights = [routing_columns(read_ply(path), prefix) for path, prefix in tables]
    there = [part for part in weights if part is not None]
    if 0 < len(there) < len(weights):
        raise CheckpointError(f"{tables[0][0]}: only some of {parts} have a router's columns; save them all again")
    return torch.cat(there) if there else None
