"""A few kills of small commands; the full counts: python -m tests.kill all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.kill.whole import damaged, fingerprint, unfinished

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("command", ["train", "render"])
def test_a_killed_command_leaves_whole_files_and_can_be_repeated(command: str) -> None:
    given = [sys.executable, "-m", "tests.kill", command, "--count", "2"]
    end = subprocess.run(given, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert end.returncode == 0, end.stdout + end.stderr
    assert end.stdout == f"{command}: whole 2\n"


def test_half_files_and_leftovers_are_seen(tmp_path: Path) -> None:
    Image.new("RGB", (40, 30), (1, 2, 3)).save(tmp_path / "a.png")
    (tmp_path / "b.json").write_text("{}")
    assert damaged(tmp_path) == [] and unfinished(tmp_path) == []
    before = fingerprint(tmp_path)
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:60])
    (tmp_path / "b.json").write_text("{")
    (tmp_path / ".saving_c.1.png").touch()
    assert [line.partition(" ")[0] for line in damaged(tmp_path)] == ["a.png", "b.json"]
    assert unfinished(tmp_path) == [".saving_c.1.png"]
    assert fingerprint(tmp_path)["a.png"] != before["a.png"] and fingerprint(tmp_path).keys() == before.keys()
