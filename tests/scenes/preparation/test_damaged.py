"""PNG files that were cut off or changed: found out, and read as far as they are right."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scenes.preparation.damaged import check_image, readable_rows

RNG = np.random.default_rng(1)


def truncate(path: Path, share: float = 0.5) -> bytes:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path.read_bytes()


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 255
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "1"])
def test_rows_of_every_kind_of_png_are_recovered(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(RNG.integers(0, 256, (40, 31, 3), np.uint8)).convert(mode).save(path)
    whole = np.asarray(Image.open(path).convert("RGB"))
    assert check_image(path).whole
    truncate(path, share=0.6)
    assert not check_image(path).whole
    pixels, rows = readable_rows(path)
    assert 5 < rows < 40
    assert np.array_equal(pixels[:rows], whole[:rows])
    assert pixels.shape == whole.shape


def test_a_flipped_byte_is_found_by_the_check_sum(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(RNG.integers(0, 256, (40, 31, 3), np.uint8)).save(path)
    flip(path, 600)
    assert not check_image(path).whole
    assert readable_rows(path)[1] == 0  # the whole of its one data chunk is in doubt


def test_rows_before_a_broken_chunk_are_kept(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 256, (40, 31, 3), np.uint8)
    rows = zlib.compress(b"".join(b"\0" + row.tobytes() for row in pixels), 0)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 31, 40, 8, 2, 0, 0, 0))]
    chunks += [(b"IDAT", rows[place : place + 400]) for place in range(0, len(rows), 400)] + [(b"IEND", b"")]
    path = tmp_path / "a.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
            for kind, body in chunks
        )
    )
    assert check_image(path).whole
    flip(path, 2500)  # in the sixth data chunk, so five of 400 bytes are right: 21 rows of 94
    assert not check_image(path).whole
    readable, count = readable_rows(path)
    assert count == 21
    assert np.array_equal(readable[:count], pixels[:count])
