"""The spans of the worker's events: ``poll``, ``process``, ``send`` and ``commit``.

Each event's ``process`` span goes on with the trace that its record's headers tell, from the taking of the record to
the acknowledgement of its output; look-ups and the ``send`` span are its children. A batch's ``poll`` span links to the
traces of its records. Fits ``enricher.protocols.Tracing``.
"""

import time
from collections.abc import Collection

from opentelemetry import context as current
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, get_current_span, set_span_in_context
from opentelemetry.util.types import AttributeValue

from enricher.model import Outgoing, Record, Rejected
from enricher.tracing.context import extract, told

RESENDS = current.create_key("enricher-resends")
"""How often an event's look-up was made before, in the context of its task."""

_MAX_LINKS = 128  # what an SDK keeps of a span by default
_MESSAGING: dict[str, AttributeValue] = {"messaging.system": "kafka"}


class EventTrace:
    """One event's spans. Fits ``enricher.protocols.Trace``."""

    __slots__ = ("_context", "_process", "_send", "_tracer")

    def __init__(self, tracer: Tracer, process: Span) -> None:
        self._tracer = tracer
        self._process = process
        self._send: Span | None = None
        self._context = set_span_in_context(process, Context())

    def enter(self, attempts: int) -> None:
        """What the current task does from now on belongs to this event."""
        current.attach(current.set_value(RESENDS, max(0, attempts - 1), self._context))

    def sending(self, output: Outgoing, *, dead: bool) -> Outgoing:
        """The output that is handed over, with the context of its span in the headers.

        A dead letter keeps the headers of its record, so that whatever is made of it later continues the same trace.
        """
        context = self._context
        if self._process.is_recording():
            attributes: dict[str, AttributeValue] = {
                **_MESSAGING,
                "messaging.operation.name": "send",
                "messaging.operation.type": "send",
                "messaging.destination.name": output.topic,
            }
            self._end_send(None)  # of an output that was refused
            self._send = self._tracer.start_span(
                f"send {output.topic}", context, SpanKind.PRODUCER, attributes=attributes
            )
            context = set_span_in_context(self._send, Context())
        if dead:
            return output
        return Outgoing(output.topic, output.key, output.value, told(output.headers, context), output.timestamp)

    def end(self, rejected: Rejected | None) -> None:
        """The output, or the dead letter, was acknowledged."""
        self._end_send(None)
        if rejected is not None:
            _fail(self._process, rejected.cause)
            self._process.set_attribute("enricher.stage", rejected.stage)
        self._process.set_attribute("enricher.outcome", "dead-letter" if rejected else "enriched")
        self._process.end()

    def drop(self, outcome: str = "dropped") -> None:
        """The partition went to another worker, or the event was left out."""
        self._end_send(outcome)
        self._process.set_attribute("enricher.outcome", outcome)
        self._process.end()

    def _end_send(self, error: str | None) -> None:
        send, self._send = self._send, None
        if send is not None:
            if error is not None:
                _fail(send, error)
            send.end()


class EventTracing:
    """Makes the spans.

    Args:
        tracer: of OpenTelemetry.
        group: the consumer group.
    """

    def __init__(self, tracer: Tracer, group: str) -> None:
        self._tracer = tracer
        self._consumer: dict[str, AttributeValue] = {**_MESSAGING, "messaging.consumer.group.name": group}

    def received(self, batch: Collection[Record]) -> None:
        """A batch came: a span for each of its topics, with links to the traces of the records."""
        counts: dict[str, int] = {}
        for record in batch:
            counts[record.topic] = counts.get(record.topic, 0) + 1
        for topic, count in counts.items():
            span = self._tracer.start_span(f"poll {topic}", Context(), SpanKind.CLIENT)
            if not span.is_recording():
                continue
            attributes = {
                **self._consumer,
                "messaging.operation.name": "poll",
                "messaging.operation.type": "receive",
                "messaging.destination.name": topic,
                "messaging.batch.message_count": count,
            }
            span.set_attributes(attributes)
            links = 0
            for record in batch:
                if record.topic == topic and links < _MAX_LINKS:
                    linked = get_current_span(extract(record.headers)).get_span_context()
                    if linked.is_valid:
                        span.add_link(linked)
                        links += 1
            span.end()

    def begin(self, record: Record) -> EventTrace:
        """An event's trace begins, or goes on here."""
        span = self._tracer.start_span(f"process {record.topic}", extract(record.headers), SpanKind.CONSUMER)
        if span.is_recording():
            attributes = {
                **self._consumer,
                "messaging.operation.name": "process",
                "messaging.operation.type": "process",
                "messaging.destination.name": record.topic,
                "messaging.destination.partition.id": str(record.partition),
                "messaging.kafka.offset": record.offset,
            }
            span.set_attributes(attributes)
        return EventTrace(self._tracer, span)

    def committed(self, seconds: float, error: Exception | None) -> None:
        """A commit has ended that took so long."""
        began = time.time_ns() - int(seconds * 1e9)
        span = self._tracer.start_span("commit", Context(), SpanKind.CLIENT, start_time=began)
        attributes = {
            **self._consumer,
            "messaging.operation.name": "commit",
            "messaging.operation.type": "settle",
        }
        span.set_attributes(attributes)
        if error is not None:
            _fail(span, type(error).__name__)
        span.end()


def _fail(span: Span, kind: str) -> None:
    span.set_attribute("error.type", kind)
    span.set_status(Status(StatusCode.ERROR))
