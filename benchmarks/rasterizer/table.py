"""The benchmark's table: rows of times, the goals they are held to, Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.rasterizer.measurement import Timing

HEADINGS = ("row", "back to back, ms", "one at a time, ms", "goal (for back to back)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Faster:
    """`row` takes at most `slower`'s time divided by `least`."""

    row: str
    slower: str
    least: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AtMost:
    """`row` takes at most so many milliseconds on an H100."""

    row: str
    milliseconds: float


Goal = Faster | AtMost


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line: cells in the order of HEADINGS."""

    cells: tuple[str, str, str, str]


def title(text: str) -> Row:
    """A line that heads the ones below it."""
    return Row(cells=(f"**{text}**", "", "", ""))


def timing_rows(timings: Mapping[str, Timing], goals: Sequence[Goal]) -> list[Row]:
    """A row for each timing, with the verdicts on its goals; a goal whose other row was not measured is left out."""
    rows = []
    for name, timing in timings.items():
        verdicts = [_verdict(goal, timing, timings) for goal in goals if goal.row == name]
        rows.append(Row(cells=(name, str(timing.queued), str(timing.single), "; ".join(filter(None, verdicts)))))
    return rows


def stage_rows(name: str, measured: Mapping[str, float], estimates: Mapping[str, float]) -> list[Row]:
    """Device time of each stage of a pass beside its estimate, then the sums.

    A stage that the estimate knows and no kernel served is shown too.
    """
    stages = [*measured, *(stage for stage in estimates if stage not in measured)]
    rows = [_against_estimate(f"{name}: {stage}", measured.get(stage, 0.0), estimates.get(stage)) for stage in stages]
    return [*rows, _against_estimate(f"{name}: all kernels", sum(measured.values()), sum(estimates.values()) or None)]


def estimate_row(name: str, timing: Timing, estimate: float, most: float | None) -> Row:
    """A timing beside its estimate; where there is a goal, held to at most so many times that."""
    ratio = timing.queued.median / estimate
    verdict = f"{ratio:.1f}x the estimate of {estimate:.3g}"
    if most is not None:
        verdict += f"; goal at most {most:g}x: {_result(ratio <= most)}"
    return Row(cells=(name, str(timing.queued), str(timing.single), verdict))


def markdown(rows: Sequence[Row]) -> str:
    """The table, its columns aligned for reading as plain text too; the last one is left ragged."""
    lines = [HEADINGS, *(row.cells for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS) - 1)] + [0]
    texts = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    ]
    rule = "| " + " | ".join("-" * max(width, 3) for width in widths) + " |"
    return "\n".join([texts[0], rule, *texts[1:]])


def _verdict(goal: Goal, timing: Timing, timings: Mapping[str, Timing]) -> str | None:
    if isinstance(goal, AtMost):
        result = _result(timing.queued.median <= goal.milliseconds)
        return f"at most {goal.milliseconds:g} ms on an H100: {result}"
    other = timings.get(goal.slower)
    if other is None:
        return None
    queued = other.queued.median / timing.queued.median
    single = other.single.median / timing.single.median
    result = _result(queued >= goal.least)
    return f"{queued:.2f}x (one at a time {single:.2f}x) as fast as {goal.slower}; goal {goal.least:g}x: {result}"


def _against_estimate(name: str, time: float, estimate: float | None) -> Row:
    ratio = "no estimate" if estimate is None else f"{time / estimate:.1f}x the estimate of {estimate:.3g}"
    return Row(cells=(name, f"{time:.3f}", "", ratio))


def _result(reached: bool) -> str:
    return "met" if reached else "missed"
