"""Traces: which spans there are, how they hang together, what travels with records and requests, and what never."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode, get_current_span

from enricher.history.engine import Fields, Reply
from enricher.model import FailureKind, LookupFailure, Outgoing, TopicPartition
from enricher.protocols import Answer
from enricher.testing.memory import MemoryClient, MemorySink
from enricher.tracing.context import current_ids
from enricher.tracing.provider import Traces, open_traces
from tests.pipeline_world import INPUT, LETTERS, OUTPUT, World, run_world, until

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
UNSAMPLED = f"00-{TRACE}-00f067aa0ba902b7-00"


class Made:
    """Traces, and the spans that have ended."""

    def __init__(self, ratio: float) -> None:
        self._exporter = InMemorySpanExporter()
        self.traces = Traces(SimpleSpanProcessor(self._exporter), ratio=ratio, group="workers")

    def spans(self, name: str | None = None) -> Sequence[ReadableSpan]:
        """Those that have ended, in that order."""
        return [span for span in self._exporter.get_finished_spans() if name in (None, span.name)]

    def one(self, name: str) -> ReadableSpan:
        """The only one of that name."""
        [span] = self.spans(name)
        return span


@pytest.fixture
def made() -> Iterator[Made]:
    """Traces of every event."""
    made = Made(1.0)
    yield made
    made.traces.close()


def identity(span: ReadableSpan) -> tuple[int, int]:
    """Trace and span."""
    assert span.context is not None
    return span.context.trace_id, span.context.span_id


def parent(span: ReadableSpan) -> tuple[int, int] | None:
    """Trace and span of the parent."""
    return None if span.parent is None else (span.parent.trace_id, span.parent.span_id)


def attributes(span: ReadableSpan) -> dict[str, Any]:
    """Of the span."""
    return dict(span.attributes or {})


def sampled(traceparent: str) -> int:
    """The flag; the others are not ours to judge."""
    return int(traceparent[-2:], 16) & 1


class Engine:
    """Answers as it is told, and remembers what it was sent."""

    def __init__(self, answer: Callable[[], Reply]) -> None:
        self.answer = answer
        self.sent: list[tuple[str, Fields]] = []
        self.closed = False

    async def send(self, url: str, content: bytes | None, headers: Fields = ()) -> Reply:
        """See ``Engine``."""
        del content
        self.sent.append((url, headers))
        return self.answer()

    async def close(self) -> None:
        """See ``Engine``."""
        self.closed = True


class AskingClient(MemoryClient):
    """A history service behind a traced engine."""

    def __init__(self, made: Made, statuses: Sequence[int] = (200,)) -> None:
        super().__init__()
        left = list(statuses)
        self.engine = Engine(lambda: Reply(left.pop(0) if len(left) > 1 else left[0], b"", None, None, None))
        self._traced = made.traces.engine(self.engine)

    async def fetch(self, customer_id: str) -> Answer:
        """One request."""
        reply = await self._traced.send(f"http://host:8080/path?CustomerID={customer_id}", None)
        if reply.status != 200:
            raise LookupFailure(FailureKind.UNAVAILABLE, "it is away", status=reply.status)
        return Answer((), 5)


def send(world: World, customer: str, *headers: tuple[str, str]) -> None:
    """An event with these headers."""
    world.broker.append(
        INPUT,
        customer.encode(),
        key=customer.encode(),
        timestamp=1_000,
        headers=[(name, value.encode()) for name, value in headers],
    )


def headers(world: World, topic: str) -> list[list[tuple[str, bytes | None]]]:
    """Of the records of a topic."""
    return [record.headers for record in world.broker.read(TopicPartition(topic, 0), 0, 100)]


@pytest.mark.parametrize("guarantee", ["at-least-once", "exactly-once"])
def test_an_event_goes_on_with_its_trace(made: Made, guarantee: str) -> None:
    """From the record's headers through the look-ups, the second one included, into the output's headers."""

    async def main() -> None:
        client = AskingClient(made, [503, 200])
        world = World(client=client)
        send(world, "CONNOR", ("a", "1"), ("traceparent", PARENT), ("tracestate", "v=1"), ("b", "2"))
        worker = world.worker(guarantee=guarantee, tracing=made.traces.events)
        await world.all_resolved()
        await worker.stop()
        process = made.one(f"process {INPUT}")
        assert process.kind is SpanKind.CONSUMER
        assert parent(process) == (int(TRACE, 16), 0x00F067AA0BA902B7)
        assert attributes(process) == {
            "messaging.system": "kafka",
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.destination.name": INPUT,
            "messaging.destination.partition.id": "0",
            "messaging.kafka.offset": 0,
            "messaging.consumer.group.name": "workers",
            "enricher.outcome": "enriched",
        }
        first, second = made.spans("GET")
        sending = made.one(f"send {OUTPUT}")
        assert {parent(span) for span in (first, second, sending)} == {identity(process)}
        assert (first.kind, sending.kind) == (SpanKind.CLIENT, SpanKind.PRODUCER)
        assert attributes(first) == {
            "http.request.method": "GET",
            "url.full": "http://host:8080/path",
            "server.address": "host",
            "server.port": 8080,
            "http.response.status_code": 503,
            "error.type": "503",
        }
        assert first.status.status_code is StatusCode.ERROR
        assert attributes(second)["http.request.resend_count"] == 1
        assert second.status.status_code is StatusCode.UNSET
        told = [dict(fields)["traceparent"] for _, fields in client.engine.sent]
        assert told == [f"00-{TRACE}-{identity(span)[1]:016x}-01" for span in (first, second)]
        written = f"00-{TRACE}-{identity(sending)[1]:016x}-01".encode()
        assert headers(world, OUTPUT) == [[("a", b"1"), ("b", b"2"), ("traceparent", written), ("tracestate", b"v=1")]]

    run_world(main)


def test_events_that_share_a_look_up_keep_their_traces(made: Made) -> None:
    """The look-up is in the trace of the first; each output, and the log, tells its own event's."""

    async def main() -> None:
        world = World(client=AskingClient(made))
        logged: list[str] = []

        def watch(_output: Outgoing) -> None:
            logged.append(current_ids()["trace_id"])

        sink = MemorySink(world.broker)
        sink.refuse = watch
        for _ in range(2):
            send(world, "CONNOR")
        worker = world.worker(sink=sink, coalesce=True, tracing=made.traces.events)
        await world.all_resolved()
        await worker.stop()
        processes, sendings = made.spans(f"process {INPUT}"), made.spans(f"send {OUTPUT}")
        assert parent(made.one("GET")) == identity(processes[0])
        assert [parent(span) for span in sendings] == [identity(span) for span in processes]
        assert logged == [f"{identity(span)[0]:032x}" for span in processes]

    run_world(main)


