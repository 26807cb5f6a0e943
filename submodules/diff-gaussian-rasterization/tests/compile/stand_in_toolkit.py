"""A CUDA toolkit and a g++ made of shell scripts: they answer as the real ones do, and note how they are called."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from moegs_rasterizer.compile import cuda_library, toolkit

# Writes whatever "-o" names, as a compiler would.
COMPILE = """echo "$0 $*" >> "{calls}"
while [ $# -gt 1 ]; do [ "$1" = -o ] && echo built > "$2"; shift; done
"""
FAIL = """i=0
while [ $i -lt 60 ]; do i=$((i + 1)); echo "complaint $i"; done
exit 3
"""
NVCC = """#!/bin/sh
case "$*" in
  *--version*) echo "Cuda compilation tools, release {version}, V{version}.88"; exit;;
  *--list-gpu-code*) for code in {codes}; do echo sm_$code; done; exit;;
  *--dryrun*) echo '#$ TOP={root}'; echo '#$ LIBRARIES= "-L{root}/lib64/stubs" "-L{root}/lib64"'; exit;;
  "-E "*) {headers}; exit;;
esac
"""


def executable(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(script)
    path.chmod(0o755)
    return path


def hide_real_toolkits(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave nothing to find but what the test puts into bin, usual and packages of this folder."""
    monkeypatch.setenv("PATH", str(folder / "bin"))
    for name in ("CUDA_HOME", "CUDA_PATH", cuda_library.ARCHITECTURES_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(toolkit, "USUAL_NVCC", folder / "usual" / "bin" / "nvcc")
    monkeypatch.setattr(toolkit, "package_folders", lambda: [folder / "packages"])


def make_toolkit(
    root: Path,
    calls: Path,
    *,
    version: str = "13.0",
    codes: Sequence[int] = (80, 90, 120),
    headers: str = ":",
    compile_script: str = COMPILE,
    library: str = "lib64",
) -> Path:
    """Folder to point CUDA_HOME at; `headers` is what its preprocessor does."""
    listed = " ".join(map(str, codes))
    answers = NVCC.format(version=version, codes=listed, root=root, headers=headers)
    executable(root / "bin" / "nvcc", answers + compile_script.format(calls=calls))
    (root / library).mkdir(parents=True)
    (root / library / "libcudart_static.a").touch()
    return root


def gxx(path: Path, calls: Path) -> Path:
    return executable(path, "#!/bin/sh\n" + COMPILE.format(calls=calls))
