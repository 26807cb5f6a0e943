"""`moegs.py table`: means and spreads of runs, and differences to published numbers, by value."""

from __future__ import annotations

import csv
import io
import json
import math
import statistics
from pathlib import Path

import pytest

import moegs
from engine.evaluation.measures.metrics import METRICS
from engine.reporting.published import ANCHORS, AVERAGES, BY_SCENE, DATA_SETS, published_mean, published_score
from engine.reporting.results import read_results
from engine.reporting.score_table import Cell, mean_rows, scene_rows

PSNR = METRICS["psnr"]


def write_run(folder: Path, scene: str, **psnr: float) -> Path:
    """A rendered run whose methods have these PSNR; `MoE`, `STG` and so on."""
    usual = DATA_SETS["n3v" if scene in DATA_SETS["n3v"].scenes else "technicolor"]
    means = {name.replace("_", "-"): {"psnr": value, "ssim": 0.9, "lpips": None} for name, value in psnr.items()}
    facts = {
        "scene": scene,
        "ensemble": "E4",
        "experts": ["STG"],
        "protocol": {"name": "8bit", "image": "rounded", "lpips": "alex"},
        "resolutions": [list(usual.size)],
        "frames": list(range(usual.frames)),
        "cameras": [usual.camera],
        "means": means,
        "per_frame": [{"camera": usual.camera, "frame": 0, "scores": means, "gates": {}}],
        "hashes": {"router": str(folder)},
    }
    results = folder / "test" / "itrs_10"
    results.mkdir(parents=True)
    (results / "metrics.json").write_text(json.dumps(facts))
    return folder


def change(folder: Path, **keys: object) -> None:
    path = folder / "test" / "itrs_10" / "metrics.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | keys))