def test_a_batch_links_to_the_traces_of_its_records(made: Made) -> None:
    """The poll span is of no event's trace; and there is one for each commit that committed anything."""

    async def main() -> None:
        world = World()
        send(world, "A", ("traceparent", PARENT))
        send(world, "B")
        send(world, "C", ("traceparent", "00-garbage"))
        worker = world.worker(tracing=made.traces.events)
        await world.all_resolved()
        await asyncio.sleep(5)
        await worker.stop()
        poll = made.one(f"poll {INPUT}")
        assert poll.kind is SpanKind.CLIENT
        assert parent(poll) is None
        assert [link.context.trace_id for link in poll.links] == [int(TRACE, 16)]
        assert attributes(poll)["messaging.batch.message_count"] == 3
        assert attributes(poll)["messaging.operation.type"] == "receive"
        assert len({identity(span)[0] for span in made.spans(f"process {INPUT}")}) == 3
        commit = made.one("commit")
        assert (attributes(commit)["messaging.operation.type"], commit.kind) == ("settle", SpanKind.CLIENT)
        assert commit.status.status_code is StatusCode.UNSET

    run_world(main)


def test_a_dead_letter_keeps_its_headers(made: Made) -> None:
    """What is made of it later continues the trace; its spans tell stage and cause."""

    async def main() -> None:
        world = World()
        send(world, "broken", ("traceparent", PARENT))
        worker = world.worker(tracing=made.traces.events)
        await world.all_resolved()
        await worker.stop()
        process = made.one(f"process {INPUT}")
        assert attributes(process)["error.type"] == "InvalidJson"
        assert attributes(process)["enricher.stage"] == "decode"
        assert attributes(process)["enricher.outcome"] == "dead-letter"
        assert process.status.status_code is StatusCode.ERROR
        assert parent(made.one(f"send {LETTERS}")) == identity(process)
        [written] = headers(world, LETTERS)
        assert written[0] == ("traceparent", PARENT.encode())

    run_world(main)


