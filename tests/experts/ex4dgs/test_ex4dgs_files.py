"""Ex4DGS's files: round trips, which file and which setting wins, and one line for every fault."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from experts.base import CheckpointError, LoadOptions
from experts.ex4dgs.chkpnt import read_chkpnt
from experts.ex4dgs.columns import STATIC as STATIC_COLUMNS
from experts.ex4dgs.files import load_ex4dgs, read_routed_ex4dgs, save_ex4dgs, write_routed_ex4dgs
from experts.ex4dgs.model import DynamicGaussians, Ex4DGS, StaticGaussians
from experts.ex4dgs.motion import KeyframeTimeline
from experts.formats.ply import read_ply, write_ply

N, M, K = 4, 3, 9
STATIC = {"means": (3,), "displacements": (3,), "log_scales": (3,), "quats": (4,), "opacity_logits": ()}
STATIC |= {"sh_dc": (1, 3), "sh_rest": (15, 3)}
DYNAMIC = {
    "means": (K, 3),
    "quats": (K, 4),
    "log_scales": (3,),
    "opacity_logits": (),
    "opacity_centres": (2,),
    "opacity_log_widths": (2,),
    "sh_dc": (1, 3),
    "sh_rest": (15, 3),
}


def model(dynamics: int = M, **changes) -> Ex4DGS:
    generator = torch.Generator().manual_seed(0)
    static = {name: torch.randn(N, *shape, generator=generator) for name, shape in STATIC.items()}
    dynamic = {name: torch.randn(dynamics, *shape, generator=generator) for name, shape in DYNAMIC.items()}
    timeline = KeyframeTimeline(duration=50, interval=8, pad=3, var_pad=2.5)
    options = {"timeline": timeline, "near": 0.7, "far": 80.0, "low_pass": 0.15} | changes
    return Ex4DGS(static=StaticGaussians(**static), dynamic=DynamicGaussians(**dynamic), **options)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_ex4dgs(model(), tmp_path / "coffee", 30)
    return tmp_path / "coffee"


def pair(folder: Path, iteration: int = 30) -> tuple[Path, Path]:
    place = folder / "point_cloud" / f"iteration_{iteration}"
    return place / "point_cloud.ply", place / "dynamic_point_cloud.ply"


def capture(expert: Ex4DGS) -> tuple:
    """The 40 entries that Ex4DGS's own trainer stores."""
    entries: list = [np.float32(1.3)] * 40
    static, dynamic = expert.static, expert.dynamic
    entries[1], entries[2], entries[3] = static.means, static.sh_dc, static.sh_rest
    entries[4], entries[5], entries[6] = static.log_scales, static.quats, static.opacity_logits[:, None]
    entries[16] = {"state": {}, "param_groups": [{"lr": 0.1}]}
    entries[18:23] = [static.displacements, 64, 10, 13, K]
    entries[23], entries[24], entries[25] = dynamic.means, dynamic.sh_dc, dynamic.sh_rest
    entries[26], entries[27] = dynamic.log_scales, dynamic.opacity_logits[:, None]
    entries[28], entries[29] = dynamic.opacity_centres[..., None], dynamic.opacity_log_widths[..., None]
    entries[30] = dynamic.quats
    return tuple(entries)


def fault(path: Path, **options) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_ex4dgs(path, LoadOptions(**options))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def same(first: Ex4DGS, second: Ex4DGS) -> bool:
    a, b = first.state_dict(), second.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_saved_model_loads_with_all_its_settings(folder: Path) -> None:
    loaded = load_ex4dgs(folder, LoadOptions())
    assert same(loaded, model())
    assert loaded.timeline == model().timeline
    assert loaded.settings == model().settings
    assert loaded.provenance.files == pair(folder) and loaded.provenance.iteration == 30


def test_saving_a_loaded_model_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    save_ex4dgs(load_ex4dgs(folder, LoadOptions()), tmp_path / "again", 30)
    for first, second in zip(
        (*pair(folder), folder / "cfg_args"), (*pair(tmp_path / "again"), tmp_path / "again/cfg_args"), strict=True
    ):
        assert first.read_bytes() == second.read_bytes()


def test_model_without_dynamic_gaussians_round_trips(tmp_path: Path) -> None:
    save_ex4dgs(model(dynamics=0), tmp_path, 1)
    loaded = load_ex4dgs(tmp_path, LoadOptions(num_frames=300))
    assert loaded.num_gaussians == N and loaded.at(3).count == N


