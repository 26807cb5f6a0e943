from __future__ import annotations

import json
import math
import re
import weakref
from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest
from moegs_rasterizer import RasterizerError
from PIL import Image

import engine.evaluation.mixture
from engine.errors import ConfigError
from engine.evaluation.measures import lpips_weights
from engine.evaluation.measures.lpips_weights import LoadedLpips
from engine.evaluation.measures.metrics import METRICS, heading
from engine.evaluation.mixture import EvaluationOptions, evaluate_mixture
from engine.evaluation.mixture_results import FrameResult, evaluation_summary
from engine.evaluation.rivals.baselines import ConstantWeights
from engine.evaluation.rivals.fitted_constants import no_better_constants
from engine.runs.device import CPU, device_name

QUIET = EvaluationOptions(progress=False)


def level_psnr(levels: float) -> float:
    return math.inf if levels == 0 else -20 * math.log10(levels / 255)


@pytest.fixture(autouse=True)
def no_lpips(monkeypatch):
    monkeypatch.setattr(
        lpips_weights,
        "load_lpips",
        lambda net, path: LoadedLpips(network=None, source="none here"),
    )


def test_known_images_give_known_numbers(flat_run, tmp_path):
    result = evaluate_mixture(flat_run, views=flat_run.scene.test, folder=tmp_path / "out", options=QUIET)
    for frame in result.frames:
        off = {name: scores["psnr"] for name, scores in frame.scores.items()}
        t = frame.frame
        assert off["low"] == pytest.approx(level_psnr(20 - t), abs=1e-4)
        assert off["high"] == pytest.approx(level_psnr(10 + t), abs=1e-4)
        assert off["uniform_mean"] == off["MoE"] == pytest.approx(level_psnr(5 - t), abs=1e-4)
        assert frame.gates == pytest.approx({"low": 0.5, "high": 0.5})
    # the target is 19, 18 and 17 levels above "low" of the three frames, "high" always 30: weight 19 / 30
    weights = json.loads((tmp_path / "out" / "metrics.json").read_text())["baselines"]["best_constant"]["weights"]
    assert weights["high"] == pytest.approx(19 / 30, abs=2e-3)
    assert result.means["MoE"]["psnr"] == pytest.approx(np.mean([level_psnr(5 - t) for t in range(3)]), abs=1e-4)
    assert result.means["low"]["lpips"] is None


def test_everything_is_written(flat_run, tmp_path):
    options = replace(QUIET, images=True)
    folder = tmp_path / "save" / "test" / "itrs_7"
    result = evaluate_mixture(flat_run, views=[0], folder=folder, options=options)
    names = ["video_MoE", "video_low", "video_high", "weights_low", "weights_high"]
    assert sorted(p.name for p in (folder / "videos").iterdir()) == sorted(f"{n}.mp4" for n in names)
    assert all(path.exists() for path in result.files)
    for kind in ("renders", "gt", "renders_low", "renders_high", "weights_low", "weights_high"):
        assert sorted(p.name for p in (folder / kind).iterdir()) == [f"cam00_{t:05d}.png" for t in range(3)]
    assert np.asarray(Image.open(folder / "gt" / "cam00_00000.png")).ravel().tolist() == [100] * (36 * 34 * 3)
    assert set(np.asarray(Image.open(folder / "renders_high" / "cam00_00002.png")).ravel()) == {112}
    assert set(np.asarray(Image.open(folder / "renders" / "cam00_00001.png")).ravel()) == {96}
    assert set(np.asarray(Image.open(folder / "weights_low" / "cam00_00001.png")).ravel()) == {128}

    report = json.loads((folder / "metrics.json").read_text())
    assert report["protocol"]["name"] == "8bit"
    assert (report["cameras"], report["held_out"], report["frames"]) == (["cam00"], [True], [0, 1, 2])
    assert (report["resolutions"], report["temperature"]) == ([[36, 34]], 1.0)
    assert report["lpips_weights"] == "none here"
    assert set(report["hashes"]["experts"]) == {"low", "high"}
    assert {"torch", "numpy", "python", "moegs-rasterizer"} == set(report["versions"])
    assert report["device"] == device_name(CPU) and report["peak_gpu_memory_mib"] is None
    oracles = ["oracle_pixel", "oracle_window", "oracle_frame"]
    assert list(report["means"]) == ["MoE", "low", "high", "uniform_mean", "best_constant", *oracles]
    assert list(report["oracles"]) == oracles
    assert report["baselines"]["best_constant"]["fitted_on"] == {"cam00": [0, 1, 2]}
    assert [row["frame"] for row in report["per_frame"]] == [0, 1, 2]
    assert report["per_frame"][1]["scores"]["low"]["psnr"] == pytest.approx(level_psnr(19), abs=1e-4)
    assert report["best_frame"]["frame"] == 2
    assert report["worst_frame"]["frame"] == 0
    assert report["mean_gates"] == pytest.approx({"low": 0.5, "high": 0.5})

    upstream = json.loads((folder / "mean_metrics.json").read_text())
    times = ["MoE-GS_times", "seconds_per_frame"]
    assert list(upstream) == [*(f"MoE-GS_{metric.label}" for metric in METRICS.values()), *times]
    assert {"MoE-GS_PSNR", "MoE-GS_SSIM", "MoE-GS_LPIPS"} <= set(upstream)
    assert upstream["MoE-GS_PSNR"] == report["means"]["MoE"]["psnr"]
    assert upstream["MoE-GS_LPIPS"] is None
    assert upstream["seconds_per_frame"] == upstream["MoE-GS_times"] == report["timing"]["mean_seconds"] > 0
    lines = evaluation_summary("test", result).splitlines()
    conditions = (
        "held-out camera: cam00; 3 frames of 36x34 px; metric protocol 8bit (clamped to [0, 1] and rounded to 8 bits, "
        "SSIM of 3DGS, LPIPS(alex) on [-1, 1]); softmax temperature 1; "
    )
    assert re.fullmatch(rf"{re.escape(conditions)}\d+(\.\d)? ms per frame", lines[0])
    shown = [METRICS[name] for name in ("psnr", "ssim", "lpips", "tpsnr")]
    assert re.split(" {2,}", lines[1].strip()) == [*map(heading, shown), "mean gate"]
    methods = [re.split(" {2,}", line)[1] for line in lines[2:10]]
    assert methods == ["low", "high", "uniform mean", "best constants", *oracles, "MoE-GS"]
    assert lines[10].startswith("  best constants: highest mean PSNR found on 3 of the 3 scored frames; ")
    assert [line.split(":")[0].strip() for line in lines[11:14]] == oracles
    share = report["window_gap_share"]
    assert lines[14] == "  PSNR gap from uniform mean to oracle_window: there is none"
    assert share is None  # uniform mean is better than both experts
    assert lines[15:] == [
        "  LPIPS: none here",
        "  MS-SSIM: it needs images of at least 161 pixels a side; the smallest side is 34",
        "  PSNR_moving: too few pixels move in the recorded frames",
        "  SSIM_moving: too few pixels move in the recorded frames",
        "  LPIPS_moving: it needs the weights of LPIPS",
    ]


