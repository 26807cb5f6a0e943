"""4DGaussians folders: exact round trips, settings from the right source, faults in one line."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from experts.base import CheckpointError, LoadOptions
from experts.canonical.files import read_routed
from experts.fourdgaussians.files import load_fourdgaussians, save_fourdgaussians, write_routed_fourdgaussians
from experts.fourdgaussians.model import FourDGaussians
from experts.fourdgaussians.recipe import FourDGaussiansOptions, NetworkShape
from tests.experts.canonical_models import new_fourdgaussians

SHAPE = NetworkShape(width=16, channels=4, resolutions=((5, 6, 7, 8), (10, 12, 14, 8)))
NET = "deformation_net"


def small(shape: NetworkShape = SHAPE, options: FourDGaussiansOptions | None = None) -> FourDGaussians:
    torch.manual_seed(4)
    return new_fourdgaussians(torch.randn(9, 3), torch.rand(9, 3), num_frames=12, shape=shape, options=options)


def saved(folder: Path) -> Path:
    save_fourdgaussians(small(), folder, 14000)
    return folder


def fault(folder: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_fourdgaussians(folder, LoadOptions())
    text = str(caught.value)
    assert "\n" not in text and len(text) < 500, text
    return text


def inner(folder: Path, file: str = "deformation.pth") -> Path:
    return folder / "point_cloud" / "iteration_14000" / file


def edit(folder: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    state = torch.load(inner(folder), weights_only=True)
    change(state)
    torch.save(state, inner(folder))


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        (SHAPE, FourDGaussiansOptions(no_do=True, apply_rotation=True)),
        (replace(SHAPE, depth=3, static_mlp=True, resolutions=((4, 5, 6, 7),)), FourDGaussiansOptions()),
        (replace(SHAPE, empty_voxel=(3, 4, 5), encodings=(1, 2, 3, 4), timenet=(6, 5)), FourDGaussiansOptions()),
    ],
)
def test_round_trip_is_exact_in_tensors_bytes_and_settings(
    tmp_path: Path, shape: NetworkShape, options: FourDGaussiansOptions
) -> None:
    expert = small(shape, options)
    expert.table, expert.accumulated = torch.arange(9) % 2 == 0, torch.randn(9, 3)
    save_fourdgaussians(expert, tmp_path / "a", 14000)
    again = load_fourdgaussians(tmp_path / "a", LoadOptions())
    assert again.state_dict().keys() == expert.state_dict().keys()
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in expert.state_dict().items())
    assert (again.num_frames, again.deformation.options) == (12, options)
    save_fourdgaussians(again, tmp_path / "b", 14000)
    for file in sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file()):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file


@pytest.mark.parametrize(("scene", "iteration", "files"), [("basketball", 2600, 3), ("kitchen_tiny", 3000, 4)])
def test_original_files_come_back(
    shared: Callable[[str], Path], tmp_path: Path, scene: str, iteration: int, files: int
) -> None:
    source = shared("reference/experts") / "4DGaussians" / scene
    save_fourdgaussians(load_fourdgaussians(source, LoadOptions()), tmp_path, iteration)
    ours, theirs = (root / "point_cloud" / f"iteration_{iteration}" for root in (tmp_path, source))
    assert sorted(path.name for path in ours.iterdir()) == sorted(path.name for path in theirs.iterdir())
    assert len(list(ours.iterdir())) == files
    assert (ours / "point_cloud.ply").read_bytes() == (theirs / "point_cloud.ply").read_bytes()
    for file in theirs.glob("*.pth"):
        before, after = (torch.load(path, map_location="cpu") for path in (file, ours / file.name))
        if isinstance(before, Tensor):
            before, after = {"": before}, {"": after}
        assert list(before) == list(after), "another order of names"
        assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_routers_weights_are_appended_as_columns(tmp_path: Path) -> None:
    weights = torch.arange(27.0).reshape(9, 3)
    assert read_routed(saved(tmp_path)) is None
    write_routed_fourdgaussians(small(), tmp_path, 14000, weights)
    header = inner(tmp_path, "point_cloud.ply").read_bytes().split(b"end_header")[0].decode()
    columns = [line.split()[2] for line in header.splitlines() if line.startswith("property")]
    assert columns[-4:] == ["rot_3", "f_t_0", "w_b_0", "w_b_1"] and len(columns) == 65
    assert torch.equal(read_routed(tmp_path), weights)
    load_fourdgaussians(tmp_path, LoadOptions())


def test_switches_come_from_cfg_args_then_from_the_preset(tmp_path: Path) -> None:
    saved(tmp_path)
    (tmp_path / "cfg_args").write_text(str(argparse.Namespace(no_do=True, source_path="data/cook_spinach")))
    expert = load_fourdgaussians(tmp_path, LoadOptions(scene="sear_steak", num_frames=150))
    assert expert.deformation.options == FourDGaussiansOptions(no_do=True) and expert.num_frames == 150
    cut_short = load_fourdgaussians(tmp_path, LoadOptions(scene="sear_steak", num_frames=150, trained_frames=300))
    assert cut_short.num_frames == 300 and cut_short.provenance.clip_is_assumed
    assert not any("the clip has 150" in note for note in cut_short.provenance.notes), "nobody knows that yet"
    said = load_fourdgaussians(tmp_path, LoadOptions(scene="sear_steak", num_frames=150, expert_frames=200))
    assert said.num_frames == 200 and not said.provenance.clip_is_assumed
    assert "the model was trained on 200 frames, the clip has 150" in said.provenance.notes
    notes = expert.provenance.notes
    assert "no_do 1 (from cfg_args)" in notes and "width 16 (from shapes)" in notes
    assert any(note.startswith("no_ds 0 (preset") for note in notes)
    assert any("cook_spinach" in note for note in notes)
    (tmp_path / "cfg_args").unlink()
    expert = load_fourdgaussians(tmp_path, LoadOptions())
    assert expert.deformation.options == FourDGaussiansOptions() and expert.num_frames == 300


def test_early_files_without_a_colour_head(tmp_path: Path) -> None:
    edit(saved(tmp_path), lambda state: [state.pop(name) for name in list(state) if "shs_deform" in name])
    expert = load_fourdgaussians(tmp_path, LoadOptions())
    assert expert.deformation.options.no_dshs
    assert torch.equal(expert.at(3).sh, expert.gaussians.raw()["sh"].unflatten(1, (16, 3)))
    save_fourdgaussians(expert, tmp_path, 14000)
    load_fourdgaussians(tmp_path, LoadOptions())


def test_tables_of_another_model_are_refused(tmp_path: Path) -> None:
    torch.save(torch.ones(8, dtype=torch.bool), inner(saved(tmp_path), "deformation_table.pth"))
    assert "found [8], expected a tensor [9]" in fault(tmp_path)
    inner(tmp_path, "deformation_table.pth").unlink()
    torch.save(torch.full((9, 3), float("nan")), inner(tmp_path, "deformation_accum.pth"))
    assert "NaN" in fault(tmp_path)
    torch.save([1], inner(tmp_path, "deformation_accum.pth"))
    assert "found list" in fault(tmp_path)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda state: state.pop(f"{NET}.grid.aabb"), f"missing {NET}.grid.aabb"),
        (lambda state: state.pop(f"{NET}.grid.grids.1.3"), f"missing {NET}.grid.grids.1.3"),
        (lambda state: state.pop(f"{NET}.grid.grids.1.5"), f"no tensor {NET}.grid.grids.1.5"),
        (lambda state: state.pop(f"{NET}.feature_out.0.weight"), f"no tensor {NET}.feature_out.0.weight"),
        (lambda state: state.update({"extra": torch.zeros(1)}), "unexpected extra"),
        (lambda state: state[f"{NET}.grid.aabb"].mul_(float("inf")), f"NaN or infinite values in {NET}.grid.aabb"),
        (
            lambda state: state.update({f"{NET}.grid.grids.0.0": torch.zeros(4, 6, 5)}),
            "is [4, 6, 5], expected 4 dimensions",
        ),
        (lambda state: state.update({f"{NET}.grid.grids.0.1": torch.zeros(1, 4, 6, 5)}), "grids.0.1 is [1, 4, 6, 5]"),
        (lambda state: state.clear(), "found nothing"),
    ],
)
def test_wrong_networks(tmp_path: Path, change: Callable[[dict[str, Tensor]], object], expected: str) -> None:
    edit(saved(tmp_path), change)
    assert expected in fault(tmp_path)


def test_missing_damaged_and_foreign_files(tmp_path: Path) -> None:
    path = inner(saved(tmp_path))
    path.write_bytes(b"<html>too many downloads</html>")
    assert "web page" in fault(tmp_path)
    path.unlink()
    assert "no such file" in fault(tmp_path)