def test_the_run_wins_over_cfg_args_and_cfg_args_over_presets(folder: Path) -> None:
    assert load_ex4dgs(folder, LoadOptions(near=4.0)).near == 4.0
    assert load_ex4dgs(folder, LoadOptions(num_frames=40)).timeline.duration == 50
    notes = load_ex4dgs(folder, LoadOptions(near=4.0)).provenance.notes
    assert "near 4 (from the run)" in notes and "far 80 (from cfg_args)" in notes
    (folder / "cfg_args").unlink()
    bare = load_ex4dgs(folder, LoadOptions(num_frames=40))
    assert (bare.near, bare.far, bare.low_pass) == (0.2, 300, 0.1)
    assert bare.timeline == KeyframeTimeline(duration=40, interval=10, pad=3, var_pad=3)
    assert "time_interval 10 frames (preset value: no cfg_args)" in bare.provenance.notes


def test_unresolved_duration_in_cfg_args_means_the_clips(folder: Path) -> None:
    (folder / "cfg_args").write_text("Namespace(duration=-1)")
    assert load_ex4dgs(folder, LoadOptions(num_frames=40)).timeline.duration == 40


def test_world_scale_is_the_runs(folder: Path) -> None:
    assert load_ex4dgs(folder, LoadOptions(world_scale=3.0)).settings.near == pytest.approx(2.1)


def test_another_scenes_name_in_cfg_args_is_a_note(folder: Path) -> None:
    (folder / "cfg_args").write_text("Namespace(source_path='/data/n3v/sear_steak/', time_pad=2)")
    notes = load_ex4dgs(folder, LoadOptions(scene="coffee_martini")).provenance.notes
    assert "cfg_args names the scene sear_steak, the run's is coffee_martini" in notes
    assert not any("warning" in n for n in load_ex4dgs(folder, LoadOptions(scene="sear_steak")).provenance.notes)


def test_chkpnt_as_the_path_brings_its_own_time(folder: Path) -> None:
    torch.save((capture(model()), 25), folder / "chkpnt25.pth")
    loaded = load_ex4dgs(folder / "chkpnt25.pth", LoadOptions(num_frames=50))
    assert same(loaded, model())
    assert loaded.timeline == KeyframeTimeline(duration=64, interval=10, pad=3, var_pad=2.5)
    assert loaded.provenance.iteration == 25 and loaded.near == 0.7
    times = "duration 64 frames of static motion, time_interval 10 frames (stored in the chkpnt)"
    assert times in loaded.provenance.notes


def test_pair_is_preferred_and_chkpnt_fills_in(folder: Path) -> None:
    for iteration in (10, 30):
        torch.save((capture(model()), iteration), folder / f"chkpnt{iteration}.pth")
    both = load_ex4dgs(folder, LoadOptions())
    assert both.timeline.duration == 50
    assert "read the two PLY files; ignored chkpnt30.pth, whose duration differs" in both.provenance.notes
    assert load_ex4dgs(folder, LoadOptions(iteration=10)).timeline.duration == 64
    pair(folder)[1].unlink()
    assert load_ex4dgs(folder, LoadOptions()).timeline.duration == 64
    shutil.rmtree(folder / "point_cloud")
    assert load_ex4dgs(folder, LoadOptions()).provenance.iteration == 30


def test_model_loaded_from_a_chkpnt_saves_its_time(folder: Path, tmp_path: Path) -> None:
    torch.save((capture(model()), 25), folder / "chkpnt25.pth")
    loaded = load_ex4dgs(folder / "chkpnt25.pth", LoadOptions())
    save_ex4dgs(loaded, tmp_path / "again", 25)
    again = load_ex4dgs(tmp_path / "again", LoadOptions())
    assert again.timeline == loaded.timeline and same(again, loaded)


def test_saving_keeps_other_settings_of_the_folder(folder: Path) -> None:
    (folder / "cfg_args").write_text("Namespace(iterations=40000, near=1.0)")
    save_ex4dgs(model(), folder, 31)
    text = (folder / "cfg_args").read_text()
    assert "iterations=40000" in text and "near=0.7" in text and "duration=50," in text


