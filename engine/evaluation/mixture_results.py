"""Results of a mixture's evaluation: the scores of every frame and method, the files that record them, the table."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from common.disk.files import write_json
from common.text.tables import Column, table_lines
from common.text.wording import counted
from engine.evaluation.measures.metrics import METRICS, heading, shown_metrics, value_text
from engine.evaluation.measures.suite import Scores
from engine.evaluation.provenance import frames_per_second, keep_other_results
from engine.evaluation.rivals.baselines import CONSTANT, UNIFORM
from engine.evaluation.rivals.oracles import ORACLE_FRAME, ORACLE_PIXEL, ORACLE_WINDOW, ORACLES, gap_share
from engine.evaluation.scoring import mean_scores, mean_seconds, psnr_of, timed
from engine.evaluation.seams import AT, ELSEWHERE, LOST
from engine.outputs.render_writer import MIXTURE
from engine.settings.rendering.metric_protocols import PROTOCOLS, protocol_facts

_SCHEMA = 1
_WIDTH = 7  # characters of a column of numbers
# Names, in tables and log lines, of the methods that are no experts, in the order in which they follow those.
TITLES = {
    UNIFORM: "uniform mean",
    CONSTANT: "best constants",
    **{name: name for name in ORACLES},
    MIXTURE: "MoE-GS",
}
TWICE = " twice"  # behind an expert's name: the mean of two trainings of it, a baseline
SPLITS = {"train": "training camera", "test": "held-out camera"}
LIMITS = (CONSTANT, *ORACLES)  # fitted or chosen with the recorded images: no method may be asked to beat them


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameResult:
    """One evaluated frame of one camera."""

    camera: str
    frame: int
    seconds: float  # of mixing: experts, one rasterizer call, head, blend
    gates: Mapping[str, float]  # mean over pixels, per expert
    scores: Mapping[str, Scores]  # per method: MIXTURE, each expert, UNIFORM, CONSTANT, ORACLES


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """All frames of an evaluation, the conditions of the measurement, and the files written."""

    frames: tuple[FrameResult, ...]
    conditions: Mapping[str, Any]  # protocol, cameras, resolution, temperature, hashes, versions ...
    unavailable: Mapping[str, str]  # the reason per metric that could not be measured
    files: tuple[Path, ...]
    seams: Mapping[str, Any] | None = None  # `seam_scores`; None: no expert of windows, or no changes measured

    @property
    def means(self) -> dict[str, Scores]:
        """Mean scores per method."""
        methods = self.frames[0].scores
        return {method: mean_scores([frame.scores[method] for frame in self.frames]) for method in methods}

    @property
    def window_gap_share(self) -> float | None:
        """Share of the gap in PSNR from the uniform mean to the window oracle that the mixture wins; None: no gap."""
        return gap_share({method: psnr_of(scores) for method, scores in self.means.items()}, MIXTURE)

    @property
    def mean_gates(self) -> dict[str, float]:
        """Mean gate per expert over pixels and frames."""
        return {name: statistics.fmean(f.gates[name] for f in self.frames) for name in self.frames[0].gates}

    @property
    def seconds(self) -> float:
        """Mean seconds a frame; the first frame warms up and does not count when there are others."""
        return mean_seconds([frame.seconds for frame in self.frames])


def upstream_metrics(evaluation: Evaluation) -> dict[str, float | None]:
    """The content of mean_metrics.json.

    The paper's code has the keys `MoE-GS_<LABEL>` per metric (null: not measured) and `MoE-GS_times`, in seconds per
    frame. `seconds_per_frame` holds that number once more, under a name that tells its unit.
    """
    mixture = evaluation.means[MIXTURE]
    metrics = {f"MoE-GS_{metric.label}": mixture[metric.name] for metric in METRICS.values()}
    return {**metrics, "MoE-GS_times": evaluation.seconds, "seconds_per_frame": evaluation.seconds}


def write_evaluation(folder: Path, evaluation: Evaluation) -> Evaluation:
    """Writes `metrics.json` (everything) and `mean_metrics.json` (upstream's keys); returns it with those files."""
    by_psnr = sorted(evaluation.frames, key=lambda frame: psnr_of(frame.scores[MIXTURE]))
    report = {
        "schema": _SCHEMA,
        **evaluation.conditions,
        "oracles": {name: what for name, what in ORACLES.items() if name in evaluation.means},
        "timing": {
            "mean_seconds": evaluation.seconds,
            "median_seconds": statistics.median(timed([frame.seconds for frame in evaluation.frames])),
            "frames_per_second": frames_per_second([frame.seconds for frame in evaluation.frames]),
            "what": "experts, one rasterizer call, head and blend of one frame; the first frame does not count, "
            "nor do the first three in frames_per_second, by the median",
        },
        "means": evaluation.means,
        "window_gap_share": evaluation.window_gap_share,
        "mean_gates": evaluation.mean_gates,
        "seams": evaluation.seams,
        "best_frame": _named(by_psnr[-1]),
        "worst_frame": _named(by_psnr[0]),
        "per_frame": [asdict(frame) for frame in evaluation.frames],
    }
    keep_other_results(folder / "metrics.json", report)
    written = (
        write_json(folder / "metrics.json", report),
        write_json(folder / "mean_metrics.json", upstream_metrics(evaluation)),
    )
    return replace(evaluation, files=(*evaluation.files, *written))


def _named(frame: FrameResult) -> dict[str, object]:
    return {"camera": frame.camera, "frame": frame.frame, "psnr": psnr_of(frame.scores[MIXTURE])}


def experts_among(methods: Iterable[str]) -> tuple[str, ...]:
    """The experts among scored methods, in softmax order."""
    return tuple(method for method in methods if method not in TITLES and not method.endswith(TWICE))


def table_order(methods: Collection[str]) -> list[str]:
    """Methods in the order of every table: experts in softmax order, baselines, the mixture last."""
    twice = (method for method in methods if method.endswith(TWICE))
    return [*experts_among(methods), *twice, *(title for title in TITLES if title in methods)]


def evaluation_summary(split: str, evaluation: Evaluation) -> str:
    """The conditions and a table of every method's mean scores, the mixture last, as lines of text.

    split: a key of SPLITS.
    """
    milliseconds = 1000 * evaluation.seconds
    lines = [
        f"{SPLITS[split]}{conditions_text(evaluation.conditions)}; "
        f"softmax temperature {evaluation.conditions['temperature']:g}; "
        f"{milliseconds:.{1 if milliseconds < 100 else 0}f} ms per frame",
        *_table(evaluation),
        *(f"  {note}" for note in [*_notes(evaluation), *_seam_notes(evaluation)]),
        *(f"  {METRICS[name].label}: {reason}" for name, reason in evaluation.unavailable.items()),
    ]
    return "\n".join(lines)


def conditions_text(conditions: Mapping[str, Any]) -> str:
    """Cameras, frames, resolution and everything that the metric protocol fixes, behind the name of a split."""
    cameras, protocol = conditions["cameras"], conditions["protocol"]["name"]
    sizes = ", ".join(f"{width}x{height}" for width, height in conditions["resolutions"])
    facts = f" ({protocol_facts(PROTOCOLS[protocol])})" if protocol in PROTOCOLS else ""
    return (
        f"{'' if len(cameras) == 1 else 's'}: {', '.join(cameras)}; {counted(len(conditions['frames']), 'frame')} of "
        f"{sizes} px; metric protocol {protocol}{facts}"
    )


def _notes(evaluation: Evaluation) -> list[str]:
    """What the table's baselines and oracles are, and how much of their gap the mixture wins."""
    notes = []
    if CONSTANT in evaluation.means:
        what = evaluation.conditions["baselines"][CONSTANT]["what"]
        notes.append(f"{TITLES[CONSTANT]}: {what}")
    if ORACLE_WINDOW in evaluation.means:
        notes += [f"{name}: {ORACLES[name]}" for name in (ORACLE_PIXEL, ORACLE_WINDOW, ORACLE_FRAME)]
        share = evaluation.window_gap_share
        won = "there is none" if share is None else f"{TITLES[MIXTURE]} wins {100 * share:.0f} %"
        notes.append(f"PSNR gap from {TITLES[UNIFORM]} to {ORACLE_WINDOW}: {won}")
    return notes


def _seam_notes(evaluation: Evaluation) -> list[str]:
    """How the changes from frame to frame at seams of windows compare with those elsewhere."""
    if evaluation.seams is None:
        return []
    own, lost = evaluation.seams["methods"][MIXTURE], evaluation.seams[LOST]
    text = f"{own[AT]:.2f} dB at seams of windows, {own[ELSEWHERE]:.2f} dB elsewhere"
    cost = "" if lost is None else f"; {abs(lost):.2f} dB {'more' if lost < 0 else 'less'} than one window alone there"
    return [f"tPSNR of {TITLES[MIXTURE]}: {text}{cost}"]


def _table(evaluation: Evaluation) -> list[str]:
    """Mean scores and gate per method; the gates of experts alone."""
    means, gates = evaluation.means, evaluation.mean_gates
    metrics = shown_metrics(means)
    headings = [*map(heading, metrics), "mean gate"]
    columns = [Column(gap=2, left=True), *(Column(heading=text, width=_WIDTH, gap=2) for text in headings)]
    rows = []
    for method in table_order(means):
        values = [value_text(metric, means[method][metric.name]) for metric in metrics]
        gate = [f"{gates[method]:.3f}"] if method in gates else []
        rows.append([TITLES.get(method, method), *values, *gate])
    return table_lines(columns, rows)
