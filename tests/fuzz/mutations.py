"""Damage to a file's bytes: by flips, cuts, and numbers and words that no writer would write."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

Change = Callable[[bytes, random.Random], bytes]

WORDS = (b"-1", b"0", b"1e400", b"-1e30", b"NaN", b"null", b"true", b"1000000000", b"'x'", b"[]", b"{}", b"../../x")
LONG = (b"9" * 5000, b"[" * 3000, b"{" + b'"a":{' * 3000, b"(" * 3000, b"\0", b"\xff\xfe", b"\xed\xa0\x80")
HEADS = (b"", b"PK\x03\x04", b"\x80\x02", b"\x93NUMPY", b"ply\n", b"<html>", b"version https://git-lfs", b"\x89PNG\r\n")
SIZES = (0, 1, 0x7F, 0xFF, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 40, (1 << 63) - 1, (1 << 64) - 1)
_TOKEN = re.compile(rb'[-+.\w]+|"[^"]*"')


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Bytes changed in one to three ways; always others than before."""
    changed = data
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        changed = rng.choice(CHANGES)(changed, rng)
    return changed if changed != data else data[: len(data) // 2]


def _place(data: bytes, rng: random.Random) -> int:
    """A place in the data, in half of all draws in its first kilobyte, where headers are."""
    return rng.randrange(max(1, min(len(data), 1024 if rng.random() < 0.5 else len(data))))


def _flip(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data or b"\0")
    for _ in range(rng.choice((1, 1, 4, 32))):
        changed[_place(data, rng)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _cut(data: bytes, rng: random.Random) -> bytes:
    return data[: _place(data, rng)]


def _drop(data: bytes, rng: random.Random) -> bytes:
    start = _place(data, rng)
    return data[:start] + data[start + rng.choice((1, 4, 64, 4096)) :]


def _repeat(data: bytes, rng: random.Random) -> bytes:
    start = _place(data, rng)
    piece = data[start : start + rng.choice((1, 8, 256))]
    return data[:start] + piece * rng.choice((2, 3, 100)) + data[start:]


def _number(data: bytes, rng: random.Random) -> bytes:
    """A whole number of 4 or 8 bytes, as sizes and counts are."""
    start, width = _place(data, rng), rng.choice((4, 8))
    value = rng.choice(SIZES) & ((1 << 8 * width) - 1)
    return data[:start] + value.to_bytes(width, "little") + data[start + width :]


def _word(data: bytes, rng: random.Random) -> bytes:
    """A token of the first 64 KiB replaced by a word."""
    tokens = list(_TOKEN.finditer(data[: 1 << 16]))
    if not tokens:
        return _flip(data, rng)
    token = rng.choice(tokens)
    return data[: token.start()] + rng.choice((*WORDS, *LONG)) + data[token.end() :]


def _insert(data: bytes, rng: random.Random) -> bytes:
    start = _place(data, rng)
    return data[:start] + rng.choice((*WORDS, *LONG, rng.randbytes(64))) + data[start:]


def _head(data: bytes, rng: random.Random) -> bytes:
    head = rng.choice(HEADS)
    return head if rng.random() < 0.3 else head + data[len(head) :]


CHANGES: tuple[Change, ...] = (_flip, _flip, _cut, _drop, _repeat, _number, _word, _word, _insert, _head)
