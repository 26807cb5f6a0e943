from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch

import engine.commands.render
import engine.evaluation.measures.lpips_weights
import engine.evaluation.mixture_time
import engine.outputs.novel_views
from engine.commands.render import main
from engine.evaluation.measures.lpips_weights import LoadedLpips
from engine.outputs.video import VideoWriter
from engine.settings.rendering.metric_protocols import MetricConfig
from engine.settings.rendering.render import RenderConfig
from router import ENSEMBLES
from tests.engine.conftest import FlatFrames
from tests.small_world import small_run

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def saved(flat_run, tmp_path, monkeypatch):
    """`<tmp_path>/save` as if it held the flat run as E3 at iteration 7; remembers how it was opened.

    "prepared" has the views whose frames were decoded.
    """
    opened = {}
    (tmp_path / "save").mkdir()

    class Watched(FlatFrames):
        def prepare(self, views):
            opened["prepared"] = sorted(views)

    def load_run(save_path, *, iteration=None, overrides=None, needed="all", check=lambda scene: None, flag=None):
        check(flat_run.scene)
        opened.update(save_path=save_path, iteration=iteration, overrides=overrides, needed=needed)
        scene = replace(flat_run.scene, frames=Watched())
        return replace(flat_run, scene=scene, ensemble=ENSEMBLES["E3"], iteration=7)

    monkeypatch.setattr(engine.commands.render, "load_run", load_run)
    monkeypatch.setattr(engine.commands.render, "saved_ensemble", lambda save_path, iteration: "E3")
    monkeypatch.setattr(
        engine.evaluation.measures.lpips_weights,
        "load_lpips",
        lambda net, path: LoadedLpips(network=None, source="none"),
    )
    return opened


def render(tmp_path, *arguments: str, ensemble: str = "E3") -> int:
    return main(ensemble, ["--save_path", str(tmp_path / "save"), "--quiet", *arguments])


