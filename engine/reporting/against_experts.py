"""A rendered run's mixture against its experts and baselines: a table, and one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from common.text.tables import Column, table_lines
from engine.evaluation.measures.metrics import heading, shown_metrics, value_text
from engine.evaluation.measures.suite import Scores
from engine.evaluation.mixture_results import TITLES, conditions_text, experts_among, table_order
from engine.evaluation.rivals.baselines import UNIFORM
from engine.evaluation.scoring import psnr_of
from engine.outputs.render_writer import MIXTURE
from engine.reporting.claims import compare
from engine.reporting.results import Results


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Mean scores of a rendered iteration on the held-out cameras; PSNR decides whether the mixture wins."""

    scores: Mapping[str, Scores]  # per method: mixture, experts, baselines, oracles
    videos: tuple[Path, ...]
    conditions: str  # cameras, frames, resolution and metric protocol

    @property
    def best_expert(self) -> str:
        """The expert of the highest PSNR."""
        experts = experts_among(self.scores)
        return max(experts, key=lambda expert: psnr_of(self.scores[expert]))

    @property
    def gains(self) -> dict[str, float]:
        """Decibels by which the mixture is above its best expert and above the uniform mean."""
        mixture = psnr_of(self.scores[MIXTURE])
        return {method: mixture - psnr_of(self.scores[method]) for method in (self.best_expert, UNIFORM)}

    @property
    def wins(self) -> bool:
        """The mixture is above both."""
        return min(self.gains.values()) > 0


def verdict_of(results: Results) -> Verdict:
    """The verdict on a rendering of the held-out cameras."""
    shown = (MIXTURE, *results.experts)
    videos = (results.folder / "videos" / f"{kind}_{method}.mp4" for kind in ("video", "weights") for method in shown)
    return Verdict(
        scores=results.means,
        videos=tuple(path for path in videos if path.is_file()),
        conditions=conditions_text(results.facts),
    )


def report_lines(verdict: Verdict) -> list[str]:
    """Every metric per method, the mixture last, what it gains in PSNR, and where the videos are."""
    scores, metrics = verdict.scores, shown_metrics(verdict.scores)
    columns = [Column(gap=2, left=True, width=15), *(Column(heading=heading(metric), width=6) for metric in metrics)]
    rows = [
        [TITLES.get(name, name), *(value_text(metric, scores[name][metric.name]) for metric in metrics)]
        for name in table_order(scores)
    ]
    lower = ", ".join(metric.label for metric in metrics if not metric.higher_is_better)
    return [
        f"Scores on the held-out camera{verdict.conditions}. Higher is better, except for {lower}.",
        *table_lines(columns, rows),
        f"{TITLES[MIXTURE]}: {', '.join(_gain(method, gain) for method, gain in verdict.gains.items())}",
        "videos:",
        *(f"  {path}" for path in verdict.videos),
    ]


def verdict_line(verdict: Verdict) -> str:
    """The verdict in a sentence: by metric where the mixture wins in PSNR, else what it is not better than."""
    if verdict.wins:
        others = [verdict.scores[method] for method in (*experts_among(verdict.scores), UNIFORM)]
        claim = compare(verdict.scores[MIXTURE], others).text()
        return f"{TITLES[MIXTURE]} against its experts and the uniform mean: {claim}."
    better = [method for method, gain in verdict.gains.items() if not gain > 0]
    named = [f"{_name(method)} ({psnr_of(verdict.scores[method]):.2f} dB)" for method in better]
    return f"In PSNR, {TITLES[MIXTURE]} is not better than {' and '.join(named)}."


def _gain(method: str, gain: float) -> str:
    return f"{abs(gain):.2f} dB {'below' if gain < 0 else 'above'} {_name(method)}"


def _name(method: str) -> str:
    """A method in a sentence."""
    return f"the {TITLES[method]}" if method in TITLES else method
