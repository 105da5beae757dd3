"""Metrics as Prometheus reads them.

Invariant: made of a view, off the worker's event loop; the worker itself has no registry to keep.
"""

from collections.abc import Iterator

from confluent_kafka import libversion
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from enricher import __version__
from enricher.observability.metrics import BUCKETS, INFO, METRICS, Kind
from enricher.observability.metrics import Metric as Definition
from enricher.observability.view import View
from enricher.stats import Histogram

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Exposition:
    """Renders views, with what prometheus_client tells of the process itself."""

    def __init__(self) -> None:
        self._process = CollectorRegistry()
        ProcessCollector(registry=self._process)
        PlatformCollector(registry=self._process)
        GCCollector(registry=self._process)

    def render(self, view: View) -> bytes:
        """The text format."""
        registry = CollectorRegistry()
        registry.register(_Collector(view))
        return generate_latest(registry) + generate_latest(self._process)


class _Collector:
    """Fits ``prometheus_client.registry.Collector``."""

    def __init__(self, view: View) -> None:
        self._view = view

    def collect(self) -> Iterator[Metric]:
        """Every metric of the table."""
        info = GaugeMetricFamily(INFO, "What runs here.", labels=("version", "librdkafka"))
        info.add_metric((__version__, libversion()[0]), 1)
        yield info
        for definition in METRICS:
            yield _family(definition, self._view)


def _family(definition: Definition, view: View) -> Metric:
    if definition.kind is Kind.HISTOGRAM:
        histogram = HistogramMetricFamily(definition.name, definition.help, labels=definition.labels)
        for labels, value in definition.read(view):
            if isinstance(value, Histogram):
                histogram.add_metric(labels, _buckets(value), value.total)
        return histogram
    kind = CounterMetricFamily if definition.kind is Kind.COUNTER else GaugeMetricFamily
    family = kind(definition.name, definition.help, labels=definition.labels)
    for labels, value in definition.read(view):
        if not isinstance(value, Histogram):
            family.add_metric(labels, float(value))
    return family


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    counts = histogram.cumulative(BUCKETS)
    return [
        *((f"{bound:g}", float(count)) for bound, count in zip(BUCKETS, counts, strict=True)),
        ("+Inf", histogram.count),
    ]
