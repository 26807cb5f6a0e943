"""The room that files of frames take in a folder, and how it is given back."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from common.disk.leftovers import UNFINISHED
from scenes.frames.cache.record import record_file

_SIZE_FOLDER = re.compile(r"\d+x\d+_[a-z]+")
_CLIP = re.compile(r".+_\d+-\d+\.npy")
_LEFT = re.compile(r".+_\d+-\d+\.npy\.partial")  # by a kill: who writes one holds the folder's lock
_RECORD = re.compile(r".+_\d+-\d+\.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    path: Path
    bytes: int
    used: int  # when it was last in use, ns


def make_room(folder: Path, *, needed: int, limit: int) -> bool:
    """Remove clips, those not in use for longest first, until `needed` bytes more are within the limit.

    False where files that are being written leave too little room. The folder's lock is to be held.
    """
    files = list(_files(folder))
    for file in [file for file in files if _LEFT.fullmatch(file.path.name)]:
        file.path.unlink(missing_ok=True)
        files.remove(file)
    used = sum(file.bytes for file in files)
    records = {file.path: file for file in files if _RECORD.fullmatch(file.path.name)}
    clips = sorted((file for file in files if _CLIP.fullmatch(file.path.name)), key=lambda file: file.used)
    for clip in clips:
        if used + needed <= limit:
            break
        record = records.pop(record_file(clip.path), None)
        gone = [clip] if record is None else [record, clip]  # in this order: a clip without a record is not read
        for file in gone:
            file.path.unlink(missing_ok=True)
            used -= file.bytes
    for left in [file for file in records.values() if not file.path.with_suffix(".npy").exists()]:
        left.path.unlink(missing_ok=True)
        used -= left.bytes
    return used + needed <= limit


def _files(folder: Path) -> Iterator[_File]:
    """Files of frames and their records, finished or not, below a cache's folder; files of others are not looked at."""
    for place in [entry for entry in os.scandir(folder) if _SIZE_FOLDER.fullmatch(entry.name) and _is_folder(entry)]:
        for entry in os.scandir(place.path):
            known = any(pattern.fullmatch(entry.name) for pattern in (_CLIP, _LEFT, _RECORD))
            if not (known or entry.name.startswith(UNFINISHED)):
                continue
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:  # just renamed
                continue
            yield _File(path=Path(entry.path), bytes=status.st_size, used=status.st_mtime_ns)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir(follow_symlinks=False)
