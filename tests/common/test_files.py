from __future__ import annotations

import json
import math
import os
from contextlib import suppress
from pathlib import Path

import pytest

from common.disk.files import file_hash, files_hash, put_in_place, replacing, replacing_folder, write_json
from tests.scenes.preparation.stand_in import Killed, killed_at


@pytest.mark.parametrize("fault", [RuntimeError, KeyboardInterrupt])
def test_a_failed_write_leaves_the_old_file_alone(tmp_path, fault):
    path = write_json(tmp_path / "deep" / "a.json", {"a": 1})
    with pytest.raises(fault), replacing(path) as temporary:
        temporary.write_text("half")
        raise fault
    assert json.loads(path.read_text()) == {"a": 1}
    assert [file.name for file in path.parent.iterdir()] == ["a.json"]


@pytest.mark.parametrize("fault", [RuntimeError, KeyboardInterrupt])
def test_a_failed_write_leaves_the_old_folder_alone(tmp_path, fault):
    folder = tmp_path / "deep" / "a"
    with replacing_folder(folder) as temporary:
        (temporary / "file").write_text("old")
    with pytest.raises(fault), replacing_folder(folder) as temporary:
        (temporary / "file").write_text("half")
        raise fault
    assert [(path.name, path.read_text()) for path in folder.iterdir()] == [("file", "old")]
    assert list(folder.parent.iterdir()) == [folder]


def test_a_folder_takes_the_place_of_another(tmp_path):
    folder = tmp_path / "a"
    for name in ("first", "second"):
        with replacing_folder(folder) as temporary:
            assert not list(temporary.iterdir())
            (temporary / name).touch()
        assert [path.name for path in folder.iterdir()] == [name]
    (tmp_path / "plain").mkdir()
    assert folder.stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "plain"]


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        (1, {"images": "old", "sparse": "old"}),
        (2, {"images": "old"}),
        (3, {}),
        (4, {"images": "new"}),
        (5, {"images": "new", "sparse": "new"}),
    ],
)
def test_killed_in_between_new_folders_never_stand_beside_old_ones(tmp_path, monkeypatch, operation, expected):
    sources, targets = ([tmp_path / state / name for name in ("images", "sparse")] for state in ("new", "old"))
    for folder in (*sources, *targets):
        folder.mkdir(parents=True)
        (folder / folder.parent.name).touch()
    with killed_at(monkeypatch, operation), suppress(Killed):
        put_in_place(dict(zip(sources, targets, strict=True)), aside=tmp_path / "aside")
    assert {path.parent.name: path.name for path in (tmp_path / "old").glob("*/*")} == expected


@pytest.mark.parametrize("move", range(4))
def test_after_an_error_the_old_folders_stand_where_they_stood(tmp_path, monkeypatch, move):
    sources, targets = ([tmp_path / state / name for name in ("images", "sparse")] for state in ("new", "old"))
    for folder in (*sources, *targets):
        folder.mkdir(parents=True)
        (folder / folder.parent.name).touch()
    real, calls = os.replace, []

    def failing(source, target):
        calls.append(target)
        if len(calls) == move + 1:
            raise OSError("no space left")
        real(source, target)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(OSError, match="no space left"):
        put_in_place(dict(zip(sources, targets, strict=True)), aside=tmp_path / "aside")
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.glob("[no]*/*/*")} == {
        *("old/images/old", "old/sparse/old", "new/images/new", "new/sparse/new")
    }


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
