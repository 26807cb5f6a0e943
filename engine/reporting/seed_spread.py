"""Mean and spread of the scores of several seeds, as a table of text."""

from __future__ import annotations

from collections.abc import Sequence

from common.text.tables import Column, table_lines
from common.text.wording import counted
from engine.evaluation.measures.metrics import METRICS, heading
from engine.evaluation.mixture_results import SPLITS, conditions_text
from engine.reporting.results import Results
from engine.reporting.score_table import Row, method_title, methods_of, scene_rows


def spread_lines(results: Sequence[Results], split: str) -> list[str]:
    """Mean ± sample standard deviation (of n - 1) of each method's mean scores over seeds, of one split.

    A method whose scores do not depend on the seed, as an expert's, has no deviation. split: a key of SPLITS.
    """
    seeds = counted(len(results), "seed")
    lines = [
        f"{SPLITS[split]}{conditions_text(results[0].facts)}",
        f"Mean ± sample standard deviation over {seeds} (smallest to largest):",
    ]
    for row in scene_rows(results):  # one, unless the runs of seeds were scored in different ways
        metrics = [metric for metric in METRICS.values() if _is_measured(row, metric.name)]
        columns = [Column(gap=2, left=True), *(Column(heading=heading(metric), gap=2) for metric in metrics)]
        cells = [
            [method_title(method), *(row.cells[method, metric.name].measured(metric) for metric in metrics)]
            for method in methods_of([row])
        ]
        lines += table_lines(columns, cells)
    return lines


def _is_measured(row: Row, metric: str) -> bool:
    return any(cell.values for (_, name), cell in row.cells.items() if name == metric)
