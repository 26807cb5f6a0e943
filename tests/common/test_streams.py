"""Closed streams, readers that go away, and SIGTERM."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SPEAKS = """
import os, sys
from pathlib import Path
from common.streams import kept_streams
with kept_streams():
    with open(sys.argv[1], "w") as file:
        os.write(2, b"noise of a library")
        print("told", file=sys.stderr)
        file.write("whole")
    for number in range(100_000):
        print(number)
    Path(sys.argv[1] + ".done").touch()
"""


def shell(line: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a line of bash that fails where any command of its pipe fails; $0 is this Python."""
    command = ["bash", "-c", f"set -o pipefail; {line}", sys.executable, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("closed", ["2>&-", ">&-", "<&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_put_nothing_into_other_files(tmp_path: Path, closed: str) -> None:
    end = shell(f'"$0" -c "$1" "$2" {closed}', SPEAKS, tmp_path / "file")
    assert end.returncode == 0
    assert (tmp_path / "file").read_text() == "whole"


def test_the_work_goes_on_when_nobody_reads(tmp_path: Path) -> None:
    end = shell('"$0" -c "$1" "$2" 2>&1 | head -1', SPEAKS, tmp_path / "file")
    assert (end.returncode, end.stderr) == (0, "") and end.stdout.count("\n") == 1
    assert (tmp_path / "file.done").is_file()


@pytest.mark.parametrize("arguments", ["moegs.py --help", "moegs.py render --help", "render_E4.py --help"])
def test_help_into_head_ends_well(arguments: str) -> None:
    end = shell(f'"$0" {arguments} | head -1')
    assert (end.returncode, end.stderr) == (0, "") and end.stdout.startswith("usage: ")


def test_a_command_without_standard_error_keeps_its_exit_code(tmp_path: Path) -> None:
    assert shell('"$0" moegs.py rendr 2>&-').returncode == 2
    assert shell('"$0" moegs.py --help 2>&-').returncode == 0


TERMINATED = """
import os, signal, sys, time
from engine.settings.parsing.command_line import exit_code
with exit_code([]) as code:
    {before}
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
    finally:
        print("cleaned")
sys.exit(code.value)
"""


@pytest.mark.parametrize("before", ["pass", "from scenes.preparation.sfm.matching import pycolmap_module as p; p()"])
def test_sigterm_cleans_up_and_says_so(before: str) -> None:
    command = [sys.executable, "-c", TERMINATED.format(before=before)]
    end = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert (end.returncode, end.stdout, end.stderr) == (130, "cleaned\n", "interrupted\n")
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