def test_the_best_constants_are_never_below_equal_weights_and_each_expert(flat_run, tmp_path):
    """The target of the frames lies far apart, and a frame that the fit did not see decides."""
    for frames in (None, 1, 2):
        options = replace(QUIET, videos=False, networks=False, constant_frames=frames)
        result = evaluate_mixture(flat_run, views=[0, 1], folder=tmp_path / "out", options=options)
        psnr = {name: scores["psnr"] for name, scores in result.means.items()}
        assert psnr["best_constant"] >= max(psnr["uniform_mean"], psnr["low"], psnr["high"])
        baseline = result.conditions["baselines"]["best_constant"]
        assert sum(map(len, baseline["fitted_on"].values())) == (frames or 6)
        assert f"on {frames or 6} of the 6 scored frames" in baseline["what"]
        assert sum(baseline["weights"].values()) == pytest.approx(1)


def frame_of(**psnr: float) -> FrameResult:
    scores = {name: {**dict.fromkeys(METRICS), "psnr": value} for name, value in psnr.items()}
    return FrameResult(camera="cam00", frame=0, seconds=1.0, gates={}, scores=scores)


@pytest.mark.parametrize(
    ("uniform", "low", "weights", "reached"),
    [
        (24.0, 23.0, (0.3, 0.7), 25.0),
        (25.0, 23.0, (0.3, 0.7), 25.0),  # the fitted weights where both are equal
        (25.1, 23.0, (0.5, 0.5), 25.1),
        (25.1, 26.0, (1.0, 0.0), 26.0),
    ],
)
def test_simple_weights_that_score_better_than_the_fitted_ones_replace_them(uniform, low, weights, reached):
    """Clamping, rounding and frames that were left out can make them better: the fit does not know these."""
    fitted = ConstantWeights(weights=(0.3, 0.7), fitted_on=((0, 0),), evaluated=2)
    frames = [
        frame_of(MoE=20.0, low=low + step, high=20.0, uniform_mean=uniform + step, best_constant=25.0 + step)
        for step in (-1.0, 1.0)
    ]
    chosen, constants = no_better_constants(frames, fitted, ["low", "high"])
    assert constants == replace(fitted, weights=weights)
    assert [frame.scores["best_constant"]["psnr"] for frame in chosen] == [reached - 1, reached + 1]
    assert [frame.scores["MoE"]["psnr"] for frame in chosen] == [20, 20]
    assert list(chosen[0].scores) == ["MoE", "low", "high", "uniform_mean", "best_constant"]
    assert no_better_constants(frames, None, ["low", "high"]) == (tuple(frames), None)


