"""A broker, a history service and workers on them, in memory and in virtual time: what pipeline tests are made of.

Invariants: ``run_world`` ends with nothing left over, whatever the test did: no task, and of each worker that ended
undisturbed no lane, no record held, no partition, no pause (``check_empty``). Every commit is judged when it is made:
what it calls resolved has an output or a dead letter in the broker at that moment; under exactly-once nothing else has,
and nothing has two.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Mapping
from dataclasses import fields
from typing import Any, NamedTuple

from enricher.completed import decode_completed
from enricher.delivery import AtLeastOnce, Delivery
from enricher.exactly_once import ExactlyOnce
from enricher.intake import Decoder, SchemaFetcher
from enricher.limiter import LimiterKind
from enricher.lookups import LookupOptions
from enricher.model import Enriched, Event, Headers, Position, Record, Rejected, Stage, TopicPartition
from enricher.pipeline import Options, Pipeline
from enricher.protocols import Tracing
from enricher.stats import Stats
from enricher.testing.memory import MemoryBroker, MemoryClient, MemorySink, MemorySource, MemoryTransactions
from tests.virtual_time import run_virtual

GROUP = "workers"
INPUT, OUTPUT, LETTERS = "contacts", "enriched", "contacts.dlq"


class PlainCodec:
    """The value is the customer's id; ``broken`` is rejected, ``fault`` raises, ``wide`` gives a large output."""

    def decode(self, record: Record) -> Event:
        """Bytes to an event."""
        customer = (record.value or b"broken").decode()
        if customer.startswith("broken"):
            raise Rejected(Stage.DECODE, "InvalidJson", "it is broken")
        if customer.startswith("fault"):
            raise RuntimeError("the decoder has a fault")
        return Event(f"{record.partition}-{record.offset}", customer, record.timestamp)

    def headers(self, record: Record) -> Headers:
        """Those of the record."""
        return record.headers

    def encode(self, enriched: Enriched, record: Record) -> bytes:
        """What ``Output`` has, as text."""
        at, customer = enriched.enrichment, enriched.contact.customer_id
        assert (at.partition, at.offset) == (record.partition, record.offset)
        if customer.startswith("odd"):
            raise Rejected(Stage.ENCODE, "NotEncodable", "it does not fit the schema")
        width = 1000 if customer.startswith("wide") else 0
        of = enriched.offer_history
        numbers = f"{at.partition} {at.offset} {at.attempts} {len(of.offers)} {of.looked_up_at} {of.as_of}"
        return f"{numbers} {at.status} {'x' * width}".encode()


class Output(NamedTuple):
    """Of an enriched event: which record it came from, its key, the attempts it took, and what is said of its history.

    ``offers`` is their number; the times are milliseconds.
    """

    partition: int
    offset: int
    key: bytes | None
    attempts: int
    offers: int
    looked_up_at: int = 0
    as_of: int = 0
    status: str = "NO_HISTORY"


class Letter(NamedTuple):
    """Of a dead letter: which record it came from, and why."""

    partition: int
    offset: int
    stage: str
    cause: str


class Worker:
    """One pipeline with its own source and sink; of ``sink`` and ``transactions``, its guarantee uses one."""

    def __init__(
        self, source: MemorySource, sink: MemorySink, transactions: MemoryTransactions, pipeline: Pipeline
    ) -> None:
        self.source = source
        self.sink = sink
        self.transactions = transactions
        self.pipeline = pipeline
        self.task = asyncio.create_task(pipeline.run())

    @property
    def in_flight(self) -> int:
        """Look-ups whose result was not handed over yet."""
        return self.pipeline._lookups.scheduler.in_flight

    @property
    def held(self) -> int:
        """Records held."""
        return self.pipeline._held.buffer.records

    def kill(self) -> None:
        """Be gone from one moment to the next: nothing of it reaches the broker any more."""
        self.source.kill()
        self.sink.kill()
        self.transactions.kill()
        self.pipeline.stop()

    async def stop(self) -> None:
        """Stop it as SIGTERM does, wait for its end, and see that it left nothing over."""
        self.pipeline.stop()
        await self.task
        check_empty(self.pipeline)

    async def failure(self) -> Exception:
        """The error that it ended with, or ends with soon."""
        await asyncio.wait([self.task])
        error = self.task.exception()
        assert isinstance(error, Exception), f"it ended without an error: {error!r}"
        return error