def printed(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert moegs.main(["table", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def test_a_scene_beside_the_published_number(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_run(tmp_path / "a", "flame_steak", STG=33.50, MoE=34.25)
    text = printed(capsys, folder)
    assert "| scene | STG | MoE-GS |" in text
    assert r"| flame\_steak | 33.50 [-0.14] | 34.25 |" in text  # 33.64 is published
    assert "of STG, full model (CVPR 2024)" in text
    assert "| MoE-GS, 4 experts | 33.27 | - | - | MoE-GS (arXiv 2510.19210) |" in text
    assert "LPIPS (lower" not in text and "mean |" not in text  # not measured; one scene has no mean
    assert "published 1352x1014" not in text


def test_several_runs_of_a_scene_are_a_mean_with_its_spread(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = (33.0, 33.3, 33.9)
    folders = [write_run(tmp_path / str(index), "sear_steak", MoE=value) for index, value in enumerate(values)]
    text = printed(capsys, *folders)
    assert r"| sear\_steak | 33.40 ± 0.46 (33.00 to 33.90) |" in text
    assert Cell(values=(33.0, 33.0)).text(PSNR) == "33.00"
    endless = (math.inf, math.inf), (33.0, math.inf)  # PSNR of equal images
    assert [Cell(values=values).text(PSNR) for values in endless] == ["inf", "inf"]
    assert r"Runs: sear\_steak 3." in text and "same router" not in text
    change(folders[1], hashes={"router": "same"})
    change(folders[2], hashes={"router": "same"})
    assert "Two of the runs have the same router" in printed(capsys, *folders)


def all_scenes(root: Path, key: str, method: str = "STG") -> list[Path]:
    return [
        write_run(root / scene, scene, **{method: 30.0 + index, "MoE": 31.0 + index})
        for index, scene in enumerate(DATA_SETS[key].scenes)
    ]


def test_the_mean_of_a_data_set_is_compared_with_the_papers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = all_scenes(tmp_path, "n3v")
    again = write_run(tmp_path / "again", "coffee_martini", STG=32.0, MoE=33.0)
    text = printed(capsys, *folders, again)
    # coffee_martini counts once, as 31 and 32: the means are (31 + 31 + 32 + 33 + 34 + 35) / 6 and one more
    assert "| mean | 32.67 [+0.75] | 33.67 |" in text
    rows = mean_rows(scene_rows([read_results(folder) for folder in folders]))
    assert rows[0].cells["STG", "psnr"].difference(PSNR) == pytest.approx(32.5 - 31.92)
    for folder in folders:
        change(folder, experts=["Ex4DGS", "E-D3DGS", "STG", "4DGaussians"])
    (mean,) = mean_rows(scene_rows([read_results(folder) for folder in folders[:-1]]))
    assert mean.cells["STG", "psnr"].published is None and mean.cells["STG", "psnr"].mean == pytest.approx(32.0)


def test_the_mixtures_mean_is_compared_with_that_of_as_many_experts(tmp_path: Path) -> None:
    folders = all_scenes(tmp_path, "technicolor")
    for folder in folders:
        path = folder / "test" / "itrs_10" / "metrics.json"
        facts = json.loads(path.read_text())
        for name in ("Ex4DGS", "E-D3DGS"):
            facts["means"][name] = facts["means"]["STG"]
        path.write_text(json.dumps(facts))
    (mean,) = mean_rows(scene_rows([read_results(folder) for folder in folders]))
    assert mean.cells["MoE", "psnr"].difference(PSNR) == pytest.approx(33.0 - 34.55)


def test_rows_of_other_protocols_are_not_mixed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = (write_run(tmp_path / name, "Birthday", STG=32.0, MoE=33.0) for name in ("one", "other"))
    change(other, protocol={"name": "upstream"}, resolutions=[[1024, 544]], frames=[0, 1])
    text = printed(capsys, one, other)
    assert "| Birthday (8bit, 2048x1088 px, 50 frames) | 32.00 [-0.09] | 33.00 |" in text
    assert "| Birthday (upstream, 1024x544 px, 2 frames) |" in text
    assert "1024x544 px, published 2048x1088 px; 2 frames, published 50." in text
    assert "| mean" not in text


def test_data_sets_are_not_mixed_in_a_mean(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ("Birthday", "Train", "flame_steak", "sear_steak", "coffee_martini")
    text = printed(capsys, *(write_run(tmp_path / name, name, MoE=30.0 + len(name)) for name in names))
    assert "| mean (Technicolor, E4, 8bit) | 36.50 |" in text
    assert "| mean (Neural 3D Video, E4, 8bit) | 41.67 |" in text


def test_csv_has_every_number(tmp_path: Path) -> None:
    folders = [write_run(tmp_path / str(seed), "Train", STG=32.0 + seed / 3) for seed in range(2)]
    target = tmp_path / "scores.csv"
    assert moegs.main(["table", *map(str, folders), "--format=csv", f"--out={target}"]) == 0
    rows = list(csv.DictReader(io.StringIO(target.read_text())))
    (row,) = [row for row in rows if (row["method"], row["metric"]) == ("STG", "psnr")]
    assert (row["scene"], row["runs"], row["published"]) == ("Train", "2", "32.58")
    values = [32.0, 32.0 + 1 / 3]
    assert float(row["mean"]) == pytest.approx(statistics.fmean(values))
    assert float(row["standard_deviation"]) == pytest.approx(statistics.stdev(values))
    assert (float(row["smallest"]), float(row["largest"])) == pytest.approx(tuple(values))
    assert float(row["difference"]) == pytest.approx(statistics.fmean(values) - 32.58)
    assert {row["metric"] for row in rows} == {"psnr", "ssim"}


def test_latex_is_escaped_and_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [
        write_run(tmp_path / name, scene, STG=33.0) for name, scene in (("a", "flame_steak"), ("b", "sear_steak"))
    ]
    change(folders[0], scene="50%_of_$&#{x}\\")
    text = printed(capsys, *folders, "--format=latex")
    assert r"50\%\_of\_\$\&\#\{x\}\textbackslash{} & 33.00 \\" in text
    assert r"sear\_steak & 33.00 {[}-0.89{]} \\" in text
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 3
    for line in text.splitlines():
        if line.endswith(r"\\"):
            assert line.count("&") - line.count(r"\&") in (1, 4)


def test_another_name_of_a_scene_is_known(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a", "flame_salmon_1", STG=29.0)
    change(folder, scene="flame_salmon")
    (row,) = scene_rows([read_results(folder)])
    assert row.cells["STG", "psnr"].difference(PSNR) == pytest.approx(29.0 - 29.48)


def test_published_scores_are_consistent() -> None:
    for entries in (BY_SCENE, *AVERAGES.values(), *ANCHORS.values()):
        for entry in entries:
            assert entry.source and set(entry.scores) <= set(METRICS)
            assert 20 < entry.scores.get("psnr", 30) < 40 and 0 < entry.scores.get("lpips", 0.1) < 0.3
    stg = [published_score(scene, "STG", "psnr") for scene in DATA_SETS["n3v"].scenes]
    assert statistics.fmean(row.scores["psnr"] for row in stg if row) == pytest.approx(32.05, abs=0.006)
    ex4dgs = [published_score(scene, "Ex4DGS", "psnr") for scene in DATA_SETS["technicolor"].scenes]
    assert statistics.fmean(row.scores["psnr"] for row in ex4dgs if row) == pytest.approx(33.62, abs=0.006)
    assert published_score("room", "STG", "psnr") is None
    row = published_mean("technicolor", "MoE-GS, 3 experts", "lpips")
    assert row is not None and row.scores["lpips"] == 0.083


@pytest.mark.parametrize(
    ("arguments", "message"),
    [([], "missing: SAVE_PATH"), (["nowhere"], "SAVE_PATH nowhere: no such folder"), (["."], "render the run first")],
)
def test_mistakes_are_answered_in_one_line(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert moegs.main(["table", *arguments]) == 2
    assert message in capsys.readouterr().err