def test_what_is_dropped_is_told(made: Made) -> None:
    """The partition goes while the look-up is under way: every span ends all the same."""

    async def main() -> None:
        world = World(client=MemoryClient(latency=1e9))
        send(world, "A")
        worker = world.worker(tracing=made.traces.events, revoke_grace=0.1, shutdown_deadline=3.0)
        await until(lambda: worker.in_flight == 1)
        worker.source.lose([TopicPartition(INPUT, 0)])
        worker.pipeline.stop()
        await worker.task

    run_world(main)
    assert made.spans(f"send {OUTPUT}") == []


def test_sampling_follows_the_record_and_then_the_setting() -> None:
    """What is not sampled makes no span, and still hands the context on."""
    made = Made(0.0)

    async def main() -> None:
        client = AskingClient(made)
        world = World(client=client)
        send(world, "A", ("traceparent", UNSAMPLED))
        send(world, "B")
        send(world, "C", ("traceparent", PARENT))
        worker = world.worker(tracing=made.traces.events)
        await world.all_resolved()
        await worker.stop()
        assert {identity(span)[0] for span in made.spans()} == {int(TRACE, 16)}
        assert {span.name for span in made.spans()} == {f"process {INPUT}", "GET", f"send {OUTPUT}"}
        assert sorted(sampled(dict(fields)["traceparent"]) for _, fields in client.engine.sent) == [0, 0, 1]
        unsampled = [dict(told)["traceparent"] for told in headers(world, OUTPUT)]
        assert sorted(sampled(value.decode()) for value in unsampled if value) == [0, 0, 1]

    run_world(main)
    made.traces.close()


def test_without_tracing_headers_pass_through() -> None:
    """Nothing is added, and nothing taken away."""

    async def main() -> None:
        world = World()
        send(world, "A", ("traceparent", PARENT), ("tracestate", "v=1"))
        worker = world.worker()
        await world.all_resolved()
        await worker.stop()
        assert headers(world, OUTPUT) == [[("traceparent", PARENT.encode()), ("tracestate", b"v=1")]]

    run_world(main)


def test_a_request_that_does_not_come_through(made: Made) -> None:
    """The kind of failure is told, and nothing that the failure says."""

    def fail() -> Reply:
        raise LookupFailure(FailureKind.TIMEOUT, "no answer for CONNOR")

    async def main() -> None:
        engine = Engine(fail)
        traced = made.traces.engine(engine)
        with made.traces.tracer.start_as_current_span("event"), pytest.raises(LookupFailure):
            await traced.send("https://host/path?key=SECRET", b"CONNOR")
        await traced.close()
        assert engine.closed

    asyncio.run(main())
    post = made.one("POST")
    assert attributes(post)["error.type"] == FailureKind.TIMEOUT
    assert attributes(post)["server.port"] == 443
    assert not any(word in post.to_json() for word in ("SECRET", "CONNOR"))
    assert post.events == ()


def test_a_request_outside_of_a_trace_is_sent_as_it_is(made: Made) -> None:
    """As by a check, or before anything was read."""
    engine = Engine(lambda: Reply(200, b"", None, None, None))
    asyncio.run(made.traces.engine(engine).send("http://host/", b"", [("a", "1")]))
    assert engine.sent == [("http://host/", [("a", "1")])]
    assert made.spans() == []


def test_the_log_tells_the_current_trace(made: Made) -> None:
    """Within one; nothing outside."""
    assert current_ids() == {}
    with made.traces.tracer.start_as_current_span("event"):
        context = get_current_span().get_span_context()
        ids = current_ids()
    assert ids == {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}


def test_a_collector_that_hangs_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last spans get a moment, and no more."""
    monkeypatch.setattr("enricher.tracing.provider.FLUSH", 0.1)
    release = threading.Event()

    class Hanging(SpanExporter):
        """Never done."""

        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            """Take them."""
            del spans
            return SpanExportResult.SUCCESS

        def shutdown(self) -> None:
            """Hang."""
            release.wait(60)

    traces = Traces(SimpleSpanProcessor(Hanging()), ratio=1.0, group="g")
    began = time.monotonic()
    traces.close()
    assert time.monotonic() - began < 30
    release.set()


def test_the_worker_is_named() -> None:
    """As the environment says, else ``enricher``; with its version, and an id of this one."""
    traces = open_traces("http://127.0.0.1:1/v1/traces", ratio=1.0, group="g")
    span = traces.tracer.start_span("x")
    assert isinstance(span, ReadableSpan)
    named = dict(span.resource.attributes)
    assert named["service.name"] == "enricher"
    assert {"service.version", "service.instance.id"} <= set(named)
    traces.close()
