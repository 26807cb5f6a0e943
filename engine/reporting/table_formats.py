"""Score tables as Markdown, LaTeX and CSV."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO

from engine.evaluation.measures.metrics import METRICS, Metric, heading, value_text
from engine.reporting.published import ANCHORS, AVERAGES, DATA_SETS, data_set_of
from engine.reporting.results import Results
from engine.reporting.score_table import Row, footnotes, mean_rows, method_title, methods_of, scene_rows

_LATEX = str.maketrans(
    {
        **{character: f"\\{character}" for character in "&%$#_{}"},
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "\\": r"\textbackslash{}",
        "±": r"$\pm$",
    }
)
CSV_COLUMNS = (
    *("scene", "ensemble", "protocol", "method", "metric", "runs", "mean", "standard_deviation", "smallest", "largest"),
    *("published", "difference", "source"),
)

PUBLISHED_METRICS = {name: metric for name, metric in METRICS.items() if not metric.optional}


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A table of text with its title; `last` rows at the end are set apart."""

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    last: int = 0


def grids(runs: Sequence[Results]) -> list[Grid]:
    """A table for each metric that was measured, by scene and method, and the published means beside them."""
    rows = scene_rows(runs)
    means = mean_rows(rows)
    measured = [
        metric
        for metric in METRICS.values()
        if any(cell.values for row in rows for (_, name), cell in row.cells.items() if name == metric.name)
    ]
    keys = [key for key in DATA_SETS if any(data_set_of(row.kind.scene) == key for row in rows)]
    return [*(_metric_grid(metric, rows, means) for metric in measured), *map(_published_grid, keys)]


def _metric_grid(metric: Metric, rows: Sequence[Row], means: Sequence[Row]) -> Grid:
    methods = methods_of(rows)
    lines = []
    for row in (*rows, *means):
        cells = [row.cells.get((method, metric.name)) for method in methods]
        lines.append([row.label, *("-" if cell is None else cell.text(metric) for cell in cells)])
    better = "higher" if metric.higher_is_better else "lower"
    title = f"{heading(metric)} ({better} is better)"
    return Grid(title=title, headings=["scene", *map(method_title, methods)], rows=lines, last=len(means))


def _published_grid(key: str) -> Grid:
    entries = [*AVERAGES[key], *ANCHORS[key]]
    rows = [
        [
            entry.method,
            *(value_text(metric, entry.scores.get(metric.name)) for metric in PUBLISHED_METRICS.values()),
            entry.source,
        ]
        for entry in entries
    ]
    title = f"Published means, {DATA_SETS[key].title} (protocols differ; not measured here)"
    return Grid(title=title, headings=["method", *map(heading, PUBLISHED_METRICS.values()), "source"], rows=rows)


def markdown(runs: Sequence[Results]) -> str:
    """Tables in Markdown, with notes below them."""
    parts = [_markdown_grid(grid) for grid in grids(runs)]
    notes = [f"* {_markdown_text(text)}" for text in footnotes(scene_rows(runs), runs)]
    return "\n\n".join([*parts, "\n".join(notes)]) + "\n"


def _markdown_grid(grid: Grid) -> str:
    lines = [list(grid.headings), ["---", *("---:" for _ in grid.headings[1:])], *grid.rows]
    texts = [f"| {' | '.join(_markdown_text(cell) for cell in line)} |" for line in lines]
    return "\n".join([f"**{_markdown_text(grid.title)}**", "", *texts])


def _markdown_text(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("_", "\\_")


def latex(runs: Sequence[Results]) -> str:
    """Tables in LaTeX that need no package, with notes below them."""
    parts = [_latex_grid(grid) for grid in grids(runs)]
    notes = [f"\\item {_latex_text(text)}" for text in footnotes(scene_rows(runs), runs)]
    listed = ["\\begin{itemize}", *notes, "\\end{itemize}"] if notes else []
    return "\n\n".join([*parts, "\n".join(listed)]) + "\n"


def _latex_grid(grid: Grid) -> str:
    lines = [f"{' & '.join(map(_latex_text, row))} \\\\" for row in grid.rows]
    split = len(lines) - grid.last
    body = [*lines[:split], *(["\\hline", *lines[split:]] if grid.last else [])]
    return "\n".join(
        [
            "\\begin{table}",
            f"\\caption{{{_latex_text(grid.title)}}}",
            f"\\begin{{tabular}}{{l{'r' * (len(grid.headings) - 1)}}}",
            "\\hline",
            f"{' & '.join(map(_latex_text, grid.headings))} \\\\",
            "\\hline",
            *body,
            "\\hline",
            "\\end{tabular}",
            "\\end{table}",
        ]
    )


def _latex_text(text: str) -> str:
    """Text for LaTeX; a bracket that would be an argument of a line's end is in a group."""
    return text.translate(_LATEX).replace("[", "{[}").replace("]", "{]}")


def csv_text(runs: Sequence[Results]) -> str:
    """A line for each scene, method and metric, full precision; published means of other methods are not in it."""
    rows = scene_rows(runs)
    buffer = StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for row in (*rows, *mean_rows(rows)):
        for (method, name), cell in row.cells.items():
            if cell.mean is None:
                continue
            published = None if cell.published is None else cell.published.scores[name]
            source = None if cell.published is None else cell.published.source
            writer.writerow(
                [
                    *(row.label, row.kind.ensemble, row.kind.protocol, method_title(method), name, row.runs),
                    *(cell.mean, cell.deviation(), min(cell.values), max(cell.values)),
                    *(published, cell.difference(METRICS[name]), source),
                ]
            )
    return buffer.getvalue()


FORMATS: Mapping[str, Callable[[Sequence[Results]], str]] = {"markdown": markdown, "latex": latex, "csv": csv_text}
