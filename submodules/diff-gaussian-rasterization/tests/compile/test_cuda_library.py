"""The CUDA back-end builds once, runs where it is carried to, and says in one paragraph what is missing."""

from __future__ import annotations

import logging
import shutil
import sys
from pathlib import Path

import pytest
import torch
from moegs_rasterizer import build
from moegs_rasterizer.compile import cpp_library, cuda_library
from moegs_rasterizer.compile.cuda_library import Contents
from moegs_rasterizer.compile.steps import BuildError, Built

from .stand_in_toolkit import FAIL, executable, gxx, hide_real_toolkits, make_toolkit

KERNEL = """#include "../number.h"
__global__ void write(int* result) { *result = kNumber; }
void launch(int* result) { write<<<1, 1>>>(result); }
int runtime_version() { int version = 0; cudaRuntimeGetVersion(&version); return version; }
"""
OPERATORS = """#include <torch/csrc/stable/library.h>
#include "../number.h"
void launch(int* result);
int runtime_version();
int64_t version(int64_t run) { if (run) launch(nullptr); return runtime_version() + kNumber; }
STABLE_TORCH_LIBRARY(moegs_test_cuda_library, library) { library.def("version(int run) -> int"); }
STABLE_TORCH_LIBRARY_IMPL(moegs_test_cuda_library, CompositeExplicitAutograd, library) {
  library.impl("version", TORCH_BOX(&version));
}
"""


@pytest.fixture
def sources(tmp_path, monkeypatch) -> Path:
    """A kernel and an operator as the only sources, and a cache of our own."""
    folder = tmp_path / "csrc"
    (folder / "cuda").mkdir(parents=True)
    (folder / "number.h").write_text("constexpr int kNumber = 7;\n")
    (folder / "cuda" / "kernel.cu").write_text(KERNEL)
    (folder / "cuda" / "operators.cpp").write_text(OPERATORS)
    monkeypatch.setattr(cuda_library, "SOURCES", folder)
    monkeypatch.setenv("MOEGS_RASTERIZER_CACHE", str(tmp_path / "cache"))
    return folder


@pytest.fixture
def calls(tmp_path, sources, monkeypatch) -> Path:
    """No toolkit, no driver and no GPU, but a g++; the file that the stand-ins write their calls to."""
    hide_real_toolkits(tmp_path, monkeypatch)
    monkeypatch.setattr(cuda_library, "driver_version", lambda: None)
    monkeypatch.setattr(cuda_library, "visible_architectures", lambda: ())
    monkeypatch.setenv("CXX", str(gxx(tmp_path / "g++", tmp_path / "calls")))
    return tmp_path / "calls"


def refusal(**options) -> str:
    with pytest.raises(BuildError) as failure:
        cuda_library.library(**options)
    message = str(failure.value)
    assert "\n" not in message
    return message


def test_each_source_is_compiled_once_by_its_compiler(tmp_path, calls, sources, monkeypatch):
    root = make_toolkit(tmp_path / "cuda", calls)
    monkeypatch.setenv("CUDA_HOME", str(root))
    first = cuda_library.library([80, 90])
    nvcc, operators, link = calls.read_text().splitlines()
    if not nvcc.startswith(str(root)):
        nvcc, operators = operators, nvcc  # they run at the same time
    for part in ("arch=compute_80,code=sm_80", "arch=compute_90,code=sm_90", "arch=compute_90,code=compute_90"):
        assert f"-gencode={part} " in nvcc
    assert nvcc.count("-gencode") == 3
    assert f"-ccbin {tmp_path / 'g++'} " in nvcc
    assert str(sources / "cuda" / "kernel.cu") in nvcc
    assert "fast" not in nvcc
    assert "torch" not in nvcc.split(" -c ")[0]
    assert str(sources / "cuda" / "operators.cpp") in operators
    assert f"-L{root / 'lib64'} -l:libcudart_static.a" in link
    assert "-ltorch_cpu" in link
    assert "torch_cuda" not in link
    assert first.seconds > 0
    assert cuda_library.library([80, 90]) == Built(path=first.path, seconds=0.0)
    assert len(calls.read_text().splitlines()) == 3
    assert first.path.parent.name == "cuda13.0-sm80-sm90"
    names = {cuda_library.LIBRARY_NAME, f"{cuda_library.LIBRARY_NAME}.sha256", "build.log", "lock"}
    assert {path.name for path in first.path.parent.iterdir()} == names
    assert cuda_library.library([80, 90], force=True).seconds > 0


