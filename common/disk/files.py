"""Files and folders that are whole or not there, JSON, and hashes of contents."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from common.disk.contained import read_text, regular
from common.disk.faults import writing
from common.disk.leftovers import held, unfinished_folder, unfinished_name


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path next to `path` that takes its place when the block ends without an error.

    It is there already, empty, and held: what a killed process leaves is swept at the next start.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(unfinished_name(path))
    try:
        with writing(path, made_in=temporary), held(temporary, flags=os.O_RDWR | os.O_CREAT):
            yield temporary
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_aside(path: Path) -> Iterator[Path]:
    """Give an empty file in a hidden folder beside `path`; what stands there at the end of the block takes its place.

    As `replacing`, for what is written and read in turn: whoever replaces the file, or leaves others beside it, does so
    in a folder that is held all the time.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with unfinished_folder(path.parent, of=path) as scratch:
        staged = scratch / path.name
        staged.touch()
        yield staged
        os.replace(staged, path)


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Give an empty temporary folder next to `folder` that takes its place when the block ends without an error.

    The one that was there is removed then. A process that is killed leaves the old folder, the new one, or none, and a
    hidden folder beside it, which `sweep` and `sweep_beside` remove.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with unfinished_folder(folder.parent, of=folder) as scratch:
        temporary = scratch / "new"  # with the usual permissions, which a temporary folder has not
        temporary.mkdir()
        yield temporary
        put_in_place({temporary: folder}, aside=scratch / "old")


def free_bytes(folder: Path) -> int:
    """Count the free bytes on the disk of a folder that may not exist yet."""
    return shutil.disk_usage(next(path for path in (folder, *folder.absolute().parents) if path.exists())).free


def put_in_place(targets: Mapping[Path, Path], *, aside: Path) -> None:
    """Move folders to their targets, by source, in order; folders that stand there go into the folder `aside` first.

    They go in reverse order: wherever a process is killed, new folders do not stand beside old ones, and the last
    target is there only with all others. After an error the old ones stand where they stood. All paths lie on one disk,
    and the targets differ in their names.
    """
    standing = [target for target in reversed(list(targets.values())) if target.exists()]
    moves = [(target, aside / target.name) for target in standing] + list(targets.items())
    if standing:
        aside.mkdir()
    done: list[tuple[Path, Path]] = []
    try:
        for source, target in moves:
            os.replace(source, target)
            done.append((source, target))
    except BaseException:
        for source, target in reversed(done):
            os.replace(target, source)
        raise


def read_json(path: Path, *, pairs: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    """Read a JSON file; ValueError where it is none or nested too deep, OSError where it cannot be read.

    pairs: makes each object of its keys and values, as `object_pairs_hook` of json.loads.
    """
    try:
        return json.loads(read_text(path), object_pairs_hook=pairs)
    except RecursionError:
        raise ValueError("nested too deep") from None


def write_json(path: Path, value: object) -> Path:
    """Write indented JSON; JSON has no infinities or NaN, so they become the strings "inf", "-inf" and "nan"."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(_portable(value), indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return path


def _portable(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _portable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_portable(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def file_hash(path: Path) -> str:
    """Compute SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with regular(path).open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def files_hash(paths: Iterable[Path]) -> str:
    """Compute SHA-256 over contents of files, in order; a file not touched since it was read is not read again."""
    digest = hashlib.sha256()
    for path in paths:
        state = path.stat()
        digest.update(bytes.fromhex(_known_hash(path, state.st_size, state.st_mtime_ns)))
    return digest.hexdigest()


@lru_cache(maxsize=256)
def _known_hash(path: Path, size: int, modified: int) -> str:
    del size, modified  # part of the cache's key only
    return file_hash(path)
