"""Ctrl-C is one line, also while a command is still imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
INTERRUPTED_IMPORT = """
import runpy, sys
interrupted, *sys.argv = sys.argv[1:]
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == interrupted:
            raise KeyboardInterrupt
sys.meta_path.insert(0, Finder())
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.parametrize("module", ["tyro", "torch"])
@pytest.mark.parametrize("command", [["moegs.py", "prune"], ["train_E4.py"], ["render_E3.py"]], ids=lambda one: one[0])
def test_an_interrupt_of_an_import_is_one_line(module: str, command: list[str], tmp_path: Path) -> None:
    folders = ["--out", str(tmp_path / "new"), str(tmp_path)] if "prune" in command else ["--save_path", str(tmp_path)]
    ended = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_IMPORT, module, *command, *folders],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "interrupted\n")
