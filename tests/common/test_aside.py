from __future__ import annotations

import os
from pathlib import Path

import pytest

from common.disk.aside import is_set_aside, set_aside


def files(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a/1/x", "a/2/y", "mine/z", "b"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


def test_entries_keep_their_places_below_the_first_free_number(folder):
    assert set_aside(folder, [folder / "a" / "1", folder / "b", folder / "none"]) == folder / "old-1"
    assert files(folder) == {"old-1/a/1/x": "a/1/x", "old-1/b": "b", "a/2/y": "a/2/y", "mine/z": "mine/z"}
    assert set_aside(folder, [folder / "a" / "2"]) == folder / "old-2"
    assert files(folder) == {"old-1/a/1/x": "a/1/x", "old-1/b": "b", "old-2/a/2/y": "a/2/y", "mine/z": "mine/z"}
    assert is_set_aside(folder / "old-2") and not is_set_aside(folder / "old-2" / "a")


def test_nothing_to_move_makes_no_folder(folder):
    before = files(folder)
    assert set_aside(folder, [folder / "none"]) is None
    assert files(folder) == before and not (folder / "old-1").exists()


def test_after_an_error_everything_is_where_it_was(folder, monkeypatch):
    before, rename = files(folder), os.rename

    def failing(source, target):
        if Path(source) == folder / "b":
            raise OSError("no space")
        rename(source, target)

    monkeypatch.setattr(os, "rename", failing)
    with pytest.raises(OSError, match="no space"):
        set_aside(folder, [folder / "a" / "1", folder / "a" / "2", folder / "b"])
    assert files(folder) == before and not (folder / "old-1").exists()


def test_a_link_moves_as_a_link(folder):
    (folder / "link").symlink_to(folder / "mine")
    set_aside(folder, [folder / "link"])
    assert (folder / "old-1" / "link").is_symlink() and (folder / "mine" / "z").is_file()
