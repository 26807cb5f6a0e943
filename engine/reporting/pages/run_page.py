"""The report of a rendered run as one page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.text.wording import counted, script_command
from engine.evaluation.measures.metrics import heading, shown_metrics, value_text
from engine.evaluation.mixture_results import LIMITS, TITLES
from engine.evaluation.rivals.baselines import CONSTANT
from engine.outputs.colours import expert_colours
from engine.outputs.frame_images import FrameImages
from engine.outputs.maps import MOST_ERROR, error_colours
from engine.outputs.render_writer import MIXTURE
from engine.reporting.claims import best_of, claims
from engine.reporting.pages.charts import STRONG, Line, colour_of, legend, line_chart
from engine.reporting.pages.conditions import conditions_section, hash_rows, seconds_text
from engine.reporting.pages.markup import Html, Part, details, element, facts_table, image, note, page, section, table
from engine.reporting.pages.run_frames import WINDOW, strongest, winners
from engine.reporting.pages.worth import Worth
from engine.reporting.results import METRICS_FILE, Results, number, scores_of
from engine.training.curve import CURVE_FILE, points_of

CAMERAS_DRAWN = 4  # of PSNR over time


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """All that a run's page shows."""

    save_path: Path
    results: Results
    settings: Mapping[str, Any]  # of config.json
    curve: Sequence[Mapping[str, float]]  # rows of training.csv
    frames: Mapping[str, FrameImages]  # images by caption: the best and the worst frame
    worth: Worth | None
    missing: str = ""  # the reason why nothing was rendered


def run_page(report: RunReport) -> str:
    """Make the page."""
    facts = report.results.facts
    title = f"MoE-GS: {facts.get('scene', report.save_path.name)}"
    cameras = ", ".join(map(str, facts.get("cameras", [])))
    sizes = ", ".join(f"{width}x{height} px" for width, height in facts.get("resolutions", []))
    frames = counted(len(facts.get("frames", [])), "frame")
    intro = element(
        "p",
        f"Mixture of {', '.join(report.results.experts)}, iteration {facts.get('iteration')}. ",
        f"Scores on camera {cameras}, {frames}, {sizes}, metric protocol {facts['protocol']['name']}.",
    )
    return page(
        title,
        intro,
        _scores(report),
        _over_time(report),
        *_images(report),
        _experts(report),
        _training(report),
        conditions_section(facts),
        _origin(report),
    )


def _scores(report: RunReport) -> Html:
    means, gates = report.results.means, report.results.facts.get("mean_gates") or {}
    shown = shown_metrics(means)
    rivals = [method for method in means if method not in LIMITS]
    best = {metric.name: best_of(means, rivals, metric) for metric in shown}
    rows: list[list[Part]] = []
    for method, scores in means.items():
        cells: list[Part] = [
            element(
                "td", value_text(metric, scores[metric.name]), class_="best" if best[metric.name] == method else None
            )
            for metric in shown
        ]
        gate = number(gates.get(method))
        rows.append([TITLES.get(method, method), *cells, "" if gate is None else f"{gate:.3f}"])
    headings = ["method", *map(heading, shown), "mean gate"]
    lower = ", ".join(metric.label for metric in shown if not metric.higher_is_better)
    notes = [
        f"Higher is better, lower for {lower}. The best value of each metric is underlined. Best constants "
        "and oracles see the recorded images and do not count."
    ]
    if CONSTANT in means:
        notes.append(f"{TITLES[CONSTANT].capitalize()} are fitted on scored frames: a limit, not a method to report.")
    sentences = [element("li", sentence) for sentence in claims(means)] if MIXTURE in means else []
    strong = [index for index, method in enumerate(means) if method == MIXTURE]
    return section("Scores", table(headings, rows, strong=strong), element("ul", *sentences), note(" ".join(notes)))


def _over_time(report: RunReport) -> Html:
    frames = report.results.per_frame
    cameras = list(dict.fromkeys(str(frame["camera"]) for frame in frames))
    parts: list[Part] = []
    for camera in cameras[:CAMERAS_DRAWN]:
        entries = [frame for frame in frames if frame["camera"] == camera]
        parts += [element("h3", f"Camera {camera}"), line_chart(_lines(report, entries), x="frame", y="PSNR, dB")]
    if len(cameras) > CAMERAS_DRAWN:
        parts.append(note(f"{len(cameras) - CAMERAS_DRAWN} more cameras are in {METRICS_FILE}."))
    return section("PSNR over time", *parts)


