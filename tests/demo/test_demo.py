"""The demo's commands and shipped experts, from the scene to the verdict, on smaller images from three cameras."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import demo.figure
import moegs
from demo.figure import LABEL, MARGIN, Tile, compose
from demo.playroom import PointCounts, RigSize, write_scene
from demo.report import read_verdict, report_lines, verdict_line
from engine.commands import render, train
from engine.errors import ConfigError
from engine.evaluation.oracles import ORACLES
from router import ENSEMBLES, folder_flags

SIZE = RigSize(width=80, height=60, num_cameras=3)
EXPERTS = Path(__file__).resolve().parents[2] / "demo" / "experts"


@pytest.fixture(scope="module")
def demo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's folder after its commands, with three steps of the router."""
    root = tmp_path_factory.mktemp("demo")
    write_scene(root / "playroom", size=SIZE, counts=PointCounts(still=20, moving=20, instants=1), supersampling=2)
    flags = [f"--{flag}={EXPERTS / name}" for name, flag in folder_flags(ENSEMBLES["E4"]).items()]
    data = ["--source_path", str(root / "playroom"), "--save_path", str(root / "run"), "--quiet"]
    assert train.main("E4", [*data, *flags, "--iterations", "3", "--test_iterations", "--test_frames", "1"]) == 0
    assert render.main("E4", ["--save_path", str(root / "run"), "--skip_train", "--quiet"]) == 0
    return root


def test_the_shipped_experts_show_the_scene_and_are_reported(
    demo_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = moegs.main(["demo-report", str(demo_folder / "run")])
    printed = capsys.readouterr().out
    verdict = read_verdict(demo_folder / "run")
    assert code == (0 if verdict.wins else 1)
    methods = {"Ex4DGS", "E-D3DGS", "STG", "4DGaussians", "uniform_mean", "best_constant", "MoE", *ORACLES}
    assert set(verdict.scores) == methods
    psnr = {method: scores["psnr"] for method, scores in verdict.scores.items()}
    assert all(value > 20 for value in psnr.values()), psnr  # 21.0 to 25.6 seen
    assert str(demo_folder / "run" / "test" / "itrs_3" / "videos" / "video_MoE.mp4") in printed
    (row,) = (line.split() for line in printed.splitlines() if line.startswith("  MoE-GS "))
    assert row[1:3] == [f"{psnr['MoE']:.2f}", f"{verdict.scores['MoE']['ssim']:.4f}"]


def test_a_figure_shows_every_expert_and_gate(
    demo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    width = 80
    monkeypatch.setattr(demo.figure, "TILE_WIDTH", width)  # small, as choosing the palette takes its time
    target = tmp_path / "images" / "demo.png"
    assert moegs.main(["demo-figure", str(demo_folder / "run"), str(target), "--frame", "2"]) == 0
    with Image.open(target) as image:
        assert image.mode == "P"  # with a palette: 40 % of the size
        pixels = np.asarray(image.convert("RGB"))
    tile, columns = (60 + LABEL + MARGIN, width + MARGIN), 1 + len(ENSEMBLES["E4"].experts)
    assert pixels.shape == (2 * tile[0] + MARGIN, columns * tile[1] + MARGIN, 3)
    for row, column in product(range(2), range(columns)):
        top, left = MARGIN + row * tile[0] + LABEL, MARGIN + column * tile[1]
        assert pixels[top : top + 60, left : left + width].mean() < 240, (row, column)  # paper is 255


def rendered(folder: Path, iteration: int, **psnr: float) -> None:
    target = folder / "test" / f"itrs_{iteration}"
    (target / "videos").mkdir(parents=True)
    for name in ("weights_STG", "video_STG", "video_MoE"):
        (target / "videos" / f"{name}.mp4").touch()
    means = {name: {"psnr": value} for name, value in psnr.items()}
    (target / "metrics.json").write_text(json.dumps({"means": means}))


def test_the_newest_rendering_counts(tmp_path: Path) -> None:
    rendered(tmp_path, 90, Ex4DGS=30.0, STG=31.0, uniform_mean=31.5, MoE=29.0)
    limits = {"best_constant": 33.0, "oracle_pixel": 40.0, "oracle_window": 36.0, "oracle_frame": 35.0}
    rendered(tmp_path, 200, Ex4DGS=30.0, STG=31.0, uniform_mean=31.5, **limits, MoE=32.0)
    verdict = read_verdict(tmp_path)
    assert verdict.wins and verdict.best_expert == "STG"
    assert verdict.gains == pytest.approx({"STG": 1.0, "uniform_mean": 0.5})
    assert [path.name for path in verdict.videos] == ["video_MoE.mp4", "video_STG.mp4", "weights_STG.mp4"]
    assert "MoE-GS: 1.00 dB above STG, 0.50 dB above the uniform mean" in report_lines(verdict)
    claim = "better in PSNR; not measured: SSIM and LPIPS"
    assert verdict_line(verdict) == f"MoE-GS against its experts and the uniform mean: {claim}."


@pytest.mark.parametrize(
    ("mixture", "lines"),
    [
        (
            31.2,
            ("0.20 dB above STG, 0.00 dB above the uniform mean", "not better than the uniform mean (31.20 dB)."),
        ),
        (
            30.0,
            ("1.00 dB below STG, 1.20 dB below the uniform", "than STG (31.00 dB) and the uniform mean (31.20 dB)."),
        ),
    ],
)
def test_a_mixture_that_does_not_win_is_an_error_with_the_numbers(
    mixture: float, lines: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rendered(tmp_path, 5, Ex4DGS=30.0, STG=31.0, uniform_mean=31.2, MoE=mixture)
    assert moegs.main(["demo-report", str(tmp_path)]) == 1
    printed = capsys.readouterr().out
    assert all(text in printed for text in (f"{mixture:.2f}", "FAILED: in PSNR, MoE-GS is not better than ", *lines))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["demo-reprt"], "did you mean demo-report?"),
        (["prepare-breakfast"], "see --help"),
        (["demo-report", "."], "render the run first"),
        (["demo-report", "nowhere"], "RUN nowhere: no such folder"),
        (["demo-scene", "--wokers", "1"], "is not a flag"),
    ],
)
def test_mistakes_are_answered_in_one_line(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert moegs.main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_run_without_renderings_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"test: no metrics\.json"):
        read_verdict(tmp_path)


def test_tiles_keep_their_shape_and_order() -> None:
    red, grey = np.zeros((30, 40, 3), np.uint8), np.full((30, 40), 128, np.uint8)
    red[..., 0] = 255
    image = np.asarray(compose([Tile(label="a", image=red), Tile(label="b", image=grey)], columns=2))
    assert image.shape == (24 + 225 + 12, 2 * 300 + 18, 3)
    assert image[150, 150].tolist() == [255, 0, 0] and image[150, 450].tolist() == [128, 128, 128]
