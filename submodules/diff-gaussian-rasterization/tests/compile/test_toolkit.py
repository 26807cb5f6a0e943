"""A toolkit that cannot compile the CUDA back-end is passed over, and named with what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest
from moegs_rasterizer.compile import toolkit
from moegs_rasterizer.compile.steps import BuildError

from .stand_in_toolkit import executable, hide_real_toolkits, make_toolkit


@pytest.fixture(autouse=True)
def calls(tmp_path, monkeypatch) -> Path:
    """Nothing to find; the file that the stand-ins would write to if they compiled."""
    hide_real_toolkits(tmp_path, monkeypatch)
    return tmp_path / "calls"


def refusal(*architectures: int, **options) -> str:
    with pytest.raises(BuildError) as failure:
        toolkit.find_toolkit(architectures, compiler="g++", **options)
    return str(failure.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"version": "11.8"}, "bin/nvcc of CUDA 11.8, which is too old"),
        ({"codes": (80, 90)}, "CUDA 13.0, which does not know sm_120 (nearest: sm_90)"),
        ({"library": "elsewhere"}, "bin/nvcc, which comes without libcudart_static.a"),
        ({"headers": "echo why; echo 'fatal error: cub/version.cuh'; exit 1"}, "fails: fatal error: cub/version.cuh"),
        ({"headers": "exit 4"}, "fails: exit status 4"),
    ],
)
def test_toolkits_that_will_not_do(tmp_path, calls, monkeypatch, options, said):
    monkeypatch.setenv("CUDA_HOME", str(make_toolkit(tmp_path / "cuda", calls, **options)))
    message = refusal(80, 120)
    assert said in message
    assert "Needed: nvcc of CUDA 12.8 or newer that knows sm_80, sm_120" in message
    assert not calls.exists()


def test_what_is_no_nvcc_at_all(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "nothing"))
    monkeypatch.setenv("CUDA_PATH", str(tmp_path / "mute"))
    executable(tmp_path / "mute" / "bin" / "nvcc", "#!/bin/sh\n")
    message = refusal(90)
    assert f"{tmp_path}/nothing/bin/nvcc, which does not run: No such file" in message
    assert f"{tmp_path}/mute/bin/nvcc, whose version cannot be read" in message


def test_the_driver_limits_the_toolkit(tmp_path, calls, monkeypatch):
    monkeypatch.setenv("CUDA_HOME", str(make_toolkit(tmp_path / "cuda", calls)))
    assert toolkit.find_toolkit([90], compiler="g++", newest=(13, 0)).version == (13, 0)
    message = refusal(90, newest=(12, 8))
    assert "CUDA 13.0, which is too new for the GPU's driver" in message
    assert "Needed: nvcc of CUDA 12.0 to 12.x, as the GPU's driver runs CUDA 12.8 at most" in message
    assert "cuda-version=12.8" in message
    assert "pip" not in message  # PyPI has no nvcc 12


def test_the_first_toolkit_that_will_do_is_taken(tmp_path, calls, monkeypatch):
    monkeypatch.setenv("CUDA_HOME", str(make_toolkit(tmp_path / "old", calls, version="11.8")))
    package = tmp_path / "packages" / "nvidia" / "cu13"
    make_toolkit(package, calls, library="lib")
    assert toolkit.find_toolkit([90], compiler="g++") == toolkit.Toolkit(
        nvcc=str(package / "bin" / "nvcc"), version=(13, 0), library_folder=package / "lib"
    )
    # Each of these comes before all above it: its folder, then the variable that points at it.
    folders = {"usual": (), "": (), "path": ("CUDA_PATH",), "home": ("CUDA_HOME",)}
    for minor, (name, variables) in enumerate(folders.items()):
        make_toolkit(tmp_path / name, calls, version=f"12.{minor}")
        for variable in variables:
            monkeypatch.setenv(variable, str(tmp_path / name))
        assert toolkit.find_toolkit([90], compiler="g++").version == (12, minor)


def test_nvcc_gets_a_compiler_that_it_can_call(tmp_path, monkeypatch):
    other = executable(tmp_path / "bin" / "zig", "#!/bin/sh\n")
    monkeypatch.setenv("CXX", f"{other} c++")
    with pytest.raises(BuildError, match=r"zig c\+\+ is none, none is on the PATH"):
        toolkit.host_compiler()
    clang = executable(tmp_path / "bin" / "clang++", "#!/bin/sh\n")
    assert toolkit.host_compiler() == str(clang)
    named = executable(tmp_path / "named" / "x86_64-conda-linux-gnu-c++", "#!/bin/sh\n")
    monkeypatch.setenv("CXX", str(named))
    assert toolkit.host_compiler() == str(named)
