"""Leftovers of killed processes are swept; files of living ones stay."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.disk.files import replacing, replacing_aside, replacing_folder
from common.disk.leftovers import sweep, sweep_beside

ROOT = Path(__file__).resolve().parents[2]
WRITE = """
import sys, time
from contextlib import ExitStack
from pathlib import Path
from common.disk.files import replacing, replacing_folder
root = Path(sys.argv[1])
with ExitStack() as stack:
    stack.enter_context(replacing(root / "videos" / "video_MoE.mp4")).write_bytes(b"half")
    (stack.enter_context(replacing_folder(root / "router" / "iteration_5")) / "router.json").write_text("half")
    print("written", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process in the middle of writing a file and a folder."""
    command = [sys.executable, "-c", WRITE, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "written\n"
        yield process
        process.kill()


def unfinished(root: Path) -> set[str]:
    return {path.name for path in root.rglob(".saving_*")}


def test_only_what_dead_processes_left_is_swept(tmp_path: Path, writer: subprocess.Popen[str]) -> None:
    assert len(unfinished(tmp_path)) == 2
    assert sweep(tmp_path) == [] and len(unfinished(tmp_path)) == 2
    writer.kill()
    writer.wait()
    assert len(unfinished(tmp_path)) == 2, "a kill leaves them"
    assert len(sweep(tmp_path)) == 2 and not unfinished(tmp_path)


def test_files_of_others_and_links_stay(tmp_path: Path) -> None:
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    (outside / "kept").mkdir(parents=True)
    inside.mkdir()
    (inside / ".saving_link").symlink_to(outside)
    (inside / ".hidden.123.mp4").touch()
    (inside / "folder").symlink_to(outside)
    (outside / ".saving_x").touch()
    assert sweep(inside) == []
    assert (outside / "kept").is_dir() and (outside / ".saving_x").is_file() and (inside / ".hidden.123.mp4").is_file()


def test_own_work_in_progress_is_not_swept(tmp_path: Path) -> None:
    with replacing(tmp_path / "a.txt") as file, replacing_folder(tmp_path / "b") as folder:
        file.write_text("a")
        (folder / "c").touch()
        assert sweep(tmp_path) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "b"]


def test_a_target_is_rid_of_its_own_leftovers_alone(tmp_path: Path, writer: subprocess.Popen[str]) -> None:
    targets = tmp_path / "videos" / "video_MoE.mp4", tmp_path / "router" / "iteration_5"
    others = tmp_path / "videos" / "video.mp4", tmp_path / "videos" / "video_MoE", tmp_path / "router" / "iteration_55"
    assert not any(sweep_beside(path) for path in targets), "a living process writes them"
    writer.kill()
    writer.wait()
    assert not any(sweep_beside(path) for path in (*others, tmp_path / "none" / "a")) and len(unfinished(tmp_path)) == 2
    assert all(len(sweep_beside(path)) == 1 for path in targets) and not unfinished(tmp_path)


def test_what_is_replaced_while_it_is_made_is_held_all_the_time(tmp_path: Path) -> None:
    path = tmp_path / f"{'ä' * 120}.txt"  # as long as names may be: 244 bytes
    with replacing_aside(path) as staged:
        assert staged.read_bytes() == b""
        with replacing(staged) as again:
            again.write_text("a")
            assert sweep_beside(path) == []
        assert sweep_beside(path) == [] and not path.exists()
    assert path.read_text() == "a" and not unfinished(tmp_path)