class World:
    """A broker with an input of some partitions, and a history service.

    Args:
        partitions: of the input.
        client: the history service; one that answers after 20 ms by default.
    """

    def __init__(self, partitions: int = 1, *, client: MemoryClient | None = None) -> None:
        self.broker = MemoryBroker({INPUT: partitions, OUTPUT: 1, LETTERS: 1}, on_commit=self._judge)
        self.client = client or MemoryClient(latency=0.02)
        self.workers: list[Worker] = []
        self.commits: list[Mapping[TopicPartition, Position]] = []
        self.exact = False  # whether every worker so far promises exactly-once
        self._outputs: list[Output] = []
        self._letters: list[Letter] = []
        self._resolved: set[tuple[int, int]] = set()

    def send(self, customer: str | None, *, key: str | None = None, partition: int = 0, gap: int = 0) -> Record:
        """Write an event of this customer to the input; its key is the customer's id unless given."""
        name = key if key is not None else customer
        return self.broker.append(
            INPUT,
            None if customer is None else customer.encode(),
            key=None if name is None else name.encode(),
            partition=partition,
            timestamp=1_000,
            gap=gap,
        )

    def worker(
        self,
        *,
        source: MemorySource | None = None,
        sink: MemorySink | None = None,
        transactions: MemoryTransactions | None = None,
        guarantee: str = "at-least-once",
        tracing: Tracing | None = None,
        seed: int = 0,
        decoder: Decoder | None = None,
        fetcher: SchemaFetcher | None = None,
        **options: Any,
    ) -> Worker:
        """Start a worker; by default it gets all partitions, and what it writes is acknowledged after 2 ms.

        Unless the test says otherwise each event has a look-up of its own, with no other limit than the cap.
        """
        source = source or self.source()
        sink = sink or MemorySink(self.broker, latency=0.002)
        transactions = transactions or self.transactions(latency=0.002)
        loop = asyncio.get_running_loop()
        names = {one.name for one in fields(LookupOptions)}
        lookups = {name: value for name, value in options.items() if name in names}
        lookups = {"coalesce": False, "limiter": LimiterKind.FIXED, **lookups}
        options = {name: value for name, value in options.items() if name not in names}
        codec, stats = PlainCodec(), Stats()
        self.exact = guarantee == "exactly-once" and (self.exact or not self.workers)
        delivery: Delivery
        if guarantee == "exactly-once":
            delivery = ExactlyOnce(source, transactions, stats)
            options = {"commit_interval": 0.1, **options}
        else:
            delivery = AtLeastOnce(source, sink, stats)
        pipeline = Pipeline(
            source, delivery, self.client, decoder or codec, codec, stats=stats, fetcher=fetcher,
            tracing=tracing,
            options=Options(OUTPUT, LETTERS, LookupOptions(**lookups), **options), clock=loop.time,
            wall_clock=lambda: int(loop.time() * 1000), rng=random.Random(seed),
        )  # fmt: skip
        worker = Worker(source, sink, transactions, pipeline)
        self.workers.append(worker)
        return worker

    def source(self, initially: Collection[TopicPartition] | None = None, **options: Any) -> MemorySource:
        """A source of this world's group; by default it gets all partitions."""
        partitions = self.broker.partitions([INPUT]) if initially is None else initially
        return MemorySource(self.broker, GROUP, initially=partitions, **options)

    def transactions(self, **options: Any) -> MemoryTransactions:
        """A transactional producer for this world's group."""
        return MemoryTransactions(self.broker, GROUP, **options)

    @property
    def outputs(self) -> list[Output]:
        """The enriched events in the order in which they were written."""
        self._take_in()
        return self._outputs

    @property
    def letters(self) -> list[Letter]:
        """The dead letters in the order in which they were written."""
        self._take_in()
        return self._letters

    @property
    def resolved(self) -> set[tuple[int, int]]:
        """Partition and offset of each record that has an output or a dead letter."""
        self._take_in()
        return self._resolved

    @property
    def unresolved(self) -> set[tuple[int, int]]:
        """Partition and offset of each record that has neither."""
        return {(record.partition, record.offset) for record in self.broker.records(INPUT)} - self.resolved

    def _take_in(self) -> None:
        """Parse what was written since the last time."""
        for record in self.broker.read(TopicPartition(OUTPUT, 0), len(self._outputs), 1_000_000):
            *numbers, status = (record.value or b"").decode().split()[:7]
            partition, offset, attempts, offers, looked_up_at, as_of = map(int, numbers)
            self._outputs.append(Output(partition, offset, record.key, attempts, offers, looked_up_at, as_of, status))
            self._resolved.add((partition, offset))
        for record in self.broker.read(TopicPartition(LETTERS, 0), len(self._letters), 1_000_000):
            header = {name: (value or b"").decode() for name, value in record.headers}
            at = int(header["__connect.errors.partition"]), int(header["__connect.errors.offset"])
            stage, cause = header["__connect.errors.stage"], header["__connect.errors.exception.class.name"]
            self._letters.append(Letter(*at, stage, cause))
            self._resolved.add(at)

    def committed(self, partition: int = 0) -> int:
        """The group's offset in a partition of the input; 0 where there is none."""
        return self.broker.committed(GROUP).get(TopicPartition(INPUT, partition), Position(0)).offset

    async def all_resolved(self, limit: float = 60.0) -> None:
        """Wait until every record of the input has an output or a dead letter."""
        await until(lambda: not self.unresolved, lambda: f"unresolved: {sorted(self.unresolved)}", limit)

    def check_once(self) -> None:
        """No record has two outputs or dead letters."""
        written: list[Output | Letter] = [*self.outputs, *self.letters]
        counts = Counter((one.partition, one.offset) for one in written)
        assert not (repeated := {place for place, count in counts.items() if count > 1}), f"repeated: {repeated}"

    def _judge(self, _group: str, positions: Mapping[TopicPartition, Position]) -> None:
        """No commit may call resolved what has neither output nor dead letter; nor, if exact, the other way round."""
        self.commits.append(positions)
        resolved = self.resolved
        others = {partition: Position(0) for partition in self.broker.partitions([INPUT])} if self.exact else {}
        for partition, at in {**others, **self.broker.committed(GROUP), **positions}.items():
            beyond = decode_completed(at.offset, at.metadata)
            assert beyond is not None
            for record in self.broker.read(partition, 0, 1_000_000):
                done = record.offset < at.offset or any(r.start <= record.offset < r.end for r in beyond)
                written = (record.partition, record.offset) in resolved
                assert not done or written, f"{partition} {record.offset} is committed by {at} and was not resolved"
                assert done or not written or not self.exact, f"{partition} {record.offset} is written, not in {at}"
        if self.exact:
            self.check_once()


