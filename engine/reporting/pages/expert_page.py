"""The report of an expert's training as one page."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from common.disk.aside import is_set_aside
from common.text.wording import counted
from engine.checks.experts import EXPERT_REPORT
from engine.errors import ConfigError
from engine.evaluation.expert import ALONE
from engine.evaluation.measures.metrics import heading, shown_metrics, value_text
from engine.outputs.files import results_folder
from engine.outputs.maps import MOST_ERROR, error_colours
from engine.reporting.claims import listed
from engine.reporting.pages.charts import Line, colour_of, line_chart
from engine.reporting.pages.conditions import conditions_section, hash_rows, seconds_text
from engine.reporting.pages.markup import Html, Part, details, element, facts_table, image, note, page, section, table
from engine.reporting.results import METRICS_FILE, number, scores_of
from engine.settings.parsing.config_file import read_object
from engine.training.curve import CURVE_FILE, RATE, Row, points_of, read_curve

MOST_IMAGES = 4  # frames shown
CURVES = {  # columns of training.csv that are drawn, by what their axes say
    "loss": "training loss",
    "psnr": "training PSNR, dB",
    "test_psnr": "held-out PSNR, dB",
    "gaussians": "Gaussians",
}


def expert_reports(folder: Path) -> list[Path]:
    """The reports of an expert's training in its folder, or of its segments in theirs."""
    own = folder / EXPERT_REPORT
    if own.is_file():
        return [own]
    return [path for path in sorted(folder.glob(f"*/{EXPERT_REPORT}")) if not is_set_aside(path.parent)]


def expert_page(folder: Path) -> str:
    """Make the page of an expert's folder; ConfigError where no training was finished there."""
    reports = expert_reports(folder)
    if not reports:
        raise ConfigError(f"{folder}: no {EXPERT_REPORT}; train the expert to its end first")
    parts: list[Part] = []
    for path in reports:
        facts = read_object(path)
        if len(reports) > 1:
            parts.append(element("h2", f"Segment {path.parent.name}"))
        parts += _sections(path.parent, facts)
    first = read_object(reports[0])
    return page(f"{first.get('expert')}: {first.get('scene')}", *parts)


def _sections(folder: Path, facts: Mapping[str, Any]) -> list[Html]:
    iteration = int((facts.get("settings") or {}).get("iterations", 0))
    results = results_folder(folder, "test", iteration)
    path = results / METRICS_FILE
    metrics = read_object(path) if path.is_file() else {}
    return [
        _summary(facts),
        _scores(facts),
        _training(read_curve(folder / CURVE_FILE) or _history(facts)),
        _over_time(metrics),
        _images(results),
        _settings(facts),
        conditions_section({**metrics, **facts}),
        section("Hashes", details("SHA-256", facts_table(hash_rows(facts)))),
    ]


def _summary(facts: Mapping[str, Any]) -> Html:
    count, start = number(facts.get("gaussians")), number(facts.get("gaussians_at_start"))
    return element(
        "p",
        f"Preset {facts.get('preset')}, trained for {seconds_text(facts.get('training_seconds'))}. ",
        "" if count is None or start is None else f"{count:,.0f} Gaussians, {start:,.0f} at the start. ",
        f"Start points: {facts.get('start_points')}.",
    )


def _scores(facts: Mapping[str, Any]) -> Html:
    scores = scores_of(facts.get("scores") or {})
    shown = shown_metrics({"": scores})
    row: list[Part] = [value_text(metric, scores[metric.name]) for metric in shown]
    frames = facts.get("scored_frames")
    text = "No frame was scored." if frames is None else f"Means over {counted(int(frames), 'held-out frame')}."
    return section("Scores", table([heading(metric) for metric in shown], [row]), note(text))


def _training(rows: Sequence[Row]) -> Html:
    """The curves of training.csv that have values, the learning rates in one chart."""
    charts: list[Part] = []
    for column, label in CURVES.items():
        points = points_of(rows, column)
        if points:
            charts.append(line_chart([Line(name=label, points=points, colour=colour_of(0))], x="iteration", y=label))
    names = dict.fromkeys(name for row in rows for name in row if name.startswith(RATE))
    shown = {name.removeprefix(RATE): points_of(rows, name) for name in names}
    rates = [
        Line(name=name, points=[(x, math.log10(y)) for x, y in points if y > 0], colour=colour_of(index))
        for index, (name, points) in enumerate(shown.items())
        if any(y > 0 for _, y in points)
    ]
    if rates:
        charts.append(line_chart(rates, x="iteration", y="learning rate, log10"))
    text = "The last held-out point is of all scored frames, the others are of a few: do not compare them in detail."
    return section("Training", *charts, note(text))


def _history(facts: Mapping[str, Any]) -> list[dict[str, float]]:
    """The same rows from the report itself, for trainings that left no training.csv."""
    rows = [row for row in facts.get("history") or [] if isinstance(row, Mapping)]
    columns = {"iteration": "iteration", "test_psnr": "psnr", "gaussians": "gaussians"}
    numbers = [{name: number(row.get(key)) for name, key in columns.items()} for row in rows]
    known = [{name: value for name, value in row.items() if value is not None} for row in numbers]
    return [row for row in known if "iteration" in row]


def _over_time(metrics: Mapping[str, Any]) -> Html:
    frames = metrics.get("per_frame") or []
    cameras = list(dict.fromkeys(str(frame["camera"]) for frame in frames))
    lines = []
    for index, camera in enumerate(cameras):
        values = [(frame["frame"], _psnr(frame["scores"])) for frame in frames if frame["camera"] == camera]
        points = [(float(x), float("nan") if y is None else y) for x, y in values]
        lines.append(Line(name=camera, points=points, colour=colour_of(index)))
    title = f"PSNR over time, {listed(cameras)}" if cameras else "PSNR over time"
    return section(title, line_chart(lines, x="frame", y="PSNR, dB"))


def _psnr(scores: Mapping[str, Any]) -> float | None:
    return scores_of(scores.get(ALONE, scores))["psnr"]


def _images(results: Path) -> Html:
    shown: list[Html] = []
    for path in sorted((results / "renders").glob("*.png"))[:MOST_IMAGES]:
        pair = [_read(path), _read(results / "gt" / path.name)]
        if pair[0] is None or pair[1] is None or pair[0].shape != pair[1].shape:
            continue
        shown += [
            image(pair[1], f"{path.stem}, recorded"),
            image(pair[0], f"{path.stem}, rendered"),
            image(error_colours(pair[0], pair[1]), f"{path.stem}, error"),
        ]
    if not shown:
        return section("Images", note("There are no images."))
    text = f"Error: mean over channels, black is 0 and white is {MOST_ERROR:g} of the range or more."
    return section("Images", element("div", *shown, class_="grid triples"), note(text))


def _read(path: Path) -> np.ndarray | None:
    try:
        with Image.open(path) as opened:
            return np.asarray(opened.convert("RGB"))
    except (OSError, ValueError):
        return None


def _settings(facts: Mapping[str, Any]) -> Html:
    rows: dict[str, Part] = {
        name: element("code", json.dumps(value)) for name, value in (facts.get("settings") or {}).items()
    }
    notes = [element("li", str(each)) for each in facts.get("scene_notes") or []]
    return section("Settings", element("ul", *notes), details("Every setting", facts_table(rows)))
