"""Whatever a parser raises is one line with the file; a full disk is one line and leaves nothing."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from common.disk.faults import ToldError, UnwrittenError, reading, writing
from common.disk.files import read_json, replacing, write_json
from experts.formats.ply import write_ply
from experts.formats.torch_files import save_tensors

ANY = [
    RecursionError("maximum recursion depth exceeded"),
    OverflowError("too large"),
    zipfile.BadZipFile("File is not a zip file"),
    EOFError("No data left in file"),
    IndexError("list index out of range"),
    KeyError("moments"),
    MemoryError(),
    OSError("cannot identify image file"),
    RuntimeError("first line\nsecond line"),
]


class WrongError(ToldError, ValueError):
    """A told error for these tests."""


@pytest.mark.parametrize("fault", ANY, ids=lambda fault: type(fault).__name__)
def test_whatever_a_parser_raises_is_one_line_with_the_file(fault: Exception) -> None:
    with (
        pytest.raises(WrongError) as caught,
        reading(Path("a/b.pt"), "not a readable state", WrongError, advice="copy it again"),
    ):
        raise fault
    text = str(caught.value)
    assert text.startswith("a/b.pt: not a readable state (") and text.endswith("); copy it again")
    assert "\n" not in text and caught.value.__cause__ is fault


@pytest.mark.parametrize(
    "fault",
    [WrongError("told"), FileNotFoundError(errno.ENOENT, "No such file or directory", "a"), KeyboardInterrupt()],
)
def test_told_errors_missing_files_and_interrupts_pass_through(fault: BaseException) -> None:
    with pytest.raises(type(fault)) as caught, reading(Path("a"), "not a readable state", WrongError, advice=""):
        raise fault
    assert caught.value is fault


def test_a_json_file_nested_too_deep_is_no_json(tmp_path: Path) -> None:
    (tmp_path / "deep.json").write_text("[" * 200_000)
    with pytest.raises(ValueError):
        read_json(tmp_path / "deep.json")


WRITERS: dict[str, Callable[[Path], object]] = {
    "pt": lambda path: save_tensors({"x": torch.zeros(100_000)}, path),
    "ply": lambda path: write_ply(path, ("x",), np.zeros((100_000, 1), np.float32)),
    "json": lambda path: write_json(path, ["x" * 100] * 10_000),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_a_file_that_may_not_grow_is_one_line_and_leaves_nothing(tmp_path: Path, kind: str) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(UnwrittenError, match=rf"a\.{kind}: cannot be written \(.+\); free space"):
            WRITERS[kind](tmp_path / f"a.{kind}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.iterdir())


def test_a_full_disk_names_what_was_asked_for(tmp_path: Path) -> None:
    hidden, full = tmp_path / "hidden", os.strerror(errno.ENOSPC)

    def told(fault: OSError, made_in: Path | None = hidden) -> str:
        outer, inner = writing(tmp_path / "a.ply", made_in=made_in), writing(hidden / "b.ply")
        with pytest.raises(OSError) as caught, outer, inner:
            raise fault
        return str(caught.value)

    copied = OSError(errno.ENOSPC, full, "/tmp/x", None, str(hidden / "b.ply"))
    wanted = f"{tmp_path / 'a.ply'}: cannot be written ({full}); free space on its disk, or choose another folder"
    assert told(copied) == told(OSError(errno.ENOSPC, full)) == wanted
    assert told(OSError("9 requested and 4 written")) == wanted, "numpy's words"
    assert told(copied, None) == str(copied) and str(hidden) in told(OSError(errno.ENOSPC, full), None)
    elsewhere = OSError(errno.ENOSPC, full, str(tmp_path / "cache"))
    assert told(elsewhere) == str(elsewhere), "another disk is full"


def test_a_copy_onto_a_full_disk_names_the_file_that_was_to_be_written(tmp_path: Path) -> None:
    def told(fault: OSError) -> str:
        with pytest.raises(OSError) as caught, replacing(tmp_path / "a.ply") as temporary:
            fault.filename2 = str(temporary)  # as of shutil.copyfile
            raise fault
        return str(caught.value)

    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/elsewhere/b.ply")
    assert told(full).startswith(f"{tmp_path / 'a.ply'}: cannot be written ({os.strerror(errno.ENOSPC)}); free space")
    unread = OSError(errno.EIO, os.strerror(errno.EIO), "/elsewhere/b.ply")
    assert told(unread) == str(unread), "the fault may be the source's"


def test_other_faults_of_the_file_system_keep_their_words() -> None:
    fault = PermissionError(errno.EACCES, os.strerror(errno.EACCES), "a")
    with pytest.raises(PermissionError) as caught, writing(Path("a")):
        raise fault
    assert caught.value is fault


def test_the_boundary_is_light() -> None:
    heavy = "import sys, common.disk.faults; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", heavy], check=False).returncode == 0
