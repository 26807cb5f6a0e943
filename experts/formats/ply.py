"""Binary float32 PLY tables, the file format of every expert's Gaussians (element `vertex`, little endian)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from common.deferred import deferred
from common.disk.faults import reading
from common.disk.files import replacing
from common.text.suggestions import nearest
from experts.base import CheckpointError
from experts.formats.folders import require_file
from experts.formats.packed import is_packed, packed_comments, packed_names, read_packed

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = deferred("torch")

MAX_HEADER_BYTES = 1 << 20
MAX_ROWS = 100_000_000
_END = re.compile(rb"end_header\r?\n")
OPACITY_LOGITS = ("opacity", "motion_opacity")  # the columns that may be infinite
_FLOAT = ("float", "float32")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlyTable:
    """One `vertex` element: a float32 matrix with named columns, in the file's order."""

    path: Path
    names: tuple[str, ...]
    matrix: np.ndarray  # float32 [n, len(names)], all finite but the opacity logits, which may be infinite


def read_ply(path: Path) -> PlyTable:
    """Read a binary little-endian PLY whose only element is `vertex` with float32 columns.

    The header is checked against the file's size before anything is allocated. Raises CheckpointError for a missing,
    foreign, text, big-endian or truncated file, for other column types, and for NaN or infinite values. Opacity logits
    may be infinite: their sigmoid is 1 or 0. A packed table (experts/formats/packed.py) is read in its place.
    """
    with _reading(path):
        names, matrix = read_packed(path) if is_packed(path) else _read_matrix(path)
        _check_finite(path, names, matrix)
        return PlyTable(path=path, names=names, matrix=matrix)


def read_column_names(path: Path) -> tuple[str, ...]:
    """Names of a PLY table's columns from its header alone; raises CheckpointError as `read_ply` does for headers."""
    with _reading(path):
        return packed_names(path) if is_packed(path) else _read_header(path)[1]


def read_comments(path: Path) -> tuple[str, ...]:
    """Comments in a PLY file's header, without the word; raises CheckpointError as `read_ply` does for headers."""
    with _reading(path):
        if is_packed(path):
            return packed_comments(path)
        lines = _read_header_text(path)[0].splitlines()
        return tuple(line.removeprefix("comment ") for line in lines if line.startswith("comment "))


def write_ply(path: Path, names: Sequence[str], matrix: np.ndarray | Tensor, *, comments: Sequence[str] = ()) -> None:
    """Write a float32 table [n, len(names)] in the byte layout of the experts' own trainers, never half a file."""
    values = matrix if isinstance(matrix, np.ndarray) else matrix.detach().cpu().numpy()
    if values.ndim != 2 or values.shape[1] != len(names):
        raise ValueError(f"{path}: {len(names)} columns named, but the matrix is {list(values.shape)}")
    header = ["ply", "format binary_little_endian 1.0", *(f"comment {comment}" for comment in comments)]
    header += [f"element vertex {values.shape[0]}"]
    header += [f"property float {name}" for name in names]
    with replacing(path) as temporary, temporary.open("wb") as stream:
        stream.write(("\n".join([*header, "end_header"]) + "\n").encode("ascii"))
        np.ascontiguousarray(values, dtype="<f4").tofile(stream)


def select(table: PlyTable, names: Sequence[str]) -> Tensor:
    """Columns as a float32 tensor [n, len(names)] in the order asked for (a copy).

    Raises CheckpointError naming each missing column and the nearest one present.
    """
    index = {name: column for column, name in enumerate(table.names)}
    missing = [name for name in names if name not in index]
    if missing:
        listed = ", ".join(f"{name}{_nearest(name, table.names)}" for name in missing[:4])
        more = f" and {len(missing) - 4} more" if len(missing) > 4 else ""
        raise CheckpointError(f"{table.path}: {len(missing)} columns missing: {listed}{more}; another model's file?")
    return torch.from_numpy(table.matrix[:, [index[name] for name in names]].astype(np.float32, order="C"))


def numbered_columns(names: Sequence[str], prefix: str) -> tuple[str, ...]:
    """Names of the form `<prefix><number>`, sorted by number: f_rest_10 after f_rest_9."""
    pattern = re.compile(re.escape(prefix) + r"(\d+)")
    numbered = [(int(match.group(1)), name) for name in names if (match := pattern.fullmatch(name))]
    return tuple(name for _, name in sorted(numbered))


def describe(head: bytes) -> str:
    """A guess in a few words at a foreign file's kind, from its first bytes."""
    start = head[:256].lstrip().lower()
    if not head:
        return "an empty file"
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "a web page (a download that failed?)"
    if start.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer (run git lfs pull)"
    if start.startswith((b"pk\x03\x04", b"\x80")):
        return "a zip archive or pickle (a .pth file?)"
    return f"something that starts with {head[:12]!r}"