def test_no_toolkit(calls):
    message = refusal()
    assert "for sm_90 cannot be compiled here. Found: no nvcc in $CUDA_HOME" in message
    assert "Needed: nvcc of CUDA 12.0 or newer" in message
    assert 'pip install "cuda-toolkit[nvcc,cudart,cccl]' in message
    assert "then run `python -m moegs_rasterizer.build --cuda`" in message
    assert '--cuda_archs "90"` and copy' in message
    assert "none yet" in message


def test_a_toolkit_newer_than_the_driver(tmp_path, calls, monkeypatch):
    monkeypatch.setenv("CUDA_HOME", str(make_toolkit(tmp_path / "cuda", calls)))
    monkeypatch.setattr(cuda_library, "driver_version", lambda: (12, 8))
    message = refusal()
    assert "CUDA 13.0, which is too new for the GPU's driver" in message
    assert "Needed: nvcc of CUDA 12.0 to 12.x, as the GPU's driver runs CUDA 12.8 at most" in message
    assert "cuda-version=12.8" in message


def test_compile_error(tmp_path, calls, monkeypatch, caplog):
    monkeypatch.setenv("CUDA_HOME", str(make_toolkit(tmp_path / "cuda", calls, compile_script=FAIL)))
    with caplog.at_level(logging.ERROR):
        message = refusal()
    log = next((tmp_path / "cache").glob("*/*/build.log"))
    assert f"compiling the CUDA back-end failed with exit status 3; read {log}" in message
    said = caplog.text.split("\n")
    assert "complaint 21" in said
    assert "complaint 20" not in said
    assert "complaint 1\n" in log.read_text()
    assert {path.name for path in log.parent.iterdir()} == {"build.log", "lock"}


def test_a_library_is_carried(tmp_path, calls, monkeypatch):
    root = make_toolkit(tmp_path / "cuda", calls)
    monkeypatch.setenv("CUDA_HOME", str(root))
    built = cuda_library.library([80])
    shutil.rmtree(root)
    monkeypatch.setenv("CXX", "/nonexistent")
    monkeypatch.setattr(torch, "__version__", "2.99")
    moved = tmp_path / "moved"
    (tmp_path / "cache").rename(moved)
    monkeypatch.setenv("MOEGS_RASTERIZER_CACHE", str(moved))
    there = Built(path=moved / built.path.relative_to(tmp_path / "cache"), seconds=0.0)

    for gpus in ((80,), (86, 89), (90,)):  # machine code, the same major version, PTX
        monkeypatch.setattr(cuda_library, "visible_architectures", lambda gpus=gpus: gpus)
        assert cuda_library.library() == there
    assert "there is one for sm_80 by CUDA 13.0" in refusal(architectures=[86])
    monkeypatch.setattr(cuda_library, "visible_architectures", lambda: (75, 80))
    assert "for sm_75, sm_80 cannot be compiled here. nvcc needs g++" in refusal()
    monkeypatch.setattr(cuda_library, "visible_architectures", lambda: (80,))
    monkeypatch.setattr(cuda_library, "driver_version", lambda: (12, 9))
    assert "there is one for sm_80 by CUDA 13.0" in refusal()


@pytest.mark.parametrize(
    ("architecture", "driver", "runs"),
    [
        (86, None, True),
        (80, None, False),
        (89, (12, 0), True),
        (89, (11, 8), False),
        (90, (12, 8), True),
        (75, None, False),
        (100, None, True),
        (100, (12, 8), True),
        (100, (12, 6), False),  # the driver must know this PTX
    ],
)
def test_what_a_library_runs_on(architecture, driver, runs):
    assert Contents(cuda=(12, 8), architectures=(86, 90)).serves(architecture, driver) == runs


