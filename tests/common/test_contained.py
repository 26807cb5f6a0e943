"""Names from files stay below their folder, and no link or pipe stands for a file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from common.disk.contained import OutsideError, below, not_followed, own_folder, read_text, regular
from common.disk.files import replacing
from common.disk.locks import folder_lock


def test_a_name_below_its_folder_is_kept(tmp_path: Path) -> None:
    assert below(tmp_path, "cam00/000000.png") == tmp_path / "cam00" / "000000.png"
    (tmp_path / "link").symlink_to("/etc")
    assert below(tmp_path, "link") == tmp_path / "link"  # the link itself, as it would be removed


@pytest.mark.parametrize("name", ["../victim", "a/../../victim", "/etc/victim", "", ".", "a\0b", 3, None, ["a"]])
def test_a_name_that_leads_out_is_refused(tmp_path: Path, name: object) -> None:
    with pytest.raises(OutsideError, match="remove the file that holds this name"):
        below(tmp_path, name)


def test_a_link_on_the_way_that_leads_out_is_refused(tmp_path: Path) -> None:
    scene, other = tmp_path / "scene", tmp_path / "other"
    scene.mkdir(), other.mkdir()
    (scene / "sparse").symlink_to(other)
    (scene / "round").symlink_to(scene / "round")
    for name in ("sparse/0", "round/0"):
        with pytest.raises(OutsideError, match="by a link"):
            below(scene, name)
    with pytest.raises(OutsideError, match=r"is a link to .*other"):
        own_folder(scene, "sparse", "0")
    assert own_folder(scene, "new", "0") == scene / "new" / "0"


def test_links_and_pipes_are_not_written_to_or_waited_for(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "link").symlink_to(victim)
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe"):
        with pytest.raises(OSError), open(tmp_path / name, "a", opener=not_followed):
            pass
    for read in (regular, read_text):
        with pytest.raises(OSError, match="a pipe or device stands in the place of a file"):
            read(tmp_path / "pipe")
    assert read_text(tmp_path / "link") == "mine"


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_a_planted_lock_is_refused(tmp_path: Path, kind: str) -> None:
    victim = tmp_path / "victim"
    if kind == "link":
        (tmp_path / ".lock").symlink_to(victim)
    else:
        os.mkfifo(tmp_path / ".lock")
    with pytest.raises(OSError), folder_lock(tmp_path):
        pass
    assert not victim.exists()


def test_temporary_names_cannot_be_foreseen(tmp_path: Path) -> None:
    with replacing(tmp_path / "a.json") as first, replacing(tmp_path / "a.json") as second:
        assert first != second
        assert first.suffix == second.suffix == ".json"
        first.touch(), second.touch()
