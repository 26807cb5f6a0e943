"""The metrics of an evaluation: which of the table's are measured, and why others are not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from engine.errors import ConfigError
from engine.evaluation.measures.metric_types import NO_INPUT, MetricInput, MetricRequest, OpenedMetric
from engine.evaluation.measures.metrics import METRICS
from engine.settings.rendering.metric_protocols import MetricProtocol

NOT_ASKED_FOR = OpenedMetric(measure=None, source="not asked for")
NOT_OF_PROTOCOL = OpenedMetric(measure=None, source="not a metric of this protocol")

Scores = Mapping[str, float | None]  # value per name of METRICS, of an image or a mean of several; None: not measured


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSuite:
    """A protocol and its metrics, each ready or with the reason why it cannot be measured."""

    protocol: MetricProtocol
    metrics: Mapping[str, OpenedMetric]  # by name, in METRICS's order

    @property
    def unavailable(self) -> dict[str, str]:
        """The reason per metric of the protocol that cannot be measured."""
        return {
            name: opened.source
            for name, opened in self.metrics.items()
            if opened.measure is None and opened is not NOT_OF_PROTOCOL
        }

    def needs(self, wanted: MetricInput) -> bool:
        """True where a metric compares this kind of input."""
        return bool(self.names_of(wanted))

    def names_of(self, wanted: MetricInput) -> set[str]:
        """Names of the metrics that compare this kind of input."""
        opened = ((name, metric.measure) for name, metric in self.metrics.items())
        return {name for name, measure in opened if measure is not None and measure.input == wanted}


def open_suite(request: MetricRequest, *, networks: bool) -> MetricSuite:
    """Every metric of METRICS under a request; networks False: without the optional ones and those with a network."""
    metrics = {}
    for metric in METRICS.values():
        if metric.of_protocol and metric.name not in (*request.protocol.extras, *request.asked):
            metrics[metric.name] = NOT_OF_PROTOCOL
        elif not networks and (metric.needs_network or metric.optional):
            metrics[metric.name] = NOT_ASKED_FOR
        else:
            metrics[metric.name] = metric.open(request)
        if metric.name in request.asked and metrics[metric.name].measure is None:
            raise ConfigError(f"--metrics {metric.name}: {metrics[metric.name].source}")
    return MetricSuite(protocol=request.protocol, metrics=metrics)


def without_value(suite: MetricSuite, means: Mapping[str, Scores]) -> dict[str, str]:
    """The reason per metric that no frame has a value of, and per metric that could not be measured at all."""
    reasons = suite.unavailable
    for name, opened in suite.metrics.items():
        if opened.measure is not None and all(scores[name] is None for scores in means.values()):
            reasons[name] = NO_INPUT.get(opened.measure.input, "no frame has a value")
    return {name: reasons[name] for name in suite.metrics if name in reasons}


def weights_facts(suite: MetricSuite | None) -> dict[str, str | None]:
    """`<metric>_weights` per metric with a network, for result files: their source, or why there are none.

    None for every metric where nothing was measured (suite None).
    """
    names = [metric.name for metric in METRICS.values() if metric.needs_network]
    return {f"{name}_weights": None if suite is None else suite.metrics[name].source for name in names}
