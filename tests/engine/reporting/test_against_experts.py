from __future__ import annotations

import json
from pathlib import Path

import pytest

import moegs
from engine.reporting.against_experts import Verdict, report_lines, verdict_line, verdict_of
from engine.reporting.results import read_results

FRAME = {"camera": "cam00", "frame": 0, "seconds": 0.1, "gates": {"STG": 1.0}}


def rendered(folder: Path, iteration: int, **psnr: float) -> None:
    target = folder / "test" / f"itrs_{iteration}"
    (target / "videos").mkdir(parents=True)
    for name in ("weights_STG", "video_STG", "video_MoE"):
        (target / "videos" / f"{name}.mp4").touch()
    means = {name: {"psnr": value} for name, value in psnr.items()}
    facts = {
        "means": means,
        "per_frame": [FRAME | {"scores": means}],
        "protocol": {"name": "8bit"},
        "experts": ["STG"],
        "cameras": ["cam00"],
        "frames": [0],
        "resolutions": [[36, 34]],
    }
    (target / "metrics.json").write_text(json.dumps(facts))


def verdict(folder: Path) -> Verdict:
    return verdict_of(read_results(folder))


def test_the_newest_rendering_counts(tmp_path: Path) -> None:
    rendered(tmp_path, 90, Ex4DGS=30.0, STG=31.0, uniform_mean=31.5, MoE=29.0)
    limits = {"best_constant": 33.0, "oracle_pixel": 40.0, "oracle_window": 36.0, "oracle_frame": 35.0}
    rendered(tmp_path, 200, Ex4DGS=30.0, STG=31.0, uniform_mean=31.5, **limits, MoE=32.0)
    newest = verdict(tmp_path)
    assert newest.wins and newest.best_expert == "STG"
    assert newest.gains == pytest.approx({"STG": 1.0, "uniform_mean": 0.5})
    assert [path.name for path in newest.videos] == ["video_MoE.mp4", "video_STG.mp4", "weights_STG.mp4"]
    assert "MoE-GS: 1.00 dB above STG, 0.50 dB above the uniform mean" in report_lines(newest)
    claim = "better in PSNR; not measured: SSIM and LPIPS"
    assert verdict_line(newest) == f"MoE-GS against its experts and the uniform mean: {claim}."


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
def test_a_mixture_that_does_not_win_is_said_with_the_numbers_and_can_be_an_error(
    mixture: float, lines: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rendered(tmp_path, 5, Ex4DGS=30.0, STG=31.0, uniform_mean=31.2, MoE=mixture)
    assert moegs.main(["report", str(tmp_path), "--frames=0"]) == 0
    printed = capsys.readouterr().out
    assert all(text in printed for text in (f"{mixture:.2f}", "In PSNR, MoE-GS is not better than ", *lines))
    assert moegs.main(["report", str(tmp_path), "--frames=0", "--require_win"]) == 1
    assert capsys.readouterr().out == printed
