"""An export leaves nothing behind where its disk is full, or where it was killed and the next one has run."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import moegs
from common.disk.faults import UnwrittenError
from engine.commands import export
from engine.export.formats import format_of
from engine.export.job import Export
from engine.export.quality import QUALITIES
from engine.export.writing import write_export
from engine.runs.run import Run
from engine.runs.saved.loading import load_run
from tests.small_world import small_run

ROOT = Path(__file__).resolve().parents[3]
HALF = """
import sys, time
from pathlib import Path
from common.disk.files import replacing_aside, replacing_folder
path = Path(sys.argv[1])
with replacing_aside(path) if path.suffix else replacing_folder(path):
    print("written", flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("name", ["a.ply", "a.html", "a.4dgs", "frames"])
def test_a_full_disk_is_told_of_the_path_that_was_asked_for(tmp_path: Path, name: str) -> None:
    run = small_run(tmp_path)
    job = Export(run=run, expert=run.experts[0], quality=QUALITIES["small"], fps=30)
    path = tmp_path / name
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(UnwrittenError) as caught:
            write_export(job, format_of(path), path, frames=1, facts={})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(caught.value).startswith(f"{path}: cannot be written (File too large); free space on its disk")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a.ply", "frames"])
def test_what_a_killed_export_left_is_swept(save_path: Path, name: str) -> None:
    path = save_path / name
    command = [sys.executable, "-c", HALF, str(path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "written\n"
        process.kill()
    assert len(list(save_path.glob(".saving_*"))) == 1
    words = [str(save_path), f"--to={path}", "--content=E-D3DGS", "--test_frames=1", "--quiet"]
    assert moegs.main(["export", *words]) == 0
    assert path.exists() and not list(save_path.glob(".saving_*"))


@pytest.mark.parametrize("name", ["a.ply", "frames"])
def test_of_two_at_the_same_time_the_second_is_refused(
    save_path: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    place = tmp_path / "exports"
    given = ["export", str(save_path), f"--to={place / name}", "--content=E-D3DGS", "--test_frames=1", "--quiet"]
    codes = []

    def with_another(*arguments: Any, **named: Any) -> Run:
        monkeypatch.setattr(export, "load_run", load_run)
        codes.append(moegs.main(given))
        return load_run(*arguments, **named)

    monkeypatch.setattr(export, "load_run", with_another)
    assert moegs.main(given) == 0 and codes == [2]
    told = f"error: {place / name}: another command writes here; wait for it or end it, or choose another --to\n"
    assert capsys.readouterr().err == told
    assert [path.name for path in place.iterdir()] == [name], "whole, and no lock is left"
