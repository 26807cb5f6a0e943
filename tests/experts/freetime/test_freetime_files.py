"""FreeTime's own folders: exact round trips, what other readers see, refusals in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from experts import EXPERTS, CheckpointError, LoadOptions, load_expert
from experts.formats.cfg_args import read_cfg_args, write_cfg_args
from experts.formats.columns import GAUSSIAN
from experts.formats.ply import read_comments, read_ply, select, write_ply
from experts.freetime.files import load_freetime, save_freetime
from experts.freetime.model import FreeTime
from experts.freetime.recipe import LifeSettings
from tests.experts.freetime.models import NUM_FRAMES, small_model

KINDS = {
    "ours": LifeSettings(limit=5.0),
    "published gate": LifeSettings(limit=100 / 6, sharpness=20.0, still=False),
    "no gate": LifeSettings(still=False, has_gate=False),
    "flat": LifeSettings(limit=4.9, kernel="flat"),
    "lasting": LifeSettings(limit=4.9, kernel="flat", still="lasting"),
    "lasting without gates": LifeSettings(still="lasting", has_gate=False),
}
CLOUD = "point_cloud/iteration_7/point_cloud.ply"


def same(one: FreeTime, other: FreeTime) -> bool:
    """Tells whether all tensors and switches are the same, bit for bit."""
    ours, theirs = one.state_dict(), other.state_dict()
    return (
        one.life == other.life
        and ours.keys() == theirs.keys()
        and all(torch.equal(ours[name], theirs[name]) for name in ours)
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_model_comes_back_bit_for_bit(tmp_path: Path, kind: str) -> None:
    model = small_model(40, settings=KINDS[kind])
    save_freetime(model, tmp_path, 7)
    loaded = load_freetime(tmp_path, LoadOptions(num_frames=NUM_FRAMES))
    assert same(loaded, model) and loaded.num_frames == NUM_FRAMES and loaded.provenance.iteration == 7
    assert {file.name for file in loaded.provenance.files} == {"cfg_args", "point_cloud.ply"}
    save_freetime(loaded, tmp_path / "again", 7)
    for name in ("cfg_args", CLOUD):
        assert (tmp_path / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_router_weights_are_columns(tmp_path: Path, kind: str) -> None:
    spec, model, weights = EXPERTS["FreeTime"], small_model(settings=KINDS[kind]), torch.randn(6, 3)
    spec.write_routed(model, tmp_path, 7, weights)
    assert torch.equal(spec.read_routed(tmp_path, None), weights)
    assert same(load_expert("FreeTime", tmp_path, LoadOptions()), model)


def test_the_columns_are_those_of_ftgs_then_ours(tmp_path: Path) -> None:
    model = small_model(settings=KINDS["flat"])
    save_freetime(model, tmp_path, 7)
    table = read_ply(tmp_path / CLOUD)
    assert table.names[: len(GAUSSIAN)] == GAUSSIAN
    life = ("time", "log_duration", "velocity_0", "velocity_1", "velocity_2")
    assert table.names[len(GAUSSIAN) :][:5] == life and table.names[-2:] == ("gate", "hold")
    torch.testing.assert_close(select(table, ["time"])[:, 0], model.times.detach() / (NUM_FRAMES - 1))
    comments = read_comments(tmp_path / CLOUD)
    assert comments[:2] == ("ftgs_version 1", "time_units normalized") and f"n_frames {NUM_FRAMES}" in comments


@pytest.mark.parametrize("kind", ["no gate", "lasting without gates"])
def test_a_reader_of_ftgs_sees_the_same_model_where_there_is_no_gate(tmp_path: Path, kind: str) -> None:
    model = small_model(settings=KINDS[kind])
    save_freetime(model, tmp_path, 7)
    (tmp_path / CLOUD).rename(tmp_path / "model.ftgs.ply")
    loaded = load_freetime(tmp_path / "model.ftgs.ply", LoadOptions())
    assert loaded.num_frames == NUM_FRAMES
    for frame in range(NUM_FRAMES):
        torch.testing.assert_close(loaded.at(frame).means, model.at(frame).means, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(loaded.at(frame).opacities, model.at(frame).opacities, rtol=1e-4, atol=1e-6)


def test_models_of_earlier_trainings_keep_their_rule_of_motion(tmp_path: Path) -> None:
    """Their cfg_args say True or False, or nothing; a word that is none of the rules is refused."""
    save_freetime(small_model(settings=KINDS["ours"]), tmp_path, 7)
    without_switches(tmp_path / CLOUD)
    facts = read_cfg_args(tmp_path)
    assert facts is not None and facts["still"] is True
    for stored, still in ((True, True), (False, False), (0, False)):
        write_cfg_args(tmp_path, {**facts, "still": stored})
        assert load_freetime(tmp_path, LoadOptions()).life.still is still
    (tmp_path / "cfg_args").unlink()
    write_cfg_args(tmp_path, {name: value for name, value in facts.items() if name != "still"})
    assert load_freetime(tmp_path, LoadOptions()).life.still is True
    write_cfg_args(tmp_path, {**facts, "still": "resting"})
    with pytest.raises(CheckpointError, match="still 'resting' is not supported"):
        load_freetime(tmp_path, LoadOptions())


def test_a_reader_of_ftgs_sees_at_least_what_a_gate_holds_there(tmp_path: Path) -> None:
    """A bell cannot show a gate; it must not lose the Gaussian, nor let it drift."""
    model = small_model(settings=KINDS["ours"])
    with torch.no_grad():
        model.gates.copy_(torch.tensor([9.0, 3.0, 0.0, -3.0, -30.0, 300.0]))
    save_freetime(model, tmp_path, 7)
    (tmp_path / CLOUD).rename(tmp_path / "model.ftgs.ply")
    loaded = load_freetime(tmp_path / "model.ftgs.ply", LoadOptions())
    gates = model.gate_values()
    assert gates is not None
    for frame in (0, NUM_FRAMES - 1):
        assert bool((loaded.lifespans(frame) > 0.999 * gates).all())
        torch.testing.assert_close(loaded.at(frame).means, model.at(frame).means, rtol=1e-5, atol=1e-5)
    narrow = loaded.durations()[4]  # its gate is shut: its own width
    torch.testing.assert_close(narrow, model.durations()[4])


def test_what_cfg_args_lack_is_the_default_and_noted(tmp_path: Path) -> None:
    save_freetime(small_model(settings=LifeSettings()), tmp_path, 7)
    written = read_cfg_args(tmp_path)
    assert written == {
        "limit": 0,
        "sharpness": 1,
        "still": True,
        "kernel": "bell",
        "has_gate": True,
        "total_num_frames": NUM_FRAMES,
    }
    without_switches(tmp_path / CLOUD)
    (tmp_path / "cfg_args").unlink()
    write_cfg_args(tmp_path, {"still": True})
    loaded = load_freetime(tmp_path, LoadOptions(num_frames=20))
    assert loaded.life == LifeSettings() and loaded.num_frames == 20
    assert any("limit 0" in note and "not in cfg_args" in note for note in loaded.provenance.notes)


def without_switches(path: Path) -> None:
    """Make a file one of an earlier version, which kept the switches in cfg_args alone."""
    table, comments = read_ply(path), read_comments(path)
    kept = [comment for comment in comments if not comment.startswith("life_")]
    assert len(kept) == len(comments) - 5
    write_ply(path, table.names, table.matrix, comments=kept)


@pytest.mark.parametrize("routed", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_the_ply_file_alone_is_the_same_model(tmp_path: Path, kind: str, routed: bool) -> None:
    model = small_model(settings=KINDS[kind])
    if routed:
        EXPERTS["FreeTime"].write_routed(model, tmp_path, 7, torch.randn(6, 3))
    else:
        save_freetime(model, tmp_path, 7)
    (tmp_path / "cfg_args").unlink()
    loaded = load_freetime(tmp_path, LoadOptions(num_frames=NUM_FRAMES))
    assert same(loaded, model)
    assert not any(note.startswith("warning") for note in loaded.provenance.notes)
    assert f"kernel {model.life.kernel} (from the PLY file's comments)" in loaded.provenance.notes


def test_raw_columns_that_nothing_explains_are_not_shown(tmp_path: Path) -> None:
    model = small_model(settings=LifeSettings(limit=5.0, has_gate=False, still=False))
    save_freetime(model, tmp_path, 7)
    without_switches(tmp_path / CLOUD)
    (tmp_path / "cfg_args").unlink()
    loaded = load_freetime(tmp_path, LoadOptions(num_frames=NUM_FRAMES))
    torch.testing.assert_close(loaded.durations(), model.durations())  # and not exp of a logit
    warnings = [note for note in loaded.provenance.notes if note.startswith("warning: ")]
    assert len(warnings) == 1 and "limit, sharpness, still, kernel, has_gate" in warnings[0]


def test_cfg_args_of_another_training_are_refused(tmp_path: Path) -> None:
    save_freetime(small_model(settings=KINDS["ours"]), tmp_path, 7)
    write_cfg_args(tmp_path, {"limit": 4})
    assert refused(tmp_path) == (
        f"{tmp_path}/cfg_args: limit is 4, but {tmp_path / CLOUD} was written with 5; one of them is of another "
        "training, copy both from the same"
    )


@pytest.mark.parametrize("text", ["", "5.0.0", "[5]", "None", "__import__('os')"])
def test_damaged_switches_are_refused(tmp_path: Path, text: str) -> None:
    save_freetime(small_model(), tmp_path, 7)
    table = read_ply(tmp_path / CLOUD)
    write_ply(tmp_path / CLOUD, table.names, table.matrix, comments=[f"life_limit {text}"])
    assert f"its comment {f'life_limit {text}'!r} is damaged" in refused(tmp_path)


def test_a_white_background_is_kept(tmp_path: Path) -> None:
    model = small_model()
    model.background = (1.0, 1.0, 1.0)
    save_freetime(model, tmp_path, 7)
    assert load_freetime(tmp_path, LoadOptions()).background == (1.0, 1.0, 1.0)


def refused(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_freetime(path, LoadOptions(num_frames=NUM_FRAMES))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kernel": "box"}, "kernel 'box' is not supported (supported: bell, flat)"),
        ({"kernel": "flat"}, "1 columns missing: hold"),
        ({"limit": -2}, "limit is -2, no less than 0 expected; mend it"),
        ({"limit": "five"}, "limit is 'five', a number expected; mend it"),
        ({"sharpness": None}, "sharpness is None"),
    ],
)
def test_wrong_settings_are_refused(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    save_freetime(small_model(), tmp_path, 7)
    without_switches(tmp_path / CLOUD)
    write_cfg_args(tmp_path, changes)
    if changes == {"sharpness": None}:  # "not said"
        assert load_freetime(tmp_path, LoadOptions()).life.sharpness == 1
        return
    assert message in refused(tmp_path)


@pytest.mark.parametrize("column", ["frame", "width_raw", "frame_velocity_1", "gate", "time", "x"])
def test_values_that_are_no_numbers_are_refused(tmp_path: Path, column: str) -> None:
    save_freetime(small_model(), tmp_path, 7)
    table = read_ply(tmp_path / CLOUD)
    table.matrix[3, table.names.index(column)] = np.nan
    write_ply(tmp_path / CLOUD, table.names, table.matrix)
    assert f"the first in column {column} at row 3" in refused(tmp_path)


@pytest.mark.parametrize("column", ["width_raw", "frame_velocity_2", "gate", "rot_0"])
def test_a_missing_column_is_named(tmp_path: Path, column: str) -> None:
    save_freetime(small_model(), tmp_path, 7)
    table = read_ply(tmp_path / CLOUD)
    kept = [index for index, name in enumerate(table.names) if name != column]
    write_ply(tmp_path / CLOUD, [table.names[index] for index in kept], table.matrix[:, kept])
    assert f"1 columns missing: {column}" in refused(tmp_path)


def test_a_folder_at_the_wrong_flag_is_recognised(tmp_path: Path) -> None:
    save_freetime(small_model(), tmp_path, 7)
    with pytest.raises(CheckpointError, match="looks like FreeTime, STG expected; give it to --freetime_path"):
        load_expert("STG", tmp_path, LoadOptions())