def frames(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def test_both_splits_are_rendered_in_upstreams_folders(saved, tmp_path, capsys):
    assert render(tmp_path) == 0
    assert (saved["iteration"], saved["needed"], saved["prepared"]) == (None, "none", [0, 1, 2])
    save = tmp_path / "save"
    assert frames(save / "train" / "itrs_7" / "videos" / "video_MoE.mp4") == 6
    assert frames(save / "test" / "itrs_7" / "videos" / "weights_low.mp4") == 3
    test = json.loads((save / "test" / "itrs_7" / "mean_metrics.json").read_text())
    train = json.loads((save / "train" / "itrs_7" / "mean_metrics.json").read_text())
    assert json.loads((save / "mean_metrics.json").read_text()) == test != train
    assert json.loads((save / "test" / "itrs_7" / "metrics.json").read_text())["iteration"] == 7
    shown = capsys.readouterr().out
    for path in (save / "mean_metrics.json", save / "train" / "itrs_7" / "metrics.json"):
        assert str(path) in shown.split("written:")[1]
    assert "uniform mean" in shown.split("held-out camera: cam00; 3 frames of 36x34 px")[1]
    assert "uniform mean" in shown.split("training cameras: cam01, cam02; 3 frames of 36x34 px")[1]


def test_a_split_can_be_skipped(saved, tmp_path):
    assert render(tmp_path, "--skip_train", "--iteration", "7", "--save_img") == 0
    assert (saved["iteration"], saved["prepared"]) == (7, [0])
    assert not (tmp_path / "save" / "train").exists()
    assert len(list((tmp_path / "save" / "test" / "itrs_7" / "renders").iterdir())) == 3

    assert render(tmp_path, "--skip_test", "--constant_frames", "0") == 0
    assert saved["prepared"] == [1, 2]
    metrics = json.loads((tmp_path / "save" / "train" / "itrs_7" / "metrics.json").read_text())
    assert metrics["baselines"] == {"uniform_mean": "every expert weighs the same"}


def test_typed_settings_reach_the_run_and_others_stay_as_trained(saved, tmp_path):
    render(tmp_path, "--skip_train")
    assert saved["overrides"] == {"quiet": True, "deterministic": False}
    model, scene = (tmp_path / name for name in ("a", "b"))
    model.mkdir()
    scene.mkdir()
    arguments = [
        "-m",
        str(model),
        "--eval_temperature",
        "0.5",
        "--tile_rule",
        "inria",
        "-s",
        str(scene),
        "--device",
        "cpu",
    ]
    render(tmp_path, "--skip_train", *arguments)
    assert saved["overrides"] == {
        "quiet": True,
        "deterministic": False,
        "model_path": model,
        "source_path": scene,
        "eval_temperature": 0.5,
        "tile_rule": "inria",
        "device": "cpu",
    }


def test_new_viewpoints_get_videos_in_a_folder_of_their_own(saved, tmp_path, monkeypatch):
    cameras = []
    real = engine.outputs.novel_views.mix_camera

    def seen(run, camera, frame, **more):
        cameras.append(camera)
        return real(run, camera, frame, **more)

    monkeypatch.setattr(engine.outputs.novel_views, "mix_camera", seen)
    assert render(tmp_path, "--y_offset", "0.25") == 0
    folder = tmp_path / "save" / "test" / "itrs_7_y_offset_0.25"
    assert frames(folder / "videos" / "video_MoE.mp4") == 3
    assert [path.name for path in folder.iterdir()] == ["videos"]
    assert not (tmp_path / "save" / "mean_metrics.json").exists()
    assert torch.allclose(cameras[0].centre, torch.tensor([0.0, -0.25, 0.0]))  # y points down
    assert cameras[0].fx == 30

    assert render(tmp_path, "--focal_mm", "18", "--y_offset", "-1") == 0
    assert (tmp_path / "save" / "test" / "itrs_7_y_offset_-1_focal_mm_18" / "videos").is_dir()
    assert (cameras[-1].fx, cameras[-1].fy) == (18.0, 18.0)  # 36 px wide


MAPS = ("truth", "grid", "error", "winner", "depth", "alpha")


def test_maps_are_further_videos_and_change_no_other_file(saved, tmp_path):
    def files() -> dict[str, bytes]:
        folder = tmp_path / "save" / "test" / "itrs_7"
        paths = [path for path in folder.rglob("*") if path.suffix in (".mp4", ".png")]
        return {str(path.relative_to(folder)): path.read_bytes() for path in paths}

    assert render(tmp_path, "--skip_train", "--save_img") == 0
    usual = files()
    assert render(tmp_path, "--skip_train", "--save_img", "--maps", *MAPS) == 0
    more = files()
    names = ["error_MoE", "winner", "depth_MoE", "alpha_MoE", "grid"]
    pngs = {f"{name}/cam00_{frame:05d}.png" for name in names for frame in range(3)}
    assert more.keys() - usual.keys() == {"videos/video_gt.mp4", *(f"videos/{name}.mp4" for name in names), *pngs}
    assert all(more[name] == usual[name] for name in usual if name.endswith(".png"))
    with av.open(str(tmp_path / "save" / "test" / "itrs_7" / "videos" / "video_gt.mp4")) as container:
        levels = [frame.to_ndarray(format="rgb24").mean() for frame in container.decode(video=0)]
    assert levels == pytest.approx([100] * 3, abs=1.5)


def test_novel_views_have_maps_without_a_truth(saved, tmp_path, capsys):
    assert render(tmp_path, "--y_offset", "0.25", "--maps", "grid", "depth") == 0
    videos = tmp_path / "save" / "test" / "itrs_7_y_offset_0.25" / "videos"
    assert {path.stem for path in videos.iterdir()} >= {"grid", "depth_MoE", "video_MoE"}
    assert render(tmp_path, "--y_offset", "0.25", "--maps", "grid", "error") == 2
    assert "--maps error compares with recorded frames" in capsys.readouterr().err


def test_a_full_disk_is_told_in_one_line(saved, tmp_path, monkeypatch, capsys):
    def fails(self, image):
        raise OSError(28, "No space left on device", str(self.path))

    monkeypatch.setattr(VideoWriter, "write", fails)
    assert render(tmp_path, "--skip_train") == 2
    error = capsys.readouterr().err
    assert "No space left on device" in error and error.count("\n") == 1
    assert not list((tmp_path / "save").rglob("*.mp4"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--skip_train", "--skip_test"], "nothing is left to render"),
        (["--y_offset", "1", "--skip_test"], "nothing is left to render"),
        (["--focal_mm", "0"], "--focal_mm is 0.0: give more than 0"),
        (["--eval_temperature", "-1"], "--eval_temperature is -1.0: give more than 0"),
        (["--constant_frames", "-1"], "--constant_frames is -1: give 0 or more"),
        (["--stg_path", "x"], "--stg_path: E3 has no such expert"),
        (["--rgbfunction", "sandwichlite"], "--rgbfunction was decided in training"),
        (["--test_frames=5"], "--test_frames is a flag of trainings: rendering scores all frames; leave it out"),
        (["--y_ofset", "1"], "did you mean --y_offset?"),
        (["--metric_protocol", "9bit"], "8bit"),
        (["--maps", "errors"], "error"),
    ],
)
def test_mistakes_are_told_in_one_line(saved, tmp_path, capsys, arguments, message):
    assert render(tmp_path, *arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not saved


def test_the_other_scripts_run_is_named(saved, tmp_path, capsys):
    assert render(tmp_path, ensemble="E4") == 2
    assert "a run of E3; use render_E3.py" in capsys.readouterr().err
    assert not saved, "the run was loaded before that was told"
    assert main("E3", []) == 2
    assert "missing: --save_path (folder of the trained run)" in capsys.readouterr().err


@pytest.mark.parametrize("ensemble", ["E4", "E3", "E3_tech"])
def test_the_three_scripts_are_rows_of_one_table(ensemble):
    text = (ROOT / f"render_{ensemble}.py").read_text()
    assert f'script("render", "{ensemble}")' in text
    assert len(text.splitlines()) <= 12


def test_held_out_cameras_that_nothing_fits_are_told(saved, flat_run, tmp_path, monkeypatch, capsys):
    white = np.full((34, 36, 3), 255, np.uint8)  # flat_run's experts show grey
    monkeypatch.setattr(type(flat_run.scene.frames), "read", lambda frames, view, frame: white)
    assert render(tmp_path, "--skip_train") == 0
    assert "the held-out cameras reach 4." in capsys.readouterr().err


def test_the_trial_scores_all_but_metrics_of_whole_clips(monkeypatch, tmp_path):
    run, tried = small_run(tmp_path), []
    monkeypatch.setattr(engine.commands.render, "must_decode", lambda scene, views: True)
    monkeypatch.setattr(
        engine.evaluation.mixture_time, "evaluate_mixture", lambda *_, options, **__: tried.append(options)
    )
    config = RenderConfig(metrics=MetricConfig(metrics=("flip", "cvvdp")))
    twins = {run.experts[0].name: run.experts[1]}
    time = engine.commands.render._scoring_time(run, run.scene.test, config, twins)
    assert {(options.metrics, tuple(options.twins)) for options in tried} == {(("flip",), tuple(twins))}
    assert time.line.endswith("by a trial on this machine, without cvvdp)")


def test_the_first_frames_of_a_trial_do_not_count(monkeypatch, tmp_path):
    """They load kernels and files: a clock that runs 1.5 s at the first images, 0.1 s and 0.2 s a frame at others."""
    run, clock, tried = small_run(tmp_path), [0.0], []

    def evaluate(*_, options, **__):
        clock[0] += 0.1 + 0.2 * len(options.frames) if tried else 1.5
        tried.append(options)

    monkeypatch.setattr(engine.commands.render, "must_decode", lambda scene, views: True)
    monkeypatch.setattr(engine.evaluation.mixture_time, "evaluate_mixture", evaluate)
    monkeypatch.setattr(engine.evaluation.mixture_time, "perf_counter", lambda: clock[0])
    time = engine.commands.render._scoring_time(run, run.scene.test, RenderConfig(), {})
    assert time.seconds_each == pytest.approx(0.2)
