"""E-D3DGS folders: exact round trips, settings from the right source, faults in one line."""

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
from experts.ed3dgs.files import load_ed3dgs, save_ed3dgs, write_routed_ed3dgs
from experts.ed3dgs.model import ED3DGS
from experts.ed3dgs.recipe import N3V_OPTIONS, TECHNICOLOR_OPTIONS
from experts.formats.cfg_args import read_cfg_args, write_cfg_args
from tests.experts.canonical_models import new_ed3dgs

OPTIONS = replace(N3V_OPTIONS, min_embeddings=7, c2f_temporal_iter=100, deform_from_iter=10, no_ds=True)


def small(**changes: object) -> ED3DGS:
    torch.manual_seed(3)
    sizes = {"num_frames": 12, "iteration": 5000, "options": OPTIONS, "max_embeddings": 40, **changes}
    return new_ed3dgs(torch.randn(9, 3), torch.rand(9, 3), **sizes)  # type: ignore[arg-type]


def saved(folder: Path, **changes: object) -> Path:
    save_ed3dgs(small(**changes), folder, 5000)
    return folder


def fault(folder: Path, **options: object) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_ed3dgs(folder, LoadOptions(**options))  # type: ignore[arg-type]
    text = str(caught.value)
    assert "\n" not in text and len(text) < 500, text
    return text


def cloud(folder: Path) -> Path:
    return folder / "point_cloud" / "iteration_5000" / "point_cloud.ply"


def edit(folder: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    path = cloud(folder).with_name("deformation.pth")
    state = torch.load(path, weights_only=True)
    change(state)
    torch.save(state, path)


def test_round_trip_is_exact_in_tensors_bytes_and_settings(tmp_path: Path) -> None:
    expert = small()
    save_ed3dgs(expert, tmp_path / "a", 5000)
    again = load_ed3dgs(tmp_path / "a", LoadOptions())
    assert again.state_dict().keys() == expert.state_dict().keys()
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in expert.state_dict().items())
    assert (again.num_frames, again.iteration, again.deformation.options) == (12, 5000, OPTIONS)
    save_ed3dgs(again, tmp_path / "b", 5000)
    for file in sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file()):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file


def test_original_files_come_back_byte_by_byte(shared: Callable[[str], Path], tmp_path: Path) -> None:
    source = shared("reference/experts") / "E-D3DGS" / "kitchen_tiny"
    save_ed3dgs(load_ed3dgs(source, LoadOptions()), tmp_path, 4000)
    inner = Path("point_cloud", "iteration_4000")
    assert (tmp_path / inner / "point_cloud.ply").read_bytes() == (source / inner / "point_cloud.ply").read_bytes()
    ours, theirs = (torch.load(root / inner / "deformation.pth", map_location="cpu") for root in (tmp_path, source))
    assert list(ours) == list(theirs), "another order of names"
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_the_routers_weights_are_appended_as_columns(tmp_path: Path) -> None:
    weights = torch.arange(27.0).reshape(9, 3)
    assert read_routed(saved(tmp_path)) is None
    write_routed_ed3dgs(small(), tmp_path, 5000, weights)
    header = cloud(tmp_path).read_bytes().split(b"end_header")[0].decode()
    columns = [line.split()[2] for line in header.splitlines() if line.startswith("property")]
    assert columns[-5:] == ["embedding_30", "embedding_31", "f_t_0", "w_b_0", "w_b_1"] and len(columns) == 97
    assert torch.equal(read_routed(tmp_path), weights)
    load_ed3dgs(tmp_path, LoadOptions())


def test_a_copy_under_another_number_still_renders_the_same(tmp_path: Path) -> None:
    expert = small(iteration=400, options=replace(OPTIONS, c2f_temporal_iter=1000, deform_from_iter=0))
    save_ed3dgs(expert, tmp_path, 2000)
    save_ed3dgs(small(iteration=3000), tmp_path, 3000)
    again = load_ed3dgs(tmp_path, LoadOptions(iteration=2000))
    assert (again.iteration, again.provenance.iteration) == (400, 2000)
    assert load_ed3dgs(tmp_path, LoadOptions()).iteration == 3000


