"""moegs.py doctor: what it finds, what it advises, and its exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from moegs_rasterizer import RasterizerError, cpu
from moegs_rasterizer.compile import cpp_library

import engine.doctor.environment
import engine.doctor.rasterizer
import moegs
from engine.doctor.environment import CONSTRAINTS, NEEDED, constraints, disk
from engine.doctor.findings import Finding

Doctor = Callable[[], tuple[int, dict[str, str], str]]


@pytest.fixture
def doctor(capsys: pytest.CaptureFixture[str]) -> Doctor:
    """Runs the command: its exit code, its lines by subject, and what there is to do."""

    def run() -> tuple[int, dict[str, str], str]:
        code = moegs.main(["doctor"])
        printed = capsys.readouterr().out
        lines, to_do = printed.split("\n\n")
        return code, {line[7:].split("  ")[0]: line for line in lines.splitlines()}, to_do

    return run


def test_this_installation_can_be_used(doctor: Doctor) -> None:
    code, lines, to_do = doctor()
    assert code == 0, to_do
    for name in ("Python", "packages", "memory", "disk, here", "PyTorch", "C++ library", 'back-end "torch"'):
        assert not lines[name].startswith("fault"), lines[name]
    if cpu.unavailable_reason() is None:
        assert "differs from the oracle by" in lines['back-end "cpu"']


def test_a_back_end_that_draws_something_else_is_a_fault(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.doctor.rasterizer, "differences_from_oracle", lambda compute: {"colour": 0.5})
    code, lines, to_do = doctor()
    assert code == 1
    assert lines['back-end "cpu"'].startswith("fault") and "differs from the oracle by 0.5" in lines['back-end "cpu"']
    assert "python -m moegs_rasterizer.build --force" in to_do


def test_a_back_end_that_fails_or_cannot_run_is_a_fault(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(compute: object) -> dict[str, float]:
        raise RasterizerError("the operator is not there")

    with monkeypatch.context() as patched:
        patched.setattr(engine.doctor.rasterizer, "differences_from_oracle", fails)
        code, lines, _ = doctor()
        assert (code, lines['back-end "torch"'][:5]) == (1, "fault")
    monkeypatch.setattr(cpu, "unavailable_reason", lambda: "no C++ compiler found; install one")
    code, lines, to_do = doctor()
    assert (code, lines['back-end "cpu"'][:5]) == (1, "fault")
    assert 'back-end "cpu": no C++ compiler found; install one' in to_do


def test_a_gpu_that_pytorch_cannot_use_is_a_fault(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.doctor.rasterizer, "gpu_here", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    code, lines, to_do = doctor()
    assert code == 1
    assert lines["GPU"].startswith("fault") and "nvidia-smi" in to_do


def test_damaged_and_old_libraries_are_named(doctor: Doctor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    nothing = Finding(subject="back-end", found="not asked")
    monkeypatch.setattr(engine.doctor.rasterizer, "_rendering", lambda backend, device: nothing)
    monkeypatch.setenv("MOEGS_RASTERIZER_CACHE", str(tmp_path))
    library = cpp_library.cache_folder() / "compiler" / cpp_library.LIBRARY_NAME
    old = tmp_path / "0123456789abcdef" / "compiler" / cpp_library.LIBRARY_NAME
    for path in (library, old):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"cut short")
    library.with_name(library.name + ".sha256").write_text("0" * 64)
    code, lines, _ = doctor()
    assert code == 0
    assert lines["C++ library"].startswith("note") and str(library) in lines["C++ library"]
    assert "1 folder of other sources" in lines["old libraries"]


def test_missing_and_other_packages(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    original = engine.doctor.environment._version

    def version(name: str) -> str | None:
        return {"pycolmap": None, "scipy": "0.1"}.get(name, original(name))

    monkeypatch.setattr(engine.doctor.environment, "_version", version)
    code, lines, to_do = doctor()
    assert code == 1
    assert lines["pycolmap"].split() == ["fault", "pycolmap", "not", "installed"]
    assert lines["scipy"].startswith("note") and "0.1, tested with " in lines["scipy"]
    assert "pip install -r requirements.txt -c constraints.txt" in to_do


def test_a_pytorch_that_cannot_be_imported_is_a_fault(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "engine.doctor.rasterizer", None)  # importing it is an ImportError
    code, lines, _ = doctor()
    assert (code, lines["PyTorch"][:5]) == (1, "fault")


def test_an_old_python_is_a_fault(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.doctor.environment, "PYTHONS", ((3, 98), (3, 99)))
    code, lines, to_do = doctor()
    assert (code, lines["Python"][:5]) == (1, "fault")
    assert "use Python 3.98 to 3.99" in to_do


def test_constraints_are_read_for_each_python() -> None:
    text = CONSTRAINTS.read_text(encoding="utf-8")
    old, new = constraints(text, (3, 10)), constraints(text, (3, 12))
    assert old.keys() == new.keys() and old["numpy"] != new["numpy"] and old["torch"] == new["torch"]
    assert set(NEEDED) <= new.keys()
    with pytest.raises(ValueError, match="no NAME==VERSION"):
        constraints("numpy>=2", (3, 11))


def test_disks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert disk("disk", tmp_path / "not" / "there").verdict == "ok"
    monkeypatch.setattr(engine.doctor.environment, "LEAST_DISK", 1e30)
    assert disk("disk", tmp_path).verdict == "note"
    monkeypatch.setattr(engine.doctor.environment.os, "access", lambda path, mode: False)
    assert disk("disk", tmp_path).verdict == "fault"
