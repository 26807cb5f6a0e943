"""Records of steps: inputs, options and outputs, which tell whether a step's work is still right."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from common.disk.contained import OutsideError, below
from common.disk.files import read_json, replacing
from common.disk.sealed import HASH, is_as_written, sealed
from scenes.types import SceneError

Stamp = list[Any]  # path below the root, bytes, modification time in ns


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """The record of a step; an unfinished one claims the outputs that are being moved to their place."""

    version: int
    options: dict[str, Any]
    inputs: list[Stamp]
    outputs: list[str]  # files and folders below the root
    stamps: list[Stamp]  # of all files of the outputs
    result: Any
    finished: bool


def read_record(path: Path) -> Record | None:
    """Read the record in a file `<root>/preparation/<step>.json`; None where there is none or it is damaged.

    SceneError where an output that it claims is not below the root: it would be replaced or deleted.
    """
    try:
        facts = read_json(path)
        if not is_as_written(facts):
            return None
        record = Record(**{key: value for key, value in facts.items() if key != HASH})
        for name in record.outputs:
            below(path.parent.parent, name)
    except OutsideError as error:
        raise SceneError(f"{path}: is not a record of this scene, {error}") from error
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    return record


def write_record(path: Path, record: Record) -> None:
    """Write a record, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(sealed(as_json(asdict(record)))) + "\n", encoding="utf-8")


def stamps_of(root: Path, paths: Iterable[Path]) -> list[Stamp]:
    """List size and modification time of files and of everything in folders; FileNotFoundError where one is missing.

    Links count as what they lead to.
    """
    return [stamp for path in paths for stamp in _stamps(root, path)]


def outputs_intact(root: Path, record: Record) -> bool:
    """Tell whether the outputs of a step are as it left them."""
    try:
        return stamps_of(root, [root / name for name in record.outputs]) == record.stamps
    except OSError:
        return False


def as_json(value: Any) -> Any:
    """Give a value as it is when read from a JSON file: tuples become lists, paths text, numpy's numbers numbers."""
    return json.loads(json.dumps(value, default=lambda other: other.item() if hasattr(other, "item") else str(other)))


def _stamps(root: Path, path: Path) -> Sequence[Stamp]:
    if path.is_dir():
        return [stamp for inner in sorted(path.iterdir()) for stamp in _stamps(root, inner)]
    status = path.stat()
    name = path.relative_to(root) if path.is_relative_to(root) else path
    return [[name.as_posix(), status.st_size, status.st_mtime_ns]]