async def until(
    predicate: Callable[[], Any], description: str | Callable[[], str] = "the condition", limit: float = 60.0
) -> None:
    """Wait, in virtual time, until the predicate holds."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + limit
    while not predicate():
        what = description() if callable(description) else description
        assert loop.time() < deadline, f"waited {limit:g} virtual seconds in vain: {what}"
        await asyncio.sleep(0.01)


def check_empty(pipeline: Pipeline) -> None:
    """The pipeline holds nothing any more; to be asked when it has ended undisturbed."""
    scheduler, buffer = pipeline._lookups.scheduler, pipeline._held.buffer
    assert (scheduler.lanes, scheduler.waiting, scheduler.in_flight) == (0, 0, 0)
    assert (buffer.records, buffer.bytes) == (0, 0)
    assert buffer.paused == frozenset()
    assert buffer._held == {}
    assert pipeline._held.assignments == {}
    assert pipeline._tasks.running == set()
    assert pipeline._intake._waiting == {}
    assert pipeline._lookups._wake is None
    assert not pipeline._lookups._calls


def run_world(main: Callable[[], Coroutine[Any, Any, None]], *, limit: float = 3600.0) -> None:
    """Run a test in virtual time; at its end no task may be left."""

    async def checked() -> None:
        await main()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, f"tasks are left: {left}"

    run_virtual(checked(), limit=limit)
