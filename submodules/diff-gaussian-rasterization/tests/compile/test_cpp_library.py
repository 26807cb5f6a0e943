"""The C++ back-end builds once, waits its turn, tells what failed, and is missed without harm."""

from __future__ import annotations

import errno
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from moegs_rasterizer import build, cpu
from moegs_rasterizer.compile import cpp_library, steps

# Writes whatever "-o" names, as a compiler would, and counts its calls.
STAND_IN = """#!/bin/sh
if [ "$1" = --version ]; then echo "stand-in 1.0"; exit; fi
echo call >> "{calls}"
while [ $# -gt 1 ]; do [ "$1" = -o ] && echo built > "$2"; shift; done
"""
FAILING = """#!/bin/sh
if [ "$1" = --version ]; then echo "failing 1.0"; exit; fi
for i in $(seq 60); do echo "complaint $i"; done
exit 3
"""
SLOW_STAND_IN = STAND_IN.replace("echo call", "sleep 0.2; echo call")
BUILDER = """
from moegs_rasterizer.compile import cpp_library
print("ready", flush=True)
input()
print(cpp_library.library().path)
"""
HOLDER = """
import fcntl, sys, time
file = open(sys.argv[1], "w")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(60)
"""
RENDER = """
import warnings
import torch
from moegs_rasterizer import Layer, RasterSettings, rasterize
from moegs_rasterizer.random_scenes import random_scene

gaussians, camera = random_scene(count=5, width=20, height=10, sh_degree=0)
layer = Layer(gaussians=gaussians, settings=RasterSettings(), background=torch.zeros(3))
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for _ in range(3):
        rasterize([layer], camera)
messages = [str(warning.message) for warning in caught if issubclass(warning.category, RuntimeWarning)]
assert len(messages) == 1, messages
print(messages[0])
"""


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("MOEGS_RASTERIZER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def compiler(tmp_path: Path, monkeypatch, script: str) -> Path:
    path = tmp_path / "compiler"
    path.write_text(script.format(calls=tmp_path / "calls"))
    path.chmod(0o755)
    monkeypatch.setenv("CXX", str(path))
    return tmp_path / "calls"


def test_second_call_compiles_nothing(tmp_path, monkeypatch, cache):
    calls = compiler(tmp_path, monkeypatch, STAND_IN)
    first = cpp_library.library()
    count = len(calls.read_text().splitlines())
    second = cpp_library.library()
    assert first.path == second.path
    assert first.seconds > 0
    assert second.seconds == 0
    assert len(calls.read_text().splitlines()) == count > 5
    assert first.path.is_relative_to(cache)
    # The log and the lock stay beside the library; nothing half-built does.
    names = {cpp_library.LIBRARY_NAME, f"{cpp_library.LIBRARY_NAME}.sha256", "build.log", "lock"}
    assert {path.name for path in first.path.parent.iterdir()} == names


def test_real_library_is_found_without_compiling(monkeypatch):
    reason = cpu.unavailable_reason()  # compiles it where it is missing
    if reason is not None:
        pytest.skip(reason)

    def refuse(*arguments):
        raise AssertionError("compiled again")

    monkeypatch.setattr(steps, "_compile", refuse)
    assert cpp_library.library().seconds == 0


def test_library_outlives_its_compiler(tmp_path, monkeypatch, cache):
    compiler(tmp_path, monkeypatch, STAND_IN)
    built = cpp_library.library()
    monkeypatch.setenv("CXX", "/nonexistent")
    assert cpp_library.library() == steps.Built(path=built.path, seconds=0.0)


def test_failure_names_the_log_and_shows_its_end(tmp_path, monkeypatch, cache, caplog):
    compiler(tmp_path, monkeypatch, FAILING)
    with caplog.at_level(logging.ERROR), pytest.raises(steps.BuildError, match="exit status 3") as failure:
        cpp_library.library()
    log = next(cache.glob("*/*/build.log"))
    assert str(log) in str(failure.value)
    assert "\n" not in str(failure.value)
    said = caplog.text.split("\n")
    assert f"complaint {60 - steps.LOG_LINES + 1}" in said
    assert f"complaint {60 - steps.LOG_LINES}" not in said
    assert "complaint 1\n" in log.read_text()
    assert not list(cache.glob(f"*/*/{cpp_library.LIBRARY_NAME}"))


def test_two_processes_at_once_compile_once(tmp_path, monkeypatch, cache):
    calls = compiler(tmp_path, monkeypatch, SLOW_STAND_IN)
    command = [sys.executable, "-c", BUILDER]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    builders = [subprocess.Popen(command, **pipes) for _ in range(2)]
    assert [builder.stdout.readline() for builder in builders] == ["ready\n"] * 2
    for builder in builders:
        builder.stdin.write("\n")
        builder.stdin.flush()
    paths = {builder.communicate(timeout=120)[0].strip() for builder in builders}
    assert [builder.returncode for builder in builders] == [0, 0]
    count = len(calls.read_text().splitlines())
    assert {str(cpp_library.library(force=True).path)} == paths
    assert len(calls.read_text().splitlines()) == 2 * count


def test_lock_of_a_killed_build_does_not_hang(tmp_path, monkeypatch, cache):
    compiler(tmp_path, monkeypatch, STAND_IN)
    folder = cpp_library.library().path.parent
    (folder / cpp_library.LIBRARY_NAME).unlink()
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(folder / "lock")], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"

    monkeypatch.setattr(cpp_library, "LOCK_SECONDS", 0.2)
    with pytest.raises(steps.BuildError, match="another process has held"):
        cpp_library.library()
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert cpp_library.library().path.exists()


