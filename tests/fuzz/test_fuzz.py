"""A few damaged files of the kinds that are quick to read; the full counts: python -m tests.fuzz all."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.forked import CRASH, HANG, MEMORY, READ, REFUSED, TRACEBACK, forked
from tests.fuzz.__main__ import CHANGED, WRONG, fuzz
from tests.fuzz.mutations import mutated
from tests.fuzz.samples import Sample
from tests.fuzz.values import values_hash

ROOT = Path(__file__).resolve().parents[2]
QUICK = (
    *("cfg-args", "config", "packed", "ply-freetime", "camera-path", "poses-bounds", "cache", "points.npz", "png"),
    *("step-record", "stg-decoder"),
)


def test_damaged_files_are_read_or_refused_in_one_line() -> None:
    command = [sys.executable, "-m", "tests.fuzz", *QUICK, "--count", "12"]
    end = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert end.returncode == 0, end.stdout + end.stderr
    assert [line.partition(":")[0] for line in end.stdout.splitlines()] == list(QUICK)


def test_other_values_are_wrong_where_a_format_can_tell_and_changed_where_it_cannot() -> None:
    def make(folder: Path) -> Sample:
        file = folder / "numbers"
        file.write_bytes(bytes(range(100)) * 10)
        return Sample(file=file, read=lambda: file.read_bytes()[:500])  # the rest is not looked at

    told: list[str] = []
    checked = fuzz("numbers", make, 40, checked=True, tell=told.append)
    assert checked[WRONG] > 0 and checked[READ] > 0 and checked[WRONG] + checked[READ] == 40
    assert len(told) == checked[WRONG]
    assert told[0].endswith("wrong: other values than the good file's")
    plain = fuzz("numbers", make, 40, checked=False, tell=told.append)
    assert (plain[CHANGED], plain[READ]) == (checked[WRONG], checked[READ])
    assert len(told) == checked[WRONG]


def test_values_that_differ_in_a_bit_have_another_hash() -> None:
    def value(number: float = 1.0, name: str = "a", size: int = 3) -> object:
        layer = torch.nn.Linear(2, 2)
        torch.nn.init.constant_(layer.weight, number)
        torch.nn.init.zeros_(layer.bias)
        return {"layer": layer, "names": (name, None), "path": Path("x"), "rest": np.zeros(size, np.uint8)}

    assert values_hash(value()) == values_hash(value())
    others = [value(number=1 + 1e-7), value(name="b"), value(size=4), {**value(), "more": 1}]
    assert len({values_hash(one) for one in [value(), *others]}) == 5


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
