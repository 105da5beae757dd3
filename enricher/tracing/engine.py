"""Look-ups as spans of an HTTP client, around whichever engine sends them.

The URL is told without its query, where a GET has the customer's id and a URL may have a key.
"""

from urllib.parse import urlsplit

from opentelemetry import context as current
from opentelemetry.trace import SpanKind, Status, StatusCode, Tracer, get_current_span, set_span_in_context
from opentelemetry.util.types import AttributeValue

from enricher.history.engine import Engine, Fields, Reply
from enricher.model import LookupFailure
from enricher.tracing.context import fields
from enricher.tracing.events import RESENDS

_BAD = 400


class TracedEngine:
    """An engine, as ``enricher.history.engine.Engine`` has it, that tells the service of the trace.

    Args:
        engine: sends the requests.
        tracer: of OpenTelemetry.
    """

    def __init__(self, engine: Engine, tracer: Tracer) -> None:
        self._engine = engine
        self._tracer = tracer

    async def send(self, url: str, content: bytes | None, headers: Fields = ()) -> Reply:
        """See ``Engine``."""
        parent = get_current_span()
        if not parent.get_span_context().is_valid:
            return await self._engine.send(url, content, headers)
        if not parent.is_recording():
            return await self._engine.send(url, content, [*headers, *fields(current.get_current())])
        method = "GET" if content is None else "POST"
        with self._tracer.start_as_current_span(
            method, kind=SpanKind.CLIENT, attributes=_request(url, method), record_exception=False,
            set_status_on_exception=False,
        ) as span:  # fmt: skip
            try:
                reply = await self._engine.send(url, content, [*headers, *fields(set_span_in_context(span))])
            except LookupFailure as failure:
                span.set_attribute("error.type", failure.kind)
                span.set_status(Status(StatusCode.ERROR))
                raise
            span.set_attribute("http.response.status_code", reply.status)
            if reply.status >= _BAD:
                span.set_attribute("error.type", str(reply.status))
                span.set_status(Status(StatusCode.ERROR))
            return reply

    async def close(self) -> None:
        """See ``Engine``."""
        await self._engine.close()


def _request(url: str, method: str) -> dict[str, AttributeValue]:
    parts = urlsplit(url)
    attributes: dict[str, AttributeValue] = {
        "http.request.method": method,
        "url.full": parts._replace(query="").geturl(),
        "server.address": parts.hostname or "",
        "server.port": parts.port or (443 if parts.scheme == "https" else 80),
    }
    resends = current.get_value(RESENDS)
    if isinstance(resends, int) and resends:
        attributes["http.request.resend_count"] = resends
    return attributes
