"""A row of METRICS is all that a further metric takes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
import torch

from engine.evaluation.expert import evaluate_expert
from engine.evaluation.measures.metric_types import Metric, OpenedMetric, always_available
from engine.evaluation.measures.metrics import METRICS, describe_protocol
from engine.evaluation.mixture import EvaluationOptions, evaluate_mixture
from engine.evaluation.mixture_results import evaluation_summary
from engine.evaluation.scoring import scores_text
from engine.reporting.against_experts import report_lines, verdict_of
from engine.reporting.results import read_results
from engine.settings.parsing.fields import leaves
from engine.settings.rendering.metric_protocols import PROTOCOLS, MetricConfig

LEVEL = 1 / 255


def mean_error(pair) -> torch.Tensor:
    return (pair.image - pair.truth.image).abs().mean()


def row(**changes) -> Metric:
    fields = {
        "name": "mae",
        "label": "MAE",
        "unit": "",
        "higher_is_better": False,
        "digits": 3,
        "definition": lambda protocol: f"mean absolute error, {protocol.name}",
        "open": always_available(mean_error),
    }
    return Metric(**(fields | changes))


def report_of(save_path: Path) -> list[str]:
    return report_lines(verdict_of(read_results(save_path)))


@pytest.fixture(autouse=True)
def published_metrics() -> Iterator[None]:
    """The three published metrics are the whole table, whatever rows it has; afterwards, it is as it was, in order."""
    rows = dict(METRICS)
    for name in rows.keys() - {"psnr", "ssim", "lpips"}:
        del METRICS[name]
    yield
    METRICS.clear()
    METRICS.update(rows)


@pytest.fixture
def mae(published_metrics, monkeypatch) -> Metric:
    metric = row()
    monkeypatch.setitem(METRICS, "mae", metric)
    return metric


@pytest.fixture
def evaluated(flat_run, tmp_path):
    """Evaluates the flat run's held-out camera as iteration 7 of `<tmp_path>/run`, without networks."""

    def evaluate():
        options = EvaluationOptions(networks=False, videos=False, constant_frames=0, oracles=False, progress=False)
        folder = tmp_path / "run" / "test" / "itrs_7"
        return evaluate_mixture(flat_run, views=[0], folder=folder, options=options), folder

    return evaluate


def test_the_files_and_tables_of_a_mixture_follow(mae, evaluated):
    result, folder = evaluated()
    report = json.loads((folder / "metrics.json").read_text())
    assert list(report["means"]["low"]) == ["psnr", "ssim", "lpips", "mae"]
    assert report["per_frame"][0]["scores"]["high"]["mae"] == pytest.approx(10 * LEVEL)
    assert report["means"]["high"]["mae"] == pytest.approx(11 * LEVEL)
    assert report["protocol"]["mae"] == "mean absolute error, 8bit"
    upstream = json.loads((folder / "mean_metrics.json").read_text())
    assert list(upstream) == [
        "MoE-GS_PSNR",
        "MoE-GS_SSIM",
        "MoE-GS_LPIPS",
        "MoE-GS_MAE",
        "MoE-GS_times",
        "seconds_per_frame",
    ]
    assert upstream["MoE-GS_MAE"] == report["means"]["MoE"]["mae"] == pytest.approx(4 * LEVEL)
    lines = evaluation_summary("test", result).splitlines()
    assert lines[1].split() == ["PSNR,", "dB", "SSIM", "LPIPS", "MAE", "mean", "gate"]
    assert [line.split()[-2] for line in lines[2:4]] == ["0.075", "0.043"]


def test_the_report_follows(mae, evaluated, tmp_path):
    evaluated()
    lines = report_of(tmp_path / "run")
    assert lines[0].endswith("except for LPIPS, MAE.")
    assert lines[1].split() == ["PSNR,", "dB", "SSIM", "LPIPS", "MAE"]
    (mixture,) = (line.split() for line in lines if line.startswith("  MoE-GS "))
    assert mixture[-2:] == ["-", "0.016"]


def test_an_experts_scores_follow(mae, flat_run, tmp_path):
    result = evaluate_expert(
        flat_run.experts[0],
        flat_run.scene,
        compute=flat_run.compute,
        folder=tmp_path,
        frames=[0, 2],
        networks=False,
        quiet=True,
    )
    report = json.loads((tmp_path / "metrics.json").read_text())
    assert result.scores["mae"] == report["means"]["mae"] == pytest.approx(19 * LEVEL)
    assert [frame["scores"]["mae"] for frame in report["per_frame"]] == pytest.approx([20 * LEVEL, 18 * LEVEL])
    assert re.match(r"PSNR 22\.\d\d dB, SSIM 0\.", scores_text(result.scores)) and scores_text(result.scores).endswith(
        ", MAE 0.075"
    )


def test_a_report_of_a_rendering_before_the_metric_was_there_leaves_it_out(evaluated, tmp_path, monkeypatch):
    evaluated()
    monkeypatch.setitem(METRICS, "mae", row())
    (mixture,) = (line.split() for line in report_of(tmp_path / "run") if line.startswith("  MoE-GS "))
    assert mixture[-1] == "-"


def test_the_columns_of_an_optional_metric_are_there_where_it_was_measured(evaluated, monkeypatch, tmp_path):
    monkeypatch.setitem(METRICS, "mae", row(optional=True))
    result, _ = evaluated()
    assert "MAE" not in evaluation_summary("test", result).splitlines()[1].split()
    assert "MAE" not in report_of(tmp_path / "run")[1].split()
    monkeypatch.setitem(METRICS, "mae", row())
    result, _ = evaluated()
    monkeypatch.setitem(METRICS, "mae", row(optional=True))
    assert "MAE" in evaluation_summary("test", result).splitlines()[1].split()
    assert "MAE" in report_of(tmp_path / "run")[1].split()


def test_a_metric_that_cannot_be_measured_is_null_with_its_reason(evaluated, monkeypatch):
    opened = OpenedMetric(measure=None, source="it needs images of 999 pixels")
    monkeypatch.setitem(METRICS, "mae", row(open=lambda request: opened, needs_network=False))
    result, folder = evaluated()
    assert json.loads((folder / "mean_metrics.json").read_text())["MoE-GS_MAE"] is None
    lines = evaluation_summary("test", result).splitlines()
    assert [line.split()[-2] for line in lines[2:4]] == ["-", "-"]
    assert lines[-2:] == ["  LPIPS: not asked for", "  MAE: it needs images of 999 pixels"]


def test_the_weights_of_a_metric_with_a_network_are_recorded(evaluated, monkeypatch):
    monkeypatch.setitem(METRICS, "mae", row(needs_network=True))
    _, folder = evaluated()
    report = json.loads((folder / "metrics.json").read_text())
    assert list(report)[:4] == ["schema", "protocol", "lpips_weights", "mae_weights"]
    assert report["mae_weights"] == "not asked for"
    assert report["means"]["MoE"]["mae"] is None


def test_every_protocol_defines_every_metric_and_is_a_flag():
    for protocol in PROTOCOLS.values():
        assert list(describe_protocol(protocol)) == ["name", "image", *METRICS]
    choices = get_args(leaves(MetricConfig)["metric_protocol"])[0]
    assert get_args(choices) == tuple(PROTOCOLS)
