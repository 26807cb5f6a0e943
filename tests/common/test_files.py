from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from common.files import file_hash, files_hash, replacing, write_json


@pytest.mark.parametrize("fault", [RuntimeError, KeyboardInterrupt])
def test_a_failed_write_leaves_the_old_file_alone(tmp_path, fault):
    path = write_json(tmp_path / "deep" / "a.json", {"a": 1})
    with pytest.raises(fault), replacing(path) as temporary:
        temporary.write_text("half")
        raise fault
    assert json.loads(path.read_text()) == {"a": 1}
    assert [file.name for file in path.parent.iterdir()] == ["a.json"]


def test_json_is_portable(tmp_path):
    path = write_json(tmp_path / "a.json", {"x": math.inf, "y": [math.nan, 1.5], "p": Path("q"), "n": None})
    assert json.loads(path.read_text()) == {"x": "inf", "y": ["nan", 1.5], "p": "q", "n": None}


def test_a_files_hash_is_sha256(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert file_hash(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_hashes_follow_contents(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_bytes(b"one")
    b.write_bytes(b"two")
    first = files_hash([a, b])
    assert first == files_hash([a, b]) != files_hash([b, a])
    b.write_bytes(b"three")
    assert files_hash([a, b]) != first