def test_a_router_s_copy_without_cfg_args_is_fully_trained(tmp_path: Path) -> None:
    write_routed_ed3dgs(small(max_embeddings=150), tmp_path, 2000, torch.zeros(9, 3))
    (tmp_path / "cfg_args").unlink()
    assert load_ed3dgs(tmp_path, LoadOptions()).iteration == 10000
    save_ed3dgs(small(max_embeddings=150), tmp_path, 2000)
    (tmp_path / "cfg_args").unlink()
    assert load_ed3dgs(tmp_path, LoadOptions()).iteration == 2000


def test_every_file_read_is_named(tmp_path: Path) -> None:
    files = [path.name for path in load_ed3dgs(saved(tmp_path), LoadOptions()).provenance.files]
    assert files == ["cfg_args", "point_cloud.ply", "deformation.pth"]


def test_saving_keeps_the_trainer_s_other_arguments(tmp_path: Path) -> None:
    (tmp_path / "cfg_args").write_text(str(argparse.Namespace(source_path="data/cook_spinach", no_ds=False)))
    notes = load_ed3dgs(saved(tmp_path), LoadOptions(scene="sear_steak")).provenance.notes
    assert any("cook_spinach" in note and "sear_steak" in note for note in notes)
    assert "no_ds 1 (from cfg_args)" in notes


@pytest.mark.parametrize(
    ("rows", "preset", "frames", "note"),
    [
        (150, N3V_OPTIONS, 300, "preset N3V (temporal table of 150 rows)"),
        (25, TECHNICOLOR_OPTIONS, 50, "preset Technicolor (temporal table of 25 rows)"),
        (15, TECHNICOLOR_OPTIONS, 50, "temporal table of 15 rows; switches that cfg_args lacks are as for Technicolor"),
    ],
)
def test_presets_without_cfg_args(tmp_path: Path, rows: int, preset: object, frames: int, note: str) -> None:
    (saved(tmp_path, max_embeddings=rows) / "cfg_args").unlink()
    expert = load_ed3dgs(tmp_path, LoadOptions())
    assert (expert.deformation.options, expert.num_frames, expert.iteration) == (preset, frames, 5000)
    assert note in expert.provenance.notes
    assert load_ed3dgs(tmp_path, LoadOptions(num_frames=77)).num_frames == 77


@pytest.mark.parametrize("rows", [15, 25, 150])
def test_a_model_trained_here_names_the_preset_that_it_records_and_no_other(tmp_path: Path, rows: int) -> None:
    def presets() -> list[str]:
        return [note for note in load_ed3dgs(tmp_path, LoadOptions()).provenance.notes if "preset" in note]

    saved(tmp_path, max_embeddings=rows)
    assert presets() == []
    write_cfg_args(tmp_path, {"preset": "n3v"})
    assert presets() == ["trained with preset n3v"]


@pytest.mark.parametrize(("rows", "name"), [(150, "N3V"), (25, "Technicolor")])
def test_a_published_table_is_known_with_its_own_cfg_args(tmp_path: Path, rows: int, name: str) -> None:
    saved(tmp_path, max_embeddings=rows)
    own = {key: value for key, value in (read_cfg_args(tmp_path) or {}).items() if key != "trained_iterations"}
    (tmp_path / "cfg_args").write_text(str(argparse.Namespace(**own)))
    assert f"preset {name} (temporal table of {rows} rows)" in load_ed3dgs(tmp_path, LoadOptions()).provenance.notes


def test_the_preset_of_original_files_is_known(shared: Callable[[str], Path]) -> None:
    notes = load_ed3dgs(shared("reference/experts") / "E-D3DGS" / "kitchen_tiny", LoadOptions()).provenance.notes
    assert [note for note in notes if "preset" in note] == ["preset N3V (temporal table of 150 rows)"]


