"""Claims about a mixture: each names the metrics for which it holds, and those for which it does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engine.evaluation.measures.metrics import METRICS, Metric, value_text
from engine.evaluation.measures.suite import Scores
from engine.evaluation.mixture_results import TITLES, TWICE, experts_among
from engine.evaluation.rivals.oracles import ORACLES
from engine.outputs.render_writer import MIXTURE


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Labels of metrics by how a method compares with several others in them."""

    better: tuple[str, ...]  # than all the others, in the digits of tables
    not_better: tuple[str, ...]
    unmeasured: tuple[str, ...]

    def text(self) -> str:
        """The claim as a part of a sentence: "better in PSNR and SSIM; not better in LPIPS"."""
        parts = [
            *([f"better in {listed(self.better)}"] if self.better else []),
            *([f"not better in {listed(self.not_better)}"] if self.not_better else []),
            *([f"not measured: {listed(self.unmeasured)}"] if self.unmeasured else []),
        ]
        return "; ".join(parts)


def compare(scores: Scores, others: Sequence[Scores]) -> Claim:
    """Compare a method with several others, metric by metric; better means better than each of them."""
    better, not_better, unmeasured = [], [], []
    for metric in METRICS.values():
        values = [each.get(metric.name) for each in (scores, *others)]
        known = [value for value in values if value is not None]
        if not known and metric.optional:
            continue
        if len(known) < len(values):
            unmeasured.append(metric.label)
        elif all(is_better(metric, known[0], other) for other in known[1:]):
            better.append(metric.label)
        else:
            not_better.append(metric.label)
    return Claim(better=tuple(better), not_better=tuple(not_better), unmeasured=tuple(unmeasured))


def is_better(metric: Metric, value: float, other: float) -> bool:
    """True where a value is better than another in the digits that tables show."""
    if value_text(metric, value) == value_text(metric, other):
        return False
    return value > other if metric.higher_is_better else value < other


def best_of(means: Mapping[str, Scores], methods: Sequence[str], metric: Metric) -> str | None:
    """The best of some methods in a metric; None where it was not measured."""
    measured = {method: value for method in methods if (value := means[method].get(metric.name)) is not None}
    if not measured:
        return None
    return (max if metric.higher_is_better else min)(measured, key=lambda method: measured[method])


def claims(means: Mapping[str, Scores]) -> list[str]:
    """Sentences on the mixture against its experts, and against each baseline."""
    experts = list(experts_among(means))
    rivals = {
        f"every one of its {len(experts)} experts": experts,
        **{
            f"the {TITLES[method]}": [method]
            for method in TITLES
            if method in means and method not in (MIXTURE, *ORACLES)
        },
        **{method: [method] for method in means if method.endswith(TWICE)},
    }
    return [
        f"{TITLES[MIXTURE]} against {rival}: {compare(means[MIXTURE], [means[each] for each in methods]).text()}."
        for rival, methods in rivals.items()
        if methods
    ]


def listed(names: Sequence[str]) -> str:
    """Names in a sentence: "PSNR, SSIM and LPIPS"."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
