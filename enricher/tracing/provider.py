"""OpenTelemetry's SDK as the settings have it: sampling, and export by OTLP.

What the settings do not say is taken from the SDK's own environment variables, such as ``OTEL_EXPORTER_OTLP_HEADERS``
and ``OTEL_RESOURCE_ATTRIBUTES``.
"""

from threading import Thread
from uuid import uuid4

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Tracer

from enricher import __version__
from enricher.history.engine import Engine
from enricher.tracing.engine import TracedEngine
from enricher.tracing.events import EventTracing

FLUSH = 3.0
"""Seconds that the last spans get to be exported when the worker ends."""

EXPORT = 5.0
"""Seconds for one export."""


class Traces:
    """Everything that a worker needs for its traces.

    Args:
        processor: takes the spans that have ended.
        ratio: share of the events to trace whose records come without a decision of their own.
        group: the consumer group.
    """

    def __init__(self, processor: SpanProcessor, *, ratio: float, group: str) -> None:
        resource = Resource.create({"service.version": __version__, "service.instance.id": str(uuid4())})
        if str(resource.attributes["service.name"]).startswith("unknown_service"):
            resource = resource.merge(Resource({"service.name": "enricher"}))
        # At exit the SDK would wait for a collector that does not answer, for half a minute.
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(ratio)), resource=resource, shutdown_on_exit=False
        )
        self._provider.add_span_processor(processor)
        tracer = self._tracer = self._provider.get_tracer("enricher", __version__)
        self.events = EventTracing(tracer, group)

    @property
    def tracer(self) -> Tracer:
        """OpenTelemetry's."""
        return self._tracer

    def engine(self, engine: Engine) -> Engine:
        """The engine, with spans around its requests."""
        return TracedEngine(engine, self._tracer)

    def close(self) -> None:
        """Export what is left, as far as the collector takes it in time; blocks."""
        closing = Thread(target=self._provider.shutdown, name="tracing-shutdown", daemon=True)
        closing.start()
        closing.join(FLUSH)


def open_traces(endpoint: str, *, ratio: float, group: str) -> Traces:
    """Traces that go to a collector by OTLP over HTTP.

    Args:
        endpoint: the whole URL.
        ratio: see ``Traces``.
        group: likewise.
    """
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415  slow to import
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    exporter = OTLPSpanExporter(endpoint=endpoint, timeout=EXPORT)
    return Traces(BatchSpanProcessor(exporter), ratio=ratio, group=group)
