"""Files of one frame come back as they were, whoever writes them."""

from __future__ import annotations

import json
import struct
import sys
from pathlib import Path

import pytest
import torch
from moegs_rasterizer import Gaussians
from moegs_rasterizer.reference.projection import rotations
from moegs_rasterizer.reference.sh import sh_colours

import engine.settings.export
import moegs
from engine.errors import ConfigError
from engine.export.formats import FORMATS
from engine.export.job import Export
from engine.export.quality import QUALITIES
from engine.export.snapshots import half_turn, read_snapshot, write_snapshot
from engine.export.writing import write_export
from engine.settings.node_tool import TOOL
from experts.base import CheckpointError
from tests.small_world import small_run

COPIES = f"#!{sys.executable}\nimport shutil, sys\nshutil.copyfile(*sys.argv[-2:])\n"
FAILS = f"#!{sys.executable}\nimport sys\nsys.exit('no such format')\n"


def made_up(count: int = 30) -> Gaussians:
    torch.manual_seed(0)
    return Gaussians(
        means=torch.randn(count, 3),
        scales=torch.rand(count, 3) + 0.1,
        quats=torch.nn.functional.normalize(torch.randn(count, 4), dim=1),
        opacities=torch.rand(count),
        sh=torch.randn(count, 16, 3),
    )


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for splat-transform on the PATH: its formats are PLY under other names."""
    path = tmp_path / "bin" / TOOL
    path.parent.mkdir()
    path.write_text(COPIES)
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(path.parent))
    return path


@pytest.mark.parametrize("ending", [".ply", ".sog", ".spz"])
def test_a_frame_comes_back(program: Path, tmp_path: Path, ending: str) -> None:
    path, given = tmp_path / "unfinished", made_up()
    write_snapshot(path, given, ending)
    back = read_snapshot(path, ending)
    for name in ("means", "scales", "quats", "opacities", "sh"):
        assert torch.allclose(getattr(back, name), getattr(given, name), atol=1e-5), name


def test_an_export_is_of_the_frame_that_is_asked_for(program: Path, tmp_path: Path) -> None:
    run = small_run(tmp_path)
    job = Export(run=run, expert=run.experts[1], quality=QUALITIES["high"], fps=30, frame=2)
    found = write_export(job, FORMATS[".sog"], tmp_path / "a.sog", frames=4, facts={})
    assert found.frames == 1 and found.source["file"] > 60
    program.write_text(FAILS)
    with pytest.raises(ConfigError, match=r"splat-transform could not make \.sog: no such format"):
        write_export(job, FORMATS[".sog"], tmp_path / "b.sog", frames=4, facts={})
    assert not (tmp_path / "b.sog").exists()


def glb_of(given: Gaussians, *, kind: int = 5126) -> bytes:
    """A GLB file with KHR_gaussian_splatting, in the layout of splat-transform."""
    assert given.sh is not None
    own = "KHR_gaussian_splatting:"
    degrees = [f"{own}SH_DEGREE_{degree}_COEF_{number}" for degree in range(4) for number in range(2 * degree + 1)]
    tables = {"POSITION": given.means, f"{own}SCALE": given.scales, f"{own}ROTATION": given.quats[:, [1, 2, 3, 0]]}
    tables |= {f"{own}OPACITY": given.opacities[:, None]} | dict(zip(degrees, given.sh.unbind(1), strict=True))
    parts = [table.contiguous().numpy().tobytes() for table in tables.values()]
    starts = [sum(map(len, parts[:index])) for index in range(len(parts))]
    kinds = {1: "SCALAR", 3: "VEC3", 4: "VEC4"}
    facts = {
        "meshes": [{"primitives": [{"attributes": {name: index for index, name in enumerate(tables)}}]}],
        "bufferViews": [{"byteOffset": start} for start in starts],
        "accessors": [
            {"bufferView": index, "componentType": kind, "count": len(table), "type": kinds[table.shape[1]]}
            for index, table in enumerate(tables.values())
        ],
    }
    text, body = json.dumps(facts).encode(), b"".join(parts)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(body), b"BIN\0") + body
    return struct.pack("<4s2I", b"glTF", 2, 12 + len(chunks)) + chunks


def test_a_glb_file_is_read_exactly(tmp_path: Path) -> None:
    """Else its loss would be that of the reader."""
    path, given = tmp_path / "a.glb", made_up()
    path.write_bytes(glb_of(half_turn(given)))
    back = read_snapshot(path, ".glb")
    for name in ("means", "scales", "opacities", "sh"):
        assert torch.equal(getattr(back, name), getattr(given, name)), name
    assert torch.allclose(rotations(back.quats), rotations(given.quats), atol=1e-6)
    path.write_bytes(glb_of(given, kind=5121))
    with pytest.raises(CheckpointError, match=r"not a readable GLB file .*accessor 0 is no plain table of float32"):
        read_snapshot(path, ".glb")


def test_a_half_turn_moves_what_is_seen_with_it() -> None:
    given = made_up()
    turn = torch.diag(torch.tensor([-1.0, -1.0, 1.0]))
    turned, eye = half_turn(given), torch.tensor([3.0, 1.0, -5.0])
    assert torch.allclose(turned.means, given.means @ turn)
    assert torch.allclose(rotations(turned.quats), turn @ rotations(given.quats), atol=1e-5)
    assert given.sh is not None and turned.sh is not None
    ours, theirs = sh_colours(given.sh, given.means, eye), sh_colours(turned.sh, turned.means, turn @ eye)
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(engine.settings.export, "tool", lambda: None)
    assert moegs.main(["export", str(tmp_path), f"--to={tmp_path / 'a.spz'}", "--quiet"]) == 2
    assert "needs node and the program splat-transform: run npm install @playcanvas" in capsys.readouterr().err
    assert moegs.main(["export", str(tmp_path), f"--to={tmp_path / 'a.ply'}", "--frame=-1", "--quiet"]) == 2
    assert "--frame is -1: give 0 or more" in capsys.readouterr().err
