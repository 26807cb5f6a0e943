"""A few damaged files of the kinds that are quick to read; the full counts: python -m tests.fuzz all."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.forked import CRASH, HANG, MEMORY, READ, REFUSED, TRACEBACK, forked
from tests.fuzz.mutations import mutated

ROOT = Path(__file__).resolve().parents[2]
QUICK = ("cfg-args", "config", "packed", "ply-freetime", "camera-path", "poses-bounds", "cache", "points.npz", "png")


def test_damaged_files_are_read_or_refused_in_one_line() -> None:
    command = [sys.executable, "-m", "tests.fuzz", *QUICK, "--count", "12"]
    end = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert end.returncode == 0, end.stdout + end.stderr
    assert [line.partition(":")[0] for line in end.stdout.splitlines()] == list(QUICK)


def test_the_same_seed_damages_a_file_in_the_same_way() -> None:
    data = b'{"iterations": 500, "near": 0.5}' * 40
    changed = [mutated(data, random.Random(number)) for number in range(200)]
    assert changed == [mutated(data, random.Random(number)) for number in range(200)]
    assert data not in changed and len(set(changed)) > 150


def _crash() -> None:
    import os

    os.abort()


def _hang() -> None:
    while True:
        pass


def _told() -> None:
    from engine.errors import ConfigError

    raise ConfigError("a.json: damaged; mend it")


def _lines() -> None:
    from engine.errors import ConfigError

    raise ConfigError("two\nlines")


@pytest.mark.parametrize(
    ("work", "kind"),
    [
        (lambda: None, READ),
        (_told, REFUSED),
        (_lines, TRACEBACK),
        (lambda: {}["missing"], TRACEBACK),
        (_crash, CRASH),
        (_hang, HANG),
        (lambda: bytearray(1 << 32), MEMORY),
    ],
)
def test_every_way_to_end_is_told_apart(work, kind: str) -> None:
    assert forked(work, seconds=1.0 if kind == HANG else 20.0, extra_bytes=1 << 28).kind == kind