def _nearest(name: str, present: Sequence[str]) -> str:
    close = nearest(name, present)
    return f" (nearest: {close})" if close else ""


def _reading(path: Path) -> AbstractContextManager[None]:
    """The boundary of all tables, packed or not: one line for whatever reading one raises."""
    return reading(
        path, "not a readable table of Gaussians", CheckpointError, advice="get the file again from its source"
    )


def _read_matrix(path: Path) -> tuple[tuple[str, ...], np.ndarray]:
    """Names and float32 matrix [n, columns] of a PLY table; its size is checked before anything is allocated."""
    count, names, offset = _read_header(path)
    _check_size(path, count, len(names), offset)
    matrix = np.fromfile(path, dtype="<f4", count=count * len(names), offset=offset)
    return names, matrix.reshape(count, len(names))


def _read_header(path: Path) -> tuple[int, tuple[str, ...], int]:
    """Number of rows, names of the columns, and where in the file the rows begin."""
    text, offset = _read_header_text(path)
    return *_parse_header(path, text), offset


def _read_header_text(path: Path) -> tuple[str, int]:
    """The header up to its last line, and where in the file the rows begin."""
    require_file(path)
    with path.open("rb") as stream:
        head = stream.read(MAX_HEADER_BYTES)
    end = _END.search(head)
    if not head.startswith(b"ply") or head[3:4] not in (b"\n", b"\r"):
        raise CheckpointError(f"{path}: not a PLY file but {describe(head)}; get the file again from its source")
    if end is None:
        raise CheckpointError(f"{path}: a PLY header without an end (truncated?); get the file again from its source")
    return head[: end.start()].decode("ascii", "replace"), end.end()


def _parse_header(path: Path, header: str) -> tuple[int, tuple[str, ...]]:
    lines = [line.split() for line in header.splitlines()[1:]]
    lines = [line for line in lines if line and line[0] not in ("comment", "obj_info")]
    if not lines or lines[0][0] != "format" or lines[0][1:2] != ["binary_little_endian"]:
        first = " ".join(lines[0]) if lines else "nothing"
        raise CheckpointError(f"{path}: header says '{first}', not 'format binary_little_endian 1.0'; save it as that")
    elements = [line for line in lines if line[0] == "element"]
    if len(elements) != 1 or elements[0][1:2] != ["vertex"] or len(elements[0]) != 3 or lines[1] != elements[0]:
        listed = ", ".join(" ".join(line[1:]) for line in elements) or "none"
        raise CheckpointError(f"{path}: exactly one element 'vertex' expected, found {listed}; not a Gaussian table")
    if not elements[0][2].isdecimal() or int(elements[0][2]) > MAX_ROWS:
        raise CheckpointError(f"{path}: impossible number of Gaussians {elements[0][2]} (limit {MAX_ROWS}); damaged")
    for line in lines[2:]:
        if len(line) != 3 or line[0] != "property" or line[1] not in _FLOAT:
            raise CheckpointError(f"{path}: found '{' '.join(line)}', only float32 columns can be read; re-save it")
    names = tuple(line[2] for line in lines[2:])
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if not names or twice:
        raise CheckpointError(
            f"{path}: {f'column {twice[0]} appears twice' if twice else 'no columns'}; damaged header"
        )
    return int(elements[0][2]), names


def _check_size(path: Path, count: int, columns: int, offset: int) -> None:
    expected, size = offset + 4 * count * columns, path.stat().st_size
    if size < expected:
        whole = (size - offset) // (4 * columns)
        raise CheckpointError(f"{path}: truncated: {whole} of {count} Gaussians are there; get the file again")
    if size > expected:
        raise CheckpointError(f"{path}: {size - expected} bytes more than its header says; get the file again")


def _check_finite(path: Path, names: Sequence[str], matrix: np.ndarray) -> None:
    bad = ~np.isfinite(matrix)
    if not bad.any():
        return
    logits = [name in OPACITY_LOGITS for name in names]
    bad[:, logits] = np.isnan(matrix[:, logits])
    if not bad.any():
        return
    rows, columns = np.nonzero(bad)
    listed = ", ".join(names[column] for column in sorted(set(columns.tolist()))[:5])
    raise CheckpointError(
        f"{path}: {rows.size} NaN or infinite values, the first in column {names[columns[0]]} at row {rows[0]} "
        f"(columns: {listed}); the model diverged or the file is damaged, use another iteration"
    )
