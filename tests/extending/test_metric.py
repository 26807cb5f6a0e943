"""docs/extending/metric.md: a metric is in result files, tables and reports."""

from __future__ import annotations

import json
from pathlib import Path

from demo.playroom import RigSize
from engine.evaluation.measures.metrics import METRICS
from tests.extending.pages import copy_product, follow, read_page

SIZE = RigSize(width=48, height=36, num_frames=3, num_cameras=3)


def test_the_page_adds_a_metric(tmp_path: Path) -> None:
    assert "mae" not in METRICS  # what follows is the row's doing
    product = copy_product(tmp_path, size=SIZE)
    rendered, trained = follow(read_page("metric"), product)
    assert rendered.code == trained.code == 0, rendered.err + trained.err
    run = product.out / "run"
    metrics = json.loads((run / "test/itrs_20/metrics.json").read_text())
    assert all(0 < means["mae"] < 1 for means in metrics["means"].values())
    assert all(0 < frame["scores"]["MoE"]["mae"] < 1 for frame in metrics["per_frame"])
    assert metrics["protocol"]["mae"].startswith("mean absolute error")
    mae = metrics["means"]["MoE"]["mae"]
    for path in (run / "mean_metrics.json", run / "test/itrs_20/mean_metrics.json"):
        assert json.loads(path.read_text())["MoE-GS_MAE"] == mae
    check_tables(rendered.out, f"{mae:.4f}")
    report = json.loads((product.out / "stg/train_expert.json").read_text())
    assert 0 < report["scores"]["mae"] < 1 and f"MAE {report['scores']['mae']:.4f}" in trained.err


def check_tables(printed: str, value: str) -> None:
    """The scripts' table and the demo's report have the column, in METRICS's order."""
    lines = [line.split() for line in printed.splitlines()]
    headings = [line for line in lines if "MAE" in line and "SSIM" in line]
    assert [line[2:5] for line in headings] == [["SSIM", "MAE", "LPIPS"]] * 2
    rows = [line for line in lines if line[:1] == ["MoE-GS"]]
    assert [row[3] for row in rows] == [value, value]
    assert "except for MAE, LPIPS" in printed