def test_the_checkpoint_s_clock_wins_over_the_run_s(tmp_path: Path) -> None:
    expert = load_ed3dgs(saved(tmp_path), LoadOptions(num_frames=6))
    assert expert.num_frames == 12
    assert "the model was trained on 12 frames, the clip has 6" in expert.provenance.notes
    same = load_ed3dgs(tmp_path, LoadOptions(num_frames=12))
    assert not any("was trained on" in note for note in same.provenance.notes)


def test_names_of_moe_gs_and_older_files(tmp_path: Path) -> None:
    def rename(state: dict[str, Tensor]) -> None:
        for name in list(state):
            state[f"deformation_net.{name.replace('_f.', '_f1.')}"] = state.pop(name)

    before = load_ed3dgs(saved(tmp_path), LoadOptions())
    edit(tmp_path, rename)
    after = load_ed3dgs(tmp_path, LoadOptions())
    assert all(torch.equal(value, after.state_dict()[name]) for name, value in before.state_dict().items())


def test_missing_and_damaged_files(tmp_path: Path) -> None:
    assert "no such folder" in fault(tmp_path / "gone")
    deformation = cloud(saved(tmp_path)).with_name("deformation.pth")
    assert "available: 5000" in fault(tmp_path, iteration=4)
    content = deformation.read_bytes()
    deformation.write_bytes(content[: len(content) // 2])
    assert "truncated or damaged" in fault(tmp_path)
    deformation.rename(deformation.with_name("deformations.pth"))
    assert "no such file; nearest there: deformations.pth" in fault(tmp_path)
    cloud(tmp_path).write_bytes(cloud(tmp_path).read_bytes()[:-8])
    assert "truncated" in fault(tmp_path)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda state: state.pop("offsets"), "no tensor offsets"),
        (lambda state: state.pop("rgb_deform_f.3.bias"), "missing rgb_deform_f.3.bias"),
        (lambda state: state.update({"extra.weight": torch.zeros(1)}), "unexpected extra.weight"),
        (lambda state: state["weight"].mul_(float("nan")), "NaN or infinite values in weight"),
        (
            lambda state: state.update({"pos_deform_c.3.weight": torch.zeros(4, 128)}),
            "pos_deform_c.3.weight is [4, 128]",
        ),
        (
            lambda state: state.update({"feature_out_c.0.weight": torch.zeros(128, 272)}),
            "made for 16 embedding columns",
        ),
        (lambda state: state.clear(), "no tensor weight, found nothing"),
        (lambda state: state.update({"weight": torch.zeros(())}), "weight is []"),
    ],
)
def test_wrong_networks(tmp_path: Path, change: Callable[[dict[str, Tensor]], object], expected: str) -> None:
    edit(saved(tmp_path), change)
    assert expected in fault(tmp_path)


def test_wrong_value_in_cfg_args(tmp_path: Path) -> None:
    (saved(tmp_path) / "cfg_args").write_text("Namespace(min_embeddings='many')")
    assert "min_embeddings is 'many'" in fault(tmp_path)


def test_the_frames_that_a_user_says_beat_the_checkpoints_own(tmp_path: Path) -> None:
    saved(tmp_path)  # its cfg_args say 12
    own, said = (load_ed3dgs(tmp_path, LoadOptions(num_frames=6, expert_frames=frames)) for frames in (None, 20))
    assert (own.num_frames, said.num_frames) == (12, 20)
    assert not own.provenance.clip_is_assumed and not said.provenance.clip_is_assumed


@pytest.mark.parametrize("rows", [100_000_000, 0, -5])
def test_a_coarse_table_of_more_rows_than_the_fine_one_takes_no_memory(tmp_path: Path, rows: int) -> None:
    saved(tmp_path)
    write_cfg_args(tmp_path, {**(read_cfg_args(tmp_path) or {}), "min_embeddings": rows})
    assert f"cfg_args: min_embeddings is {rows}, 1 to " in fault(tmp_path)
