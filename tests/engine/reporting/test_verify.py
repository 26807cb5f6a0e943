"""`moegs.py verify` finds what was changed behind a result, and nothing else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

import moegs
from engine.commands import train
from engine.reporting.comparison import Agreement
from tests.small_world import RestoredWorld

RESULTS = Path("test") / "itrs_2"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> RestoredWorld:
    """A run "out" of the small world, trained for a moment and rendered with PNGs."""

    def make(root: Path, flags: list[str]) -> None:
        assert train.main("E3", [*flags, f"--save_path={root / 'out'}", "--iterations=2"]) == 0
        assert moegs.main(["render", f"--save_path={root / 'out'}", "--skip_train", "--save_img", "--quiet"]) == 0

    return RestoredWorld.made(tmp_path_factory.mktemp("verify"), make)


@pytest.fixture
def rendered(world: RestoredWorld, monkeypatch: pytest.MonkeyPatch) -> Path:
    return world.restored(monkeypatch) / "out"


def verify(out: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = moegs.main(["verify", str(out), "--quiet", *arguments])
    return code, capsys.readouterr().out


def change(path: Path, **keys: object) -> None:
    facts = json.loads(path.read_text())
    path.write_text(json.dumps(facts | keys))


def test_an_untouched_run_agrees(rendered: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.read_bytes() for path in rendered.rglob("*") if path.is_file()}
    code, printed = verify(rendered, capsys)
    assert (code, printed.splitlines()[-1]) == (0, "all agree")
    assert "4 of 4 frames rendered again on the same device" in printed
    code, printed = verify(rendered, capsys, "--frames=3")  # neighbours, and the clip's last is left out
    assert (code, printed.splitlines()[-1]) == (0, "all agree")
    assert "3 of 4 frames rendered again" in printed
    assert "nothing was rendered again (--frames 0)" in verify(rendered, capsys, "--frames=0")[1]
    assert {path: path.read_bytes() for path in rendered.rglob("*") if path.is_file()} == before


def test_a_scene_without_a_camera_of_the_results_is_named(rendered: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = rendered / RESULTS / "metrics.json"
    path.write_text(path.read_text().replace('"cam00"', '"cam99"'))
    line = f"{rendered.parent}: no camera cam99; give the scene of the results"
    assert moegs.main(["verify", str(rendered), "--quiet"]) == 2
    assert line in capsys.readouterr().err
    assert moegs.main(["report", str(rendered), "--quiet"]) == 0
    assert line in capsys.readouterr().err and line in (rendered / "report.html").read_text()


def test_an_expert_that_is_gone_is_named_with_the_flag_that_gives_it(
    rendered: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, moved = rendered.parent / "models" / "E-D3DGS", rendered.parent / "moved"
    folder.rename(moved)
    code, printed = verify(rendered, capsys)
    line = f"{folder}: the E-D3DGS model is not there any more; say where with --expert E-D3DGS=PATH"
    assert (code, printed.splitlines()[0], printed.splitlines()[-1]) == (1, line, "1 difference")
    assert verify(rendered, capsys, f"--expert=E-D3DGS={moved}")[0] == 0


def test_a_changed_expert_is_named_and_nothing_is_rendered(rendered: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (file,) = (rendered.parent / "models" / "E-D3DGS").rglob("point_cloud.ply")
    file.write_text("others")
    code, printed = verify(rendered, capsys)
    assert code == 1
    assert printed.splitlines()[0] == f"{file}: changed since the router was trained with it (E-D3DGS)"
    assert "nothing was rendered again" in printed and printed.endswith("1 difference\n")
    file.unlink()
    assert f"{file}: missing" in verify(rendered, capsys)[1]


def test_a_changed_router_is_named(rendered: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = rendered / "router" / "iteration_2" / "router.safetensors"
    tensors = load_file(path)
    tensors["STG.static" if "STG.static" in tensors else "Ex4DGS.static"] += 1
    save_file(tensors, path)
    code, printed = verify(rendered, capsys)
    assert code == 1
    assert f"{path}: changed; router.json beside it records other tensors" in printed
    assert f"{path}: not the router that {rendered / RESULTS / 'metrics.json'} was measured with" in printed
    path.write_bytes(b"no tensors")
    code, printed = verify(rendered, capsys)
    assert code == 1 and f"{path}: damaged" in printed


def test_a_changed_score_of_a_frame_is_named(rendered: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = rendered / RESULTS / "metrics.json"
    facts = json.loads(path.read_text())
    scores = facts["per_frame"][2]["scores"]["MoE"]
    measured = scores["psnr"]
    scores["psnr"] = measured + 0.5
    path.write_text(json.dumps(facts))
    code, printed = verify(rendered, capsys)
    assert code == 1
    assert f"{path}: cam00, frame 2, MoE-GS PSNR is {measured + 0.5:.2f}, rendered again {measured:.2f}" in printed
    assert f"{path}: means, MoE-GS PSNR is" in printed
    assert printed.endswith("4 differences\n")  # both mean_metrics.json have the mean too


def test_a_changed_mean_is_named_without_rendering(rendered: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = rendered / RESULTS / "metrics.json"
    facts = json.loads(path.read_text())
    facts["means"]["Ex4DGS"]["ssim"] += 0.01
    facts["mean_gates"]["Ex4DGS"] = 0.9
    change(path, means=facts["means"], mean_gates=facts["mean_gates"])
    code, printed = verify(rendered, capsys, "--frames=0")
    assert code == 1 and printed.endswith("2 differences\n")
    assert f"{path}: means, Ex4DGS SSIM is" in printed and f"{path}: mean_gates, Ex4DGS is 0.9" in printed


def test_the_changes_between_neighbours_are_compared_where_both_are_rendered(
    rendered: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = rendered / RESULTS / "metrics.json"
    facts = json.loads(path.read_text())
    for frame in facts["per_frame"][1:]:
        frame["scores"]["MoE"]["tpsnr"] += 1
    facts["means"]["MoE"]["tpsnr"] += 1
    change(path, per_frame=facts["per_frame"], means=facts["means"])
    wrong = {count: verify(rendered, capsys, f"--frames={count}")[1].count("MoE-GS tPSNR is") for count in (2, 3, 4)}
    assert wrong == {2: 0, 3: 2, 4: 3}  # frames 0 and 2; 0, 1 and 2; all


def test_metrics_that_are_newer_than_the_results_are_not_compared(
    rendered: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = rendered / RESULTS / "metrics.json"
    facts = json.loads(path.read_text())
    for scores in (
        *facts["means"].values(),
        *(each for frame in facts["per_frame"] for each in frame["scores"].values()),
    ):
        del scores["psnr_moving"], scores["ssim"]
    change(path, means=facts["means"], per_frame=facts["per_frame"])
    for name in (RESULTS / "mean_metrics.json", "mean_metrics.json"):
        upstream = json.loads((rendered / name).read_text())
        del upstream["MoE-GS_PSNR_moving"], upstream["MoE-GS_SSIM"]
        (rendered / name).write_text(json.dumps(upstream))
    code, printed = verify(rendered, capsys)
    assert (code, printed.splitlines()[-1]) == (0, "all agree; not recorded, so not compared: SSIM, PSNR_moving")


def test_a_changed_mean_under_the_papers_names_is_named(rendered: Path, capsys: pytest.CaptureFixture[str]) -> None:
    of_run, own = rendered / "mean_metrics.json", rendered / RESULTS / "mean_metrics.json"
    measured = json.loads(own.read_text())
    change(of_run, **{"MoE-GS_PSNR": 40.0})
    code, printed = verify(rendered, capsys, "--frames=0")
    assert code == 1 and printed.endswith("1 difference\n")
    assert f"{of_run}: MoE-GS_PSNR is 40.0, the frames give {measured['MoE-GS_PSNR']}" in printed
    change(own, **{"MoE-GS_times": 9.0})
    code, printed = verify(rendered, capsys, "--frames=0")
    assert code == 1 and printed.endswith("2 differences\n") and f"{own}: MoE-GS_times is 9.0" in printed
    newer = rendered / "test" / "itrs_9"  # whose copy the run's file is
    newer.mkdir()
    shutil.copy(of_run, newer / "mean_metrics.json")
    assert verify(rendered, capsys, "--frames=0")[1].endswith("1 difference\n")


def test_no_win_by_means_that_the_frames_contradict(rendered: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = rendered / RESULTS / "metrics.json"
    means = json.loads(path.read_text())["means"]
    measured = means["MoE"]["psnr"]
    means["MoE"]["psnr"] = 60.0
    change(path, means=means)
    assert moegs.main(["report", str(rendered), "--frames=0", "--require_win"]) == 2
    error = capsys.readouterr().err
    assert f"--require_win: {path}: means, MoE-GS PSNR is 60.0, the frames give {measured}; render" in error
    assert not (rendered / "report.html").exists()
    assert moegs.main(["report", str(rendered), "--frames=0"]) == 0
    assert f"warning: {path}: means, MoE-GS PSNR is 60.0" in capsys.readouterr().err


def test_a_changed_image_and_a_lost_one_are_named(rendered: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changed, lost = (rendered / RESULTS / name for name in ("renders/cam00_00001.png", "gt/cam00_00003.png"))
    pixels = np.array(Image.open(changed))
    pixels[0, 0, 0] ^= 1
    Image.fromarray(pixels).save(changed)
    lost.unlink()
    code, printed = verify(rendered, capsys)
    assert code == 1 and printed.endswith("2 differences\n")
    assert f"{changed}: changed" in printed and f"{lost}: missing" in printed
    shutil.rmtree(rendered / RESULTS / "renders")
    lost.write_bytes(b"no image")
    assert f"{lost}: damaged" in verify(rendered, capsys)[1]


def test_recorded_hashes_are_compared(rendered: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = rendered / RESULTS / "metrics.json"
    hashes = json.loads(path.read_text())["hashes"]
    hashes["truth"] = "0" * 64
    hashes["predictions"]["MoE"] = "1" * 64
    change(path, hashes=hashes)
    code, printed = verify(rendered, capsys)
    assert code == 1 and printed.endswith("2 differences\n")
    assert "hashes, truth is not" in printed and "hashes, predictions of MoE" in printed


def test_results_of_another_device_may_differ_a_little(rendered: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = rendered / RESULTS / "metrics.json"
    facts = json.loads(path.read_text())
    for frame in facts["per_frame"]:
        frame["scores"]["MoE"]["psnr"] += 0.015
    facts["means"]["MoE"]["psnr"] = sum(frame["scores"]["MoE"]["psnr"] for frame in facts["per_frame"]) / 4
    for file in (rendered / "mean_metrics.json", rendered / RESULTS / "mean_metrics.json"):
        change(file, **{"MoE-GS_PSNR": facts["means"]["MoE"]["psnr"]})
    change(path, device="another GPU", per_frame=facts["per_frame"], means=facts["means"])
    code, printed = verify(rendered, capsys)
    assert (code, "within 0.02 dB" in printed) == (0, True), printed
    change(path, device=facts["device"])
    assert verify(rendered, capsys)[0] == 1


def test_the_rule_of_images() -> None:
    image = np.full((4, 5, 3), 100, np.uint8)
    near, far = image + 1, image + 2
    assert Agreement(same_device=True).images(image, image.copy())
    assert not Agreement(same_device=True).images(image, near)
    assert Agreement(same_device=False).images(image, near)
    assert not Agreement(same_device=False).images(image, far)
    assert not Agreement(same_device=False).images(image, image[:3])


@pytest.mark.parametrize(
    ("recorded", "value", "same", "near"),
    [
        (31.001, 31.004, True, True),
        (31.001, 31.011, False, True),
        (31.0, 31.03, False, False),
        (float("inf"), float("inf"), True, True),
        (None, None, True, True),
        (31.0, None, False, False),
    ],
)
def test_the_rule_of_scores(recorded: float | None, value: float | None, same: bool, near: bool) -> None:
    assert Agreement(same_device=True).scores("psnr", recorded, value) is same
    assert Agreement(same_device=False).scores("psnr", recorded, value) is near


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--iteration=7"], "iteration 7 was not rendered; rendered: 2"),
        (["--split=train"], "train: no metrics.json in an itrs_<N> folder; render the run first"),
        (["--frames=-1"], "--frames is -1: give 0 or more"),
        (["--eval_temperature=1"], "--eval_temperature"),
    ],
)
def test_mistakes_are_answered_in_one_line(
    rendered: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert moegs.main(["verify", str(rendered), *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"per_frame": [{"camera": "cam00"}]}, "metrics.json: damaged; render the run again"),
        ({"means": {"MoE": 3}}, "metrics.json: damaged; render the run again"),
        ({"means": {}}, "metrics.json: no means in it; render the run again"),
        ({"protocol": {"name": "mine"}}, "metrics.json: protocol 'mine' is unknown"),
    ],
)
def test_damaged_results_are_answered_in_one_line(
    rendered: Path, capsys: pytest.CaptureFixture[str], keys: dict[str, object], message: str
) -> None:
    change(rendered / RESULTS / "metrics.json", **keys)
    assert moegs.main(["verify", str(rendered), "--quiet"]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