@pytest.mark.parametrize("lacking", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
@pytest.mark.filterwarnings("error")
def test_a_disk_without_locks_keeps_no_build_waiting(tmp_path, monkeypatch, cache, lacking):
    def flock(*_):
        raise OSError(lacking, os.strerror(lacking))

    compiler(tmp_path, monkeypatch, STAND_IN)
    folder = cpp_library.library().path.parent
    assert (folder / "lock").exists()
    monkeypatch.setattr("fcntl.flock", flock)
    monkeypatch.setattr(cpp_library, "LOCK_SECONDS", 0.2)
    assert cpp_library.library(force=True).seconds > 0


def test_unwritable_cache_is_named(tmp_path, monkeypatch):
    compiler(tmp_path, monkeypatch, STAND_IN)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MOEGS_RASTERIZER_CACHE", str(tmp_path / "file"))
    with pytest.raises(steps.BuildError, match="MOEGS_RASTERIZER_CACHE"):
        cpp_library.library()


def test_compiler_may_bring_options(tmp_path, monkeypatch, cache):
    calls = compiler(tmp_path, monkeypatch, STAND_IN)
    wrapper = tmp_path / "wrapper"
    wrapper.write_text('#!/bin/sh\nexec "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("CXX", f"{wrapper} {os.environ['CXX']}")
    assert cpp_library.library().path.exists()
    assert calls.exists()


def test_without_compiler_auto_renders_slowly_with_one_warning(tmp_path):
    environment = {**os.environ, "PATH": "", "CXX": "/nonexistent", "MOEGS_RASTERIZER_CACHE": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", RENDER], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "install one" in done.stdout
    assert "apt install g++" in done.stdout


def test_command_reports_in_one_line():
    reason = cpu.unavailable_reason()
    if reason is not None:
        pytest.skip(reason)
    command = [sys.executable, "-m", "moegs_rasterizer.build"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout.count("\n") == 1
    assert "already built" in done.stdout
    assert str(cpp_library.library().path) in done.stdout


def test_command_fails_in_one_line(monkeypatch, cache):
    monkeypatch.setattr(sys, "argv", ["moegs_rasterizer.build"])
    monkeypatch.setenv("CXX", "/nonexistent")
    with pytest.raises(SystemExit) as end:
        build.main()
    assert "\n" not in end.value.code  # Python prints it to standard error and exits with 1
    assert end.value.code.startswith("error: no C++ compiler found (looked for /nonexistent)")
    assert not list(cache.rglob("*.so"))


@pytest.mark.parametrize("damage", ["truncated", "flipped"])
def test_a_damaged_library_is_built_again(tmp_path, monkeypatch, cache, caplog, damage):
    calls = compiler(tmp_path, monkeypatch, STAND_IN)
    path = cpp_library.library().path
    first, whole = len(calls.read_text().split()), path.read_bytes()
    path.write_bytes(whole[:3] if damage == "truncated" else bytes([whole[0] ^ 1]) + whole[1:])
    assert cpp_library.library().path == path and path.read_bytes() == whole
    assert len(calls.read_text().split()) == 2 * first
    assert f"{path} is damaged: it is not used, and compiled again" in caplog.text
    assert cpp_library.library().seconds == 0 and len(calls.read_text().split()) == 2 * first
    path.write_bytes(b"")
    monkeypatch.setenv("CXX", "no-such-compiler")  # damaged, and nothing to build it with
    with pytest.raises(steps.BuildError, match=r"no C\+\+ compiler found"):
        cpp_library.library()


def test_a_library_of_an_earlier_version_has_no_hash_and_is_used(tmp_path, monkeypatch, cache):
    calls = compiler(tmp_path, monkeypatch, STAND_IN)
    path = cpp_library.library().path
    first = len(calls.read_text().split())
    path.with_name(path.name + ".sha256").unlink()
    assert cpp_library.library().path == path and len(calls.read_text().split()) == first
