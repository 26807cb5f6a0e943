"""Truncated PNGs: found by decoding every image, and their missing rows taken from the neighbouring frame."""

from __future__ import annotations

import os
import shutil
import struct
import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from common.cores import usable_cores
from common.text.progress import tracked
from scenes.preparation.steps import PreparationStep, Workbench
from scenes.types import SceneError

_VERSION = 1
SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by PNG's colour type
HEADER = struct.Struct(">IIBBBBB")
_KEPT = ".damaged"  # added to the name of what a repaired image replaces
NOTE = "Repaired"  # key of the text in a repaired PNG
PIECE = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunks:
    """The readable parts of a PNG."""

    header: bytes
    palette: bytes
    data: bytes  # compressed
    sound: bool  # no check sum is wrong


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Result of decoding an image."""

    whole: bool
    note: str | None = None  # of an image that was repaired earlier


def repaired_images(bench: Workbench, cameras: Mapping[str, Mapping[int, Path]], *, progress: bool) -> tuple[str, ...]:
    """Decode all images (camera -> frame -> file), repair damaged PNGs; a line for each repair, also earlier ones.

    The original stays beside it as <name>.png.damaged. One step a camera. SceneError where an image's header is not
    readable, it is no PNG, or neither neighbouring frame is whole.
    """
    lines: list[str] = []
    for name, images in tracked(cameras.items(), "Checking images", unit="camera", shown=progress):
        lines += bench.run(_checking(name, images))
    return tuple(lines)


def _checking(name: str, images: Mapping[int, Path]) -> PreparationStep:
    return PreparationStep(
        name=f"checked_{name}",
        version=_VERSION,
        inputs=list(images.values()),
        options={},
        outputs=[],
        make=lambda scratch: _checked(images, scratch),
        mends_inputs=True,
    )


def _checked(images: Mapping[int, Path], scratch: Path) -> list[str]:
    """Repairs what does not decode; a line for every image that was ever repaired."""
    with ThreadPoolExecutor(usable_cores()) as pool:
        checks = dict(zip(images, pool.map(check_image, images.values()), strict=True))
    notes = {number: check.note for number, check in checks.items() if check.note}
    for number in [number for number, check in checks.items() if not check.whole]:
        neighbour = next((other for other in (number - 1, number + 1) if other in checks and checks[other].whole), None)
        if neighbour is None:
            raise SceneError(
                f"{images[number]}: damaged, and so are or missing are the frames before and after it; copy it again"
            )
        notes[number] = repair(images[number], images[neighbour], scratch)
    return [notes[number] for number in sorted(notes)]


def check_image(path: Path) -> Check:
    """Decode an image to its last row; a PNG's check sums, which decoders pass over, must be right too."""
    try:
        with Image.open(path) as image:
            image.load()
            kind, note = image.format, image.info.get(NOTE)
        return Check(whole=kind != "PNG" or _chunks(path).sound, note=note)
    except Exception:  # decoders raise anything on damaged bytes
        return Check(whole=False)


def repair(path: Path, neighbour: Path, scratch: Path) -> str:
    """Put the neighbouring frame's pixels in the rows that a truncated PNG lost; returns a line that tells which.

    The line is also written into the PNG. SceneError where the file is no PNG with a readable header, or the sizes
    differ.
    """
    own, rows = readable_rows(path)
    with Image.open(neighbour) as image:
        other = np.asarray(image.convert("RGB"))
    if own.shape != other.shape:
        raise SceneError(f"{path}: damaged, and {neighbour.name} has another size; copy it again")
    note = f"{path.name}: rows {rows} to {len(own) - 1} of {len(own)} taken from {neighbour.name}"
    text = PngInfo()
    text.add_text(NOTE, note)
    mended = scratch / path.name
    Image.fromarray(np.concatenate([own[:rows], other[rows:]])).save(mended, pnginfo=text)
    kept = path.with_name(path.name + _KEPT)
    if not kept.exists():
        shutil.copy2(path, scratch / kept.name)
        os.replace(scratch / kept.name, kept)
    os.replace(mended, path)
    return note


def readable_rows(path: Path) -> tuple[np.ndarray, int]:
    """Read the pixels uint8 [h, w, 3] of a damaged PNG; also says how many of its rows, from the top, are right.

    SceneError where its header cannot be read; an interlaced PNG, whose rows are spread, counts as all lost.
    """
    chunks = _chunks(path)
    if len(chunks.header) != HEADER.size or chunks.header[9] not in CHANNELS:
        raise SceneError(f"{path}: not a PNG with a readable header, so nothing tells its rows; copy it again")
    width, height, depth, colour, _, _, interlaced = HEADER.unpack(chunks.header)
    stride = 1 + (width * depth * CHANNELS[colour] + 7) // 8  # a row begins with a byte that names its filter
    data = b"" if interlaced else _inflated(chunks.data)
    rows = min(height, len(data) // stride)
    whole = zlib.compress(data[: rows * stride] + bytes((height - rows) * stride), 1)
    parts = [(b"IHDR", chunks.header[:12] + b"\0"), (b"PLTE", chunks.palette), (b"IDAT", whole), (b"IEND", b"")]
    rebuilt = SIGNATURE + b"".join(_chunk(kind, body) for kind, body in parts if body or kind == b"IEND")
    with Image.open(BytesIO(rebuilt)) as image:
        return np.asarray(image.convert("RGB")), rows


def _chunks(path: Path) -> Chunks:
    """The parts of a PNG up to its end, where the file breaks off, or a check sum that is wrong."""
    file = path.read_bytes()
    parts = {b"IHDR": b"", b"PLTE": b"", b"IDAT": b""}
    place = len(SIGNATURE) if file.startswith(SIGNATURE) else len(file)
    while place + 8 <= len(file):
        length, kind = struct.unpack(">I4s", file[place : place + 8])
        body, checksum = file[place + 8 : place + 8 + length], file[place + 8 + length : place + 12 + length]
        if len(checksum) == 4 and zlib.crc32(kind + body) != struct.unpack(">I", checksum)[0]:
            return Chunks(header=parts[b"IHDR"], palette=parts[b"PLTE"], data=parts[b"IDAT"], sound=False)
        if kind in parts:
            parts[kind] += body
        place += 12 + length
    return Chunks(header=parts[b"IHDR"], palette=parts[b"PLTE"], data=parts[b"IDAT"], sound=True)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _inflated(compressed: bytes) -> bytes:
    """As much of a broken zlib stream as can be had."""
    inflater, data = zlib.decompressobj(), []
    try:
        for place in range(0, len(compressed), PIECE):
            data.append(inflater.decompress(compressed[place : place + PIECE]))
    except zlib.error:
        pass
    return b"".join(data)