def test_the_routers_weights_ride_along_in_both_files(folder: Path) -> None:
    weights = torch.arange(3.0 * (N + M)).reshape(-1, 3)
    assert read_routed_ex4dgs(folder) is None
    write_routed_ex4dgs(model(), folder, 31, weights)
    assert torch.equal(read_routed_ex4dgs(folder, 31), weights)
    assert read_ply(pair(folder, 31)[0]).names[-3:] == ("f_t_0", "w_b_0", "w_b_1")
    assert read_ply(pair(folder, 31)[1]).names[-3:] == ("motion_f_t_0", "motion_w_b_0", "motion_w_b_1")
    assert same(load_ex4dgs(folder, LoadOptions()), model())
    shutil.copy(pair(folder)[1], pair(folder, 31)[1])
    with pytest.raises(CheckpointError, match="only some of its two PLY files"):
        read_routed_ex4dgs(folder)


def test_missing_folders_and_iterations(folder: Path) -> None:
    assert "no iteration 7; available: 30" in fault(folder, iteration=7)
    assert "nearest there: coffee" in fault(folder.parent / "coffe")
    pair(folder)[1].unlink()
    assert "dynamic_point_cloud.ply: no such file" in fault(folder)


def test_broken_tables(folder: Path) -> None:
    static, dynamic = pair(folder)
    table = read_ply(static)
    write_ply(static, (*STATIC_COLUMNS[:-3], "xyz_disp_0", "a", "b"), table.matrix)
    assert "2 columns missing: xyz_disp_1" in fault(folder)
    write_ply(static, [n.replace("f_rest_44", "f_rest_x") for n in STATIC_COLUMNS], table.matrix)
    assert "44 f_rest_* columns" in fault(folder)
    write_ply(static, STATIC_COLUMNS, table.matrix)
    moving = read_ply(dynamic)
    write_ply(dynamic, [n.replace("motion_rot_8_3", "motion_rot_9_3") for n in moving.names], moving.matrix)
    assert "motion_rot_8_3 (nearest: motion_rot_" in fault(folder)
    dynamic.write_bytes(b"<html>not found</html>")
    assert "a web page" in fault(folder)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("Namespace(interp_type='cubic_diff')", "interp_type 'cubic_diff' is not supported (supported: cube"),
        ("Namespace(rot_interp_type='lerp')", "rot_interp_type 'lerp' is not supported"),
        ("Namespace(near='close')", "near is 'close', a number expected"),
        ("Namespace(time_interval=1e999)", "time_interval is inf"),
    ],
)
def test_unusable_settings(folder: Path, text: str, what: str) -> None:
    (folder / "cfg_args").write_text(text)
    assert what in fault(folder)


def test_clip_longer_than_the_keyframes(folder: Path) -> None:
    load_ex4dgs(folder, LoadOptions(num_frames=45))
    assert "keyframes cover frames -3 to 45 (excluded), the clip has 46" in fault(folder, num_frames=46)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda c: [c], "holds a list, not (model, iteration)"),
        (lambda c: (c[:12], 5), "12 entries, Ex4DGS writes 40"),
        (lambda c: (c, "last"), "iteration 'last'"),
        (lambda c: ((*c[:20], 0, *c[21:]), 5), "positive numbers expected"),
        (lambda c: (("x", "y", *c[2:]), 5), "entry 1 is no tensor"),
        (lambda c: ((*c[:4], c[4][:2], *c[5:]), 5), "log_scales (entry 4) is [2, 3], [4, 3] expected"),
        (lambda c: ((*c[:30], c[30][:, :-1], *c[31:]), 5), "quats (entry 30) is [3, 8, 4], [3, 9, 4] expected"),
        (lambda c: ((c[0], c[1] * float("nan"), *c[2:]), 5), "NaN or infinite values in means"),
    ],
)
def test_broken_chkpnt(tmp_path: Path, change, what: str) -> None:
    with torch.no_grad():
        torch.save(change(capture(model())), tmp_path / "chkpnt5.pth")
    assert what in fault(tmp_path / "chkpnt5.pth")


def test_chkpnt_without_dynamic_gaussians(tmp_path: Path) -> None:
    entries = list(capture(model()))
    for entry in range(23, 31):
        entries[entry] = torch.empty(0)
    torch.save((tuple(entries), 5), tmp_path / "chkpnt5.pth")
    assert read_chkpnt(tmp_path / "chkpnt5.pth").dynamic.means.shape == (0, 0, 3)
    assert load_ex4dgs(tmp_path, LoadOptions()).at(3).count == N


def test_chkpnt_that_would_run_code_is_refused(tmp_path: Path) -> None:
    torch.save((Path("x"), 5), tmp_path / "chkpnt5.pth")
    assert "not on the list of harmless types" in fault(tmp_path / "chkpnt5.pth")
