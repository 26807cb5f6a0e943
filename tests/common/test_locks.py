"""Locks of folders, against a second process."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest
from filelock import FileLock, Timeout

from common.disk.leftovers import sweep_beside
from common.disk.locks import folder_lock, only_one, only_writer

ROOT = Path(__file__).resolve().parents[2]
HOLD = """
import sys, time
from pathlib import Path
from common.disk.locks import folder_lock
with folder_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds the lock of the folder until it is killed."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_others_wait_until_the_process_that_holds_it_is_dead(tmp_path, holder):
    entered = threading.Event()

    def enter() -> None:
        with folder_lock(tmp_path):
            entered.set()

    thread = threading.Thread(target=enter)
    thread.start()
    with pytest.raises(Timeout):
        FileLock(tmp_path / ".lock").acquire(blocking=False)
    assert not entered.is_set()
    holder.kill()
    thread.join()
    assert entered.is_set()
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_it_is_free_again_after_use_and_after_errors(tmp_path):
    with pytest.raises(RuntimeError, match="raised inside"), folder_lock(tmp_path):
        raise RuntimeError("raised inside")
    with folder_lock(tmp_path):
        assert (tmp_path / ".lock").stat().st_size == 0


def test_a_folder_that_cannot_be_locked_is_an_oserror(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError), folder_lock(tmp_path / "file"):
        pass


ALONE = HOLD.replace("folder_lock", "only_one").replace("(Path(sys.argv[1]))", "(Path(sys.argv[1]), OSError())")


def test_the_second_of_two_is_refused_and_leaves_nothing(tmp_path):
    folder = tmp_path / "deep" / "run"
    refusal = RuntimeError("taken")
    command = [sys.executable, "-c", ALONE, str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        with pytest.raises(RuntimeError, match="taken"), only_one(folder, refusal):
            pass
        process.kill()
        process.wait()
    with only_one(folder, refusal), pytest.raises(RuntimeError, match="taken"), only_one(folder, refusal):
        pass
    assert folder.is_dir() and not list(folder.iterdir()), "the first made it"


@pytest.mark.parametrize("name", ["run", "a.ply"])
def test_the_second_writer_of_a_path_is_refused_and_what_a_killed_one_leaves_is_swept(tmp_path, name):
    path, refusal = tmp_path / "deep" / name, RuntimeError("taken")
    command = [sys.executable, "-c", ALONE.replace("only_one", "only_writer"), str(path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        with pytest.raises(RuntimeError, match="taken"), only_writer(path, refusal):
            pass
        assert not sweep_beside(path) and len(list(path.parent.iterdir())) == 1
        process.kill()
        process.wait()
    assert len(sweep_beside(path)) == 1 and not list(path.parent.iterdir())
    with only_writer(path, refusal), only_writer(path.with_name(f"other_{name}"), refusal):
        path.mkdir()
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_that_was_made_for_the_lock_alone_goes_again(tmp_path):
    with pytest.raises(ValueError), only_one(tmp_path / "deep" / "run", RuntimeError()):
        raise ValueError
    assert not list(tmp_path.iterdir())
    with only_one(tmp_path / "run", RuntimeError()):
        (tmp_path / "run" / "result").touch()
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["result"]


def failing(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Let every lock fail with an error of the disk."""

    def flock(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", flock)


@pytest.mark.parametrize("lacking", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
@pytest.mark.filterwarnings("error")
def test_a_file_system_without_locks_keeps_nobody_out(tmp_path, monkeypatch, lacking):
    path, refusal = tmp_path / "new" / "run", ValueError("taken")
    failing(monkeypatch, lacking)
    locks = [lambda: only_writer(path, refusal), lambda: folder_lock(tmp_path), lambda: only_one(path, refusal)]
    with ExitStack() as stack:
        for lock in locks * 2:
            stack.enter_context(lock())
        (path / "file").touch()
    assert sorted(each.name for each in tmp_path.rglob("*")) == [".lock", "file", "new", "run"]


@pytest.mark.parametrize("lacking", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_files_that_locks_left_keep_nobody_out_either(tmp_path, monkeypatch, lacking):
    """Those of killed commands, and of computers that have locks on the same disk."""
    for name in (".lock", ".training.lock", ".saving_a.lock.ply"):
        (tmp_path / name).touch()
    failing(monkeypatch, lacking)
    monkeypatch.setattr("time.sleep", lambda _: pytest.fail("waits for a lock that nobody holds"))
    refusal = ValueError("taken")
    with folder_lock(tmp_path), only_one(tmp_path, refusal), only_writer(tmp_path / "a.ply", refusal):
        pass
    assert [each.name for each in tmp_path.iterdir()] == [".lock"]


@pytest.mark.parametrize("lock", [folder_lock, lambda path: only_one(path / "a" / "b", ValueError("taken"))])
def test_a_disk_that_fails_is_told_and_nothing_is_left(tmp_path, monkeypatch, lock):
    failing(monkeypatch, errno.EIO)
    with pytest.raises(OSError, match=rf"{os.strerror(errno.EIO)}: '{tmp_path}.*lock'"), lock(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def test_a_disk_that_fails_leaves_the_lock_of_another(tmp_path, monkeypatch):
    (tmp_path / ".training.lock").touch()
    failing(monkeypatch, errno.EIO)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)), only_one(tmp_path, ValueError("taken")):
        pass
    assert [each.name for each in tmp_path.iterdir()] == [".training.lock"]