def _lines(report: RunReport, entries: Sequence[Mapping[str, Any]]) -> list[Line]:
    """A line for each expert, and a stronger one for the mixture above them."""

    def points(method: str) -> list[tuple[float, float]]:
        values = [(frame["frame"], scores_of(frame["scores"].get(method, {}))["psnr"]) for frame in entries]
        return [(float(index), float("nan") if value is None else value) for index, value in values]

    lines = [
        Line(name=name, points=points(name), colour=colour_of(index))
        for index, name in enumerate(report.results.experts)
    ]
    return [*lines, Line(name=TITLES[MIXTURE], points=points(MIXTURE), colour=STRONG, width=2.4)]


def _images(report: RunReport) -> list[Html]:
    if not report.frames:
        reason = report.missing or "No images were made."
        return [section("Best and worst frame", note(reason))]
    return [section(caption, *_frame(report, images)) for caption, images in report.frames.items()]


def _frame(report: RunReport, images: FrameImages) -> list[Html]:
    names = report.results.experts
    colours, palette = [colour_of(index) for index in range(len(names))], expert_colours(len(names))
    assert images.truth is not None, "scored frames have one"
    shown = [
        image(images.truth, "recorded"),
        image(images.image, "mixture"),
        image(error_colours(images.image, images.truth), "error of the mixture"),
        image(palette[winners(images)], "best expert", flat=True),
        image(palette[strongest(images)], "largest gate", flat=True),
        *(
            image(gate, f"gate of {name}, mean {gate.mean() / 255:.2f}")
            for name, gate in zip(names, images.gates, strict=True)
        ),
    ]
    return [
        element("div", *shown, class_="grid"),
        legend(list(zip(names, colours, strict=True))),
        note(
            f"Error: mean over channels, black is 0 and white is {MOST_ERROR:g} of the range or more. ",
            f"Best expert: the smallest squared error in a window of {WINDOW}x{WINDOW} px. ",
            "Gates: black is 0, white is 1.",
        ),
    ]


def _experts(report: RunReport) -> Html:
    facts, worth = report.results.facts, report.worth
    gates = facts.get("mean_gates") or {}
    rows = []
    for name in report.results.experts:
        gate = number(gates.get(name))
        change = None if worth is None else worth.without[name] - worth.mixture
        rows.append(
            [
                name,
                "-" if gate is None else f"{gate:.3f}",
                "-" if worth is None else f"{worth.won[name]:.0%}",
                "-" if worth is None else f"{worth.without[name]:.2f}",
                "-" if change is None else f"{change:+.2f}",
                _of(facts, "gaussians", name, "{:,.0f}"),
                _of(facts, "megabytes", name, "{:.1f}"),
                seconds_text(((facts.get("training_seconds") or {}).get("experts") or {}).get(name)),
            ]
        )
    headings = ["expert", "mean gate", "best at", "PSNR without it, dB", "change, dB", "Gaussians", "MB", "training"]
    parts: list[Part] = [table(headings, rows)]
    if worth is not None:
        parts.append(
            note(
                f"Best at: share of the pixels where its error is the smallest. Without it: the mixture with its gate "
                f"given to the others, mean over {counted(worth.frames, 'frame')}, where the whole mixture has "
                f"{worth.mixture:.2f} dB. A negative change means that the expert helps, in PSNR on these frames."
            )
        )
    elif report.missing:
        parts.append(note(report.missing))
    return section("Experts", *parts)


def _of(facts: Mapping[str, Any], key: str, expert: str, form: str) -> str:
    value = number(((facts.get(key) or {}).get("experts") or {}).get(expert))
    return "-" if value is None else form.format(value)


def _training(report: RunReport) -> Html:
    parts: list[Part] = []
    if report.curve:
        for column, label in (("loss", "training loss"), ("psnr", "training PSNR, dB")):
            points = points_of(report.curve, column)
            parts.append(line_chart([Line(name=label, points=points, colour=colour_of(0))], x="iteration", y=label))
        parts.append(note("Means of ten iterations, each of one training image."))
    else:
        parts.append(note(f"The run has no {CURVE_FILE}, so there is no curve."))
    settings: dict[str, Part] = {
        name: element("code", json.dumps(value)) for name, value in report.settings.items() if value not in (None, [])
    }
    parts.append(details("Settings of the training", facts_table(settings)))
    return section("Training of the router", *parts)


def _origin(report: RunReport) -> Html:
    facts, path = report.results.facts, report.save_path
    commands = [
        script_command("moegs.py", "verify", path, "--iteration", report.results.iteration),
        script_command(
            "moegs.py", "render", "--save_path", path, "--iteration", report.results.iteration, "--skip_train"
        ),
    ]
    return section(
        "Files and hashes",
        element("p", "Check these numbers, or measure them again:"),
        element("pre", "\n".join(commands)),
        details("SHA-256", facts_table(hash_rows(facts))),
    )
