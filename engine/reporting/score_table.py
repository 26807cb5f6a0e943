"""Scores of several runs by scene, several runs of a scene together, beside the published ones."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from engine.evaluation.measures.metrics import METRICS, Metric, value_text
from engine.evaluation.mixture_results import TITLES, table_order
from engine.outputs.render_writer import MIXTURE
from engine.reporting.published import (
    DATA_SETS,
    SHORT_NAMES,
    Published,
    data_set_of,
    published_mean,
    published_score,
)
from engine.reporting.results import Results


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Facts that runs of one row have in common."""

    scene: str
    ensemble: str
    experts: int
    protocol: str
    sizes: tuple[tuple[int, int], ...]
    frames: int
    cameras: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A score: the mean of one run or several, and the published number it is compared with."""

    values: tuple[float, ...]  # of the runs, or of the rows that a mean is over; empty: not measured
    published: Published | None = None
    spread: bool = True  # show it where there are several values

    @property
    def mean(self) -> float | None:
        """The mean of the values."""
        return statistics.fmean(self.values) if self.values else None

    def deviation(self) -> float | None:
        """The sample standard deviation; None for fewer than two values, and for infinite ones that differ."""
        if not self.spread or len(self.values) < 2:
            return None
        if len(set(self.values)) == 1:
            return 0.0  # infinite ones too: equal images
        return statistics.stdev(self.values) if all(map(math.isfinite, self.values)) else None

    def difference(self, metric: Metric) -> float | None:
        """The mean minus the published number."""
        mean = self.mean
        return None if mean is None or self.published is None else mean - self.published.scores[metric.name]

    def text(self, metric: Metric) -> str:
        """The cell as text: "33.20 ± 0.15 (33.05 to 33.35) [+0.12]"."""
        difference = self.difference(metric)
        compared = [] if difference is None else [f"[{difference:+.{metric.digits}f}]"]
        return " ".join([self.measured(metric), *compared])

    def measured(self, metric: Metric) -> str:
        """The cell's own values as text: "33.20 ± 0.15 (33.05 to 33.35)", of equal ones "33.20"."""
        deviation = self.deviation()
        if not deviation:
            return value_text(metric, self.mean)
        low, high = (value_text(metric, end) for end in (min(self.values), max(self.values)))
        return f"{value_text(metric, self.mean)} ± {value_text(metric, deviation)} ({low} to {high})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row: a scene, or the mean over scenes, with its cells by (method, metric's name)."""

    label: str
    kind: Kind
    runs: int
    cells: dict[tuple[str, str], Cell]


def kind_of_results(results: Results) -> Kind:
    """The facts by which a run's results belong to a row."""
    facts: Any = results.facts
    return Kind(
        scene=SHORT_NAMES.get(str(facts.get("scene", "")), str(facts.get("scene", ""))),
        ensemble=str(facts.get("ensemble", "+".join(results.experts))),
        experts=len(results.experts),
        protocol=str(facts["protocol"].get("name", "")),
        sizes=tuple((int(width), int(height)) for width, height in facts.get("resolutions", [])),
        frames=len(facts.get("frames", [])),
        cameras=tuple(map(str, facts.get("cameras", []))),
    )


def scene_rows(runs: Sequence[Results]) -> list[Row]:
    """A row for each scene, in the order of the data sets; runs of other kinds have rows of their own."""
    groups: dict[Kind, list[Results]] = {}
    for results in runs:
        groups.setdefault(kind_of_results(results), []).append(results)
    kinds = sorted(groups, key=lambda kind: (_place(kind.scene), kind.scene))
    return [
        Row(label=_label(kind, kinds), kind=kind, runs=len(groups[kind]), cells=_cells(kind, groups[kind]))
        for kind in kinds
    ]


def _place(scene: str) -> tuple[int, int]:
    key = data_set_of(scene)
    if key is None:
        return len(DATA_SETS), 0
    return list(DATA_SETS).index(key), DATA_SETS[key].scenes.index(scene)


def _label(kind: Kind, kinds: Sequence[Kind]) -> str:
    """The scene, and in which facts its row differs from other rows of the scene."""
    others = [other for other in kinds if other.scene == kind.scene and other != kind]
    sizes = ", ".join(f"{width}x{height} px" for width, height in kind.sizes)
    texts = {
        "ensemble": kind.ensemble,
        "protocol": kind.protocol,
        "sizes": sizes,
        "frames": f"{kind.frames} frames",
        "cameras": ", ".join(kind.cameras),
    }
    differing = [text for name, text in texts.items() if any(getattr(o, name) != getattr(kind, name) for o in others)]
    return f"{kind.scene} ({', '.join(differing)})" if differing else kind.scene