def test_changed_sources_make_another_library(tmp_path, calls, sources):
    seen = {cuda_library.cache_folder()}
    for path in (sources / "number.h", sources / "cuda" / "kernel.cu", sources / "cuda" / "new.cuh"):
        with path.open("a") as file:
            file.write("// changed\n")
        seen.add(cuda_library.cache_folder())
    assert len(seen) == 4
    (sources / "dispatch.cpp").write_text("")
    assert cuda_library.cache_folder() in seen


def test_the_cpp_library_does_not_depend_on_cuda_sources(sources, monkeypatch):
    monkeypatch.setattr(cpp_library, "SOURCES", sources)
    before = cpp_library._fingerprint.__wrapped__()
    (sources / "cuda" / "new.cu").write_text("")
    assert cpp_library._fingerprint.__wrapped__() == before
    (sources / "number.h").write_text("")
    assert cpp_library._fingerprint.__wrapped__() != before


@pytest.mark.parametrize("text", ["90;80", "8.0,9.0+PTX", " sm_80 sm_90 ", "80;90;80"])
def test_architectures_are_read(text, monkeypatch):
    assert cuda_library.named_architectures(text) == (80, 90)
    monkeypatch.setenv(cuda_library.ARCHITECTURES_VARIABLE, text)
    assert cuda_library.named_architectures() == (80, 90)
    assert cuda_library.named_architectures("12.0") == (120,)


@pytest.mark.parametrize("text", ["ampere", "80;8", "sm80", "9.0a"])
def test_unreadable_architectures_are_named(text):
    with pytest.raises(BuildError, match='is no CUDA architecture; name compute capabilities, for example "80;'):
        cuda_library.named_architectures(text)


def test_named_architectures_must_run_here(tmp_path, calls, monkeypatch):
    monkeypatch.setenv("CUDA_HOME", str(make_toolkit(tmp_path / "cuda", calls)))
    monkeypatch.setattr(cuda_library, "visible_architectures", lambda: (90,))
    monkeypatch.setenv(cuda_library.ARCHITECTURES_VARIABLE, "120")
    assert "names sm_120, which the GPU here, sm_90, cannot run; add 90 or unset it" in refusal()
    monkeypatch.setenv(cuda_library.ARCHITECTURES_VARIABLE, "90;120")
    assert cuda_library.library().path.parent.name == "cuda13.0-sm90-sm120"


def test_gpus_by_nvidia_smi(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cuda_library.visible_architectures() == ()
    executable(tmp_path / "nvidia-smi", "#!/bin/sh\necho 9.0; echo 12.0; echo 9.0; echo '[N/A]'\n")
    assert cuda_library.visible_architectures() == (90, 120)


def command(monkeypatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["build", *arguments])
    build.main()


def test_command(tmp_path, calls, monkeypatch, capsys):
    with pytest.raises(SystemExit, match=r"^error: the CUDA back-end for sm_80, sm_90 cannot be compiled here"):
        command(monkeypatch, "--cuda", "--cuda_archs", "80;90")
    with pytest.raises(SystemExit):
        command(monkeypatch, "--cuda_archs", "80;90")
    assert "--cuda_archs goes with --cuda" in capsys.readouterr().err
    monkeypatch.setenv("CUDA_HOME", str(make_toolkit(tmp_path / "cuda", calls)))
    for expected in ("CUDA back-end compiled in ", "CUDA back-end already built: "):
        command(monkeypatch, "--cuda", "--cuda_archs", "80;90")
        said = capsys.readouterr().out
        assert expected in said
        assert said.endswith(f"cuda13.0-sm80-sm90/{cuda_library.LIBRARY_NAME}\n")
        assert said.count("\n") == 1
    command(monkeypatch, "--cuda", "--force")
    assert "CUDA back-end compiled in " in capsys.readouterr().out


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="no nvcc on the PATH")
def test_real_toolkit(sources, monkeypatch):
    monkeypatch.delenv(cuda_library.ARCHITECTURES_VARIABLE, raising=False)
    built = cuda_library.library([90])
    torch.ops.load_library(str(built.path))
    major, minor = (int(part) for part in built.path.parent.name.removeprefix("cuda").split("-")[0].split("."))
    assert torch.ops.moegs_test_cuda_library.version(0) == 1000 * major + 10 * minor + 7
