"""The trace context as it travels: in the headers of records and of HTTP requests (https://www.w3.org/TR/trace-context).

Only ``traceparent`` and ``tracestate``: baggage may hold what is nobody's business, and stays where it came in.
"""

from collections.abc import Iterable

from opentelemetry.context import Context
from opentelemetry.trace import get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from enricher.model import Headers

NAMES = frozenset(("traceparent", "tracestate"))

_PROPAGATOR = TraceContextTextMapPropagator()
_NOWHERE = Context()


def extract(headers: Iterable[tuple[str, bytes | None]]) -> Context:
    """The context that a record's headers tell; an empty one where they tell none that is valid.

    Of a header that stands there several times the last one counts, as it was written last.
    """
    carrier = {
        name.lower(): value.decode("latin-1") for name, value in headers if value is not None and name.lower() in NAMES
    }
    return _PROPAGATOR.extract(carrier, context=_NOWHERE) if carrier else _NOWHERE


def fields(context: Context) -> list[tuple[str, str]]:
    """The header fields that tell this context."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier, context=context)
    return list(carrier.items())


def told(headers: Headers, context: Context) -> Headers:
    """The headers, with this context in place of that which they tell."""
    kept = [(name, value) for name, value in headers if name.lower() not in NAMES]
    return [*kept, *((name, value.encode("latin-1")) for name, value in fields(context))]


def current_ids() -> dict[str, str]:
    """The current trace and span, for the log; nothing where there is none."""
    context = get_current_span().get_span_context()
    if not context.is_valid:
        return {}
    return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}