def test_unrounded_differences_are_counted_by_a_protocol_that_does_not_round(flat_run, tmp_path):
    options = replace(QUIET, videos=False, protocol="ex4dgs")
    result = evaluate_mixture(flat_run, views=[0], folder=tmp_path / "out", options=options)
    assert result.means["low"]["ssim1"] == pytest.approx(
        flat_ssim(100, 80, 1) / 3 + flat_ssim(100, 81, 1) / 3 + flat_ssim(100, 82, 1) / 3, abs=1e-4
    )
    assert result.means["low"]["dssim1"] is None
    assert "ssim1" not in result.unavailable and "dssim1" not in result.unavailable
    assert result.unavailable["lpips_vgg"] == "none here"


def flat_ssim(a: int, b: int, data_range: int) -> float:
    """SSIM of two images without contrast: its luminance term."""
    x, y, c1 = a / 255, b / 255, (0.01 * data_range) ** 2
    return (2 * x * y + c1) / (x * x + y * y + c1)


def test_a_fault_that_the_gpu_finds_late_leaves_no_numbers_and_no_videos(flat_run, tmp_path, monkeypatch):
    calls = iter(range(100))

    def found_late(compute):
        if next(calls) == 2:
            raise RasterizerError("layer 0: means has 1 NaN")

    monkeypatch.setattr(engine.evaluation.mixture, "wait", found_late)
    with pytest.raises(RasterizerError, match="1 NaN"):
        evaluate_mixture(flat_run, views=[0], folder=tmp_path / "out", options=replace(QUIET, constant_frames=0))
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


def test_views_follow_one_another_in_one_video(flat_run, tmp_path):
    evaluate_mixture(flat_run, views=flat_run.scene.train, folder=tmp_path / "out", options=QUIET)
    with av.open(str(tmp_path / "out" / "videos" / "video_high.mp4")) as container:
        levels = [frame.to_ndarray(format="rgb24").mean() for frame in container.decode(video=0)]
    assert levels == pytest.approx([110, 111, 112] * 2, abs=1.5)


@pytest.mark.parametrize(("footage", "videos"), [(Fraction(25), 25), (Fraction(30000, 1001), 30000 / 1001), (None, 30)])
def test_videos_have_the_frame_rate_of_the_footage(flat_run, tmp_path, footage, videos):
    run = replace(flat_run, scene=replace(flat_run.scene, frame_rate=footage))
    evaluate_mixture(run, views=run.scene.test, folder=tmp_path / "out", options=QUIET)
    for path in (tmp_path / "out" / "videos").iterdir():
        with av.open(str(path)) as container:
            assert float(container.streams.video[0].average_rate) == pytest.approx(videos)


def test_only_training_cameras_give_their_number_to_experts(flat_run, tmp_path):
    options = replace(QUIET, frames=[1], videos=False, constant_frames=0)
    evaluate_mixture(flat_run, views=[0, 2], folder=tmp_path / "out", options=options)
    assert flat_run.experts[0].cameras == [None, 2]


def test_an_evaluation_in_training_leaves_numbers_only(flat_run, tmp_path):
    options = replace(QUIET, frames=[0, 2], videos=False, constant_frames=0, protocol="upstream")
    result = evaluate_mixture(flat_run, views=[0], folder=tmp_path / "out", options=options)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["mean_metrics.json", "metrics.json"]
    assert [frame.frame for frame in result.frames] == [0, 2]
    assert "best_constant" not in result.means
    assert result.means["low"]["psnr"] == pytest.approx((level_psnr(20) + level_psnr(18)) / 2, abs=1e-4)


def test_unusable_choices_are_named(flat_run, tmp_path):
    with pytest.raises(ConfigError, match="8bit, 8bit_vgg, upstream"):
        evaluate_mixture(flat_run, views=[0], folder=tmp_path, options=replace(QUIET, protocol="psnr"))
    with pytest.raises(ConfigError, match="nothing to evaluate"):
        evaluate_mixture(flat_run, views=[], folder=tmp_path, options=QUIET)
    camera = replace(flat_run.scene.views[1].camera, width=40)
    views = (flat_run.scene.views[0], replace(flat_run.scene.views[1], camera=camera), flat_run.scene.views[2])
    mixed = replace(flat_run, scene=replace(flat_run.scene, views=views))
    with pytest.raises(ConfigError, match="cannot share a video"):
        evaluate_mixture(mixed, views=[0, 1], folder=tmp_path, options=QUIET)
    assert not (tmp_path / "metrics.json").exists()


def test_memory_does_not_hold_the_clip(flat_run, tmp_path, monkeypatch):
    made, most = [], 0
    real = engine.evaluation.mixture.mix_view

    def counted(run, view, frame, **more):
        nonlocal most
        mixture = real(run, view, frame, **more)
        made.append(weakref.ref(mixture.images))
        most = max(most, sum(reference() is not None for reference in made))
        return mixture

    for module in (engine.evaluation.mixture, engine.evaluation.rivals.fitted_constants):
        monkeypatch.setattr(module, "mix_view", counted)
    evaluate_mixture(flat_run, views=[0, 1, 2], folder=tmp_path / "out", options=QUIET)
    assert len(made) == 9 + 9  # every frame, twice: the constants are fitted on all of them first
    assert most <= 2  # the one last scored and the one just made