def _cells(kind: Kind, runs: Sequence[Results]) -> dict[tuple[str, str], Cell]:
    cells = {}
    for method in dict.fromkeys(method for results in runs for method in results.means):
        for metric in METRICS:
            scores = [results.means[method][metric] for results in runs if method in results.means]
            values = tuple(value for value in scores if value is not None)
            cells[method, metric] = Cell(values=values, published=published_score(kind.scene, method, metric))
    return cells


def mean_rows(rows: Sequence[Row]) -> list[Row]:
    """The mean over scenes of each data set, ensemble and protocol; each scene counts once, however many runs.

    The published means are beside it where the rows are all scenes of a data set. A scene with several rows of one
    ensemble and protocol, such as two resolutions, has no mean: it would mix them.
    """
    groups: dict[tuple[str | None, str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((data_set_of(row.kind.scene), row.kind.ensemble, row.kind.protocol), []).append(row)
    means = []
    for (key, ensemble, protocol), members in groups.items():
        scenes = [row.kind.scene for row in members]
        if len(scenes) < 2 or len(set(scenes)) < len(scenes):
            continue
        title = "other scenes" if key is None else DATA_SETS[key].title
        label = f"mean ({title}, {ensemble}, {protocol})" if len(groups) > 1 else "mean"
        means.append(Row(label=label, kind=members[0].kind, runs=len(members), cells=_mean_cells(members)))
    return means


def _mean_cells(rows: Sequence[Row]) -> dict[tuple[str, str], Cell]:
    cells = {}
    complete = next(
        (key for key, each in DATA_SETS.items() if set(each.scenes) == {row.kind.scene for row in rows}), None
    )
    for method in dict.fromkeys(method for row in rows for method, _ in row.cells):
        for metric in METRICS:
            means = [cell.mean for row in rows if (cell := row.cells.get((method, metric))) is not None]
            values = tuple(mean for mean in means if mean is not None)
            values = values if len(values) == len(rows) else ()  # a mean over some of the scenes would mislead
            title = f"MoE-GS, {rows[0].kind.experts} experts" if method == MIXTURE else method
            published = None if complete is None else published_mean(complete, title, metric)
            cells[method, metric] = Cell(values=values, published=published, spread=False)
    return cells


def methods_of(rows: Sequence[Row]) -> list[str]:
    """The methods of some rows in the order of every table."""
    return table_order(dict.fromkeys(method for row in rows for method, _ in row.cells))


def method_title(method: str) -> str:
    """The heading of a method."""
    return TITLES.get(method, method)


def footnotes(rows: Sequence[Row], runs: Sequence[Results]) -> Iterator[str]:
    """Differences between a table's protocol and the published one, its sources, and how to read its cells."""
    compared = {
        cell.published.source for row in (*rows, *mean_rows(rows)) for cell in row.cells.values() if cell.published
    }
    if any(row.runs > 1 for row in rows):
        counts = ", ".join(f"{row.label} {row.runs}" for row in rows if row.runs > 1)
        yield f"Several runs of a scene: mean ± sample standard deviation (smallest to largest). Runs: {counts}."
    if compared:
        yield f"In brackets: the difference to the published number, of {'; '.join(sorted(compared))}."
    for row in rows:
        differing = list(_protocol_differences(row.kind))
        if differing:
            yield f"{row.label}: {'; '.join(differing)}."
    protocols = {
        row.kind.protocol: results.facts["protocol"]
        for row in rows
        for results in runs
        if results.facts["protocol"].get("name") == row.kind.protocol
    }
    for name, protocol in protocols.items():
        yield f"Metric protocol {name}: image {protocol.get('image')}; LPIPS {protocol.get('lpips')}."
    if any(name != "upstream" for name in protocols):
        yield "The paper's code scores unclamped images, and feeds LPIPS (AlexNet) [0, 1]: protocol upstream."
    yield from _same_routers(runs)


def _protocol_differences(kind: Kind) -> Iterator[str]:
    key = data_set_of(kind.scene)
    if key is None:
        return
    usual = DATA_SETS[key]
    if set(kind.sizes) != {usual.size}:
        sizes = ", ".join(f"{width}x{height}" for width, height in kind.sizes)
        yield f"{sizes} px, published {usual.size[0]}x{usual.size[1]} px"
    if kind.frames != usual.frames:
        yield f"{kind.frames} frames, published {usual.frames}"
    if kind.cameras != (usual.camera,):
        yield f"camera {', '.join(kind.cameras)}, published {usual.camera}"


def _same_routers(runs: Sequence[Results]) -> Iterator[str]:
    hashes = [(results.facts.get("hashes") or {}).get("router") for results in runs]
    known = [each for each in hashes if each is not None]
    if len(set(known)) < len(known):
        yield "Two of the runs have the same router: they are one run, and the spread is too small."
