"""Files of one frame: PLY, and by `splat-transform` of PlayCanvas (npm, needs node) SOG, SPZ and GLB."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from moegs_rasterizer import Gaussians

from engine.errors import ConfigError
from engine.settings.node_tool import TOOL, tool
from experts.canonical.files import read_canonical
from experts.canonical.gaussians import activate
from experts.formats.ply import read_ply
from experts.splats.frame_files import write_frame
from experts.splats.gltf import read_glb

PLY, GLB = ".ply", ".glb"
_MINUTES = 20


def write_snapshot(path: Path, gaussians: Gaussians, ending: str) -> None:
    """Writes Gaussians of a frame in the format of an ending, whatever the path's own.

    Raises ConfigError where the tool fails.
    """
    with _scratch(path.parent) as folder:
        write_frame(folder / "frame.ply", gaussians)
        made = folder / "frame.ply" if ending == PLY else folder / f"made{ending}"
        if ending != PLY:
            _run(folder / "frame.ply", made)
        os.replace(made, path)


def read_snapshot(path: Path, ending: str) -> Gaussians:
    """The Gaussians of a file that `write_snapshot` made."""
    with _scratch(path.parent) as folder:
        given, plain = folder / f"given{ending}", folder / "plain.ply"
        shutil.copyfile(path, given)
        if ending == GLB:
            return half_turn(read_glb(given))
        if ending != PLY:
            _run(given, plain)
        return activate(read_canonical(read_ply(given if ending == PLY else plain)).raw())


@torch.no_grad()
def half_turn(gaussians: Gaussians) -> Gaussians:
    """Gaussians turned by 180 degrees about the z axis, from glTF's axes (y up) to those of 3DGS's files.

    Harmonics of odd order change their sign. In 3DGS's list, from order -l to l by degree, these are every second one.
    """
    assert gaussians.sh is not None
    w, x, y, z = gaussians.quats.unbind(1)
    signs = gaussians.means.new_tensor([sign for degree in range(4) for sign in _signs(degree)])
    return Gaussians(
        means=gaussians.means * gaussians.means.new_tensor([-1, -1, 1]),
        scales=gaussians.scales,
        quats=torch.stack([-z, -y, x, w], dim=1),
        opacities=gaussians.opacities,
        sh=gaussians.sh * signs[: gaussians.sh.shape[1], None],
    )


def _signs(degree: int) -> list[int]:
    return [(-1) ** abs(order) for order in range(-degree, degree + 1)]


def _run(source: Path, target: Path) -> None:
    program = tool()
    assert program is not None, "the settings were checked"
    words = [program, "--quiet", "--overwrite", "--gpu", "cpu", str(source), str(target)]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=60 * _MINUTES, check=False)
    except subprocess.TimeoutExpired as error:
        raise ConfigError(f"{TOOL} could not make {target.suffix} in {_MINUTES} minutes; give --to NAME.ply") from error
    if done.returncode != 0 or not target.is_file():
        said = (done.stderr or done.stdout).strip().splitlines()
        raise ConfigError(f"{TOOL} could not make {target.suffix}: {said[-1] if said else 'it says nothing'}")


@contextmanager
def _scratch(parent: Path) -> Iterator[Path]:
    """A folder on the disk of what is written: where another one is full, nobody knows what to free."""
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        yield Path(folder)
