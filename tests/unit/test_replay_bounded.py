"""A bounded replay in memory and in virtual time: it ends, and takes exactly what belongs to its range."""

import asyncio
import random
from collections.abc import Collection, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enricher.completed import decode_completed
from enricher.delivery import AtLeastOnce, Delivery
from enricher.exactly_once import ExactlyOnce
from enricher.model import Position, Record, TopicPartition
from enricher.pipeline import Options, Pipeline
from enricher.protocols import Listener, OnEnd, ProduceFailed
from enricher.replay.bounded import BoundedSource
from enricher.replay.selection import SelectingDecoder, Selection
from enricher.stats import Stats
from enricher.testing.memory import MemoryBroker, MemoryClient, MemorySink, MemorySource, MemoryTransactions
from tests.pipeline_world import INPUT, LETTERS, OUTPUT, PlainCodec, check_empty, until
from tests.virtual_time import run_virtual

GROUP = "replay"
BOTH = pytest.mark.parametrize("guarantee", ["at-least-once", "exactly-once"])


class Replay:
    """A pipeline over the records below ``ends``."""

    def __init__(
        self,
        broker: MemoryBroker,
        ends: Mapping[TopicPartition, int],
        selection: Selection,
        guarantee: str = "at-least-once",
        source: MemorySource | None = None,
    ) -> None:
        self.broker = broker
        self.ends = ends
        self.inner = source or MemorySource(broker, GROUP, batch=7, overshoot=5, initially=broker.partitions([INPUT]))
        self.source = BoundedSource(self.inner, ends)
        self.client = MemoryClient(latency=lambda _call: random.Random(0).random() / 50)
        stats, codec = Stats(), PlainCodec()
        self.transactions = MemoryTransactions(broker, GROUP, latency=0.002)
        self.sink = MemorySink(broker, latency=0.002)
        delivery: Delivery = (
            ExactlyOnce(self.source, self.transactions, stats)
            if guarantee == "exactly-once"
            else AtLeastOnce(self.source, self.sink, stats)
        )
        self.pipeline = Pipeline(
            self.source, delivery, self.client, SelectingDecoder(codec, selection), codec, stats=stats,
            options=Options(OUTPUT, LETTERS, commit_interval=0.1, added_headers=[("enricher-replay", b"r")]),
            clock=asyncio.get_running_loop().time, rng=random.Random(0),
        )  # fmt: skip
        self.task = asyncio.create_task(self.pipeline.run())

    @property
    def complete(self) -> bool:
        """Whether the group has committed every end."""
        committed = self.broker.committed(GROUP)
        return all(committed[p].offset >= end for p, end in self.ends.items() if p in committed) and all(
            p in committed for p, end in self.ends.items() if end
        )

    async def finish(self) -> None:
        """Wait until all is committed, and end."""
        await until(lambda: self.complete, "the whole range committed")
        self.pipeline.stop()
        await self.task
        check_empty(self.pipeline)

    def kill(self) -> None:
        """Be gone from one moment to the next."""
        self.inner.kill()
        self.sink.kill()
        self.transactions.kill()
        self.pipeline.stop()


def published(broker: MemoryBroker) -> list[tuple[int, int]]:
    """Partition and offset of the source of each output, in order of the source."""
    return sorted(tuple(map(int, (record.value or b"").split()[:2])) for record in broker.records(OUTPUT))  # type: ignore[misc]  # two


def world(partitions: int = 2) -> MemoryBroker:
    """A broker."""
    return MemoryBroker({INPUT: partitions, OUTPUT: 1, LETTERS: 1})


def ends_of(broker: MemoryBroker) -> dict[TopicPartition, int]:
    """Where the input ends now."""
    return {partition: broker.watermarks(partition)[1] for partition in broker.partitions([INPUT])}


@BOTH
def test_it_ends_while_the_topic_grows(guarantee: str) -> None:
    """What is written after it began is not its own; what it writes names it."""

    async def main() -> None:
        broker = world()
        for number in range(60):
            broker.append(INPUT, b"c%d" % number, key=b"k", partition=number % 2, timestamp=number)
        ends = ends_of(broker)
        replay = Replay(broker, ends, Selection(), guarantee)
        for number in range(40):
            broker.append(INPUT, b"late", key=b"k", partition=number % 2, timestamp=number)
            await asyncio.sleep(0.001)
        await replay.finish()
        assert published(broker) == [(p, o) for p in (0, 1) for o in range(30)]
        assert {header for record in broker.records(OUTPUT) for header in record.headers} == {("enricher-replay", b"r")}
        assert {p: at.offset for p, at in broker.committed(GROUP).items()} == ends
        assert replay.inner.assigned == frozenset()

    run_virtual(main())


@BOTH
def test_an_end_inside_a_gap_is_reached(guarantee: str) -> None:
    """The last records below the end are gone (compaction, markers): at the log's end, and with more behind it."""

    async def main() -> None:
        broker = world(3)
        for partition in range(3):
            broker.append(INPUT, b"a", partition=partition, timestamp=1)
        broker.append(INPUT, b"broken", partition=1, timestamp=1, gap=20)  # ends at 10: in the gap
        broker.truncate(TopicPartition(INPUT, 2), 15)  # nothing is left of it
        ends = {TopicPartition(INPUT, 0): 1, TopicPartition(INPUT, 1): 10, TopicPartition(INPUT, 2): 15}
        replay = Replay(broker, ends, Selection(), guarantee)
        await until(lambda: len(broker.records(OUTPUT)) == 2)
        broker.truncate(TopicPartition(INPUT, 0), 1)
        await until(lambda: broker.committed(GROUP).get(TopicPartition(INPUT, 1)) is not None)
        replay.pipeline.stop()
        await replay.task
        assert broker.committed(GROUP)[TopicPartition(INPUT, 1)].offset == 10
        assert published(broker) == [(0, 0), (1, 0)]
        assert replay.source.fillers == 1

    run_virtual(main())


def test_a_log_that_ends_below_its_last_offset_is_reached() -> None:
    """The end is past the last record, as where a transaction's marker stands last."""

    async def main() -> None:
        broker = world(1)
        only = TopicPartition(INPUT, 0)
        broker.append(INPUT, b"a", timestamp=1)
        broker._logs[only].end = 4  # three markers
        replay = Replay(broker, {only: 4}, Selection())
        await replay.finish()
        assert (published(broker), replay.source.fillers) == ([(0, 0)], 1)

    run_virtual(main())


def test_partitions_outside_the_plan_are_left_alone() -> None:
    """A partition that was added since has no end, and nothing of it is read."""

    async def main() -> None:
        broker = world(2)
        for partition in (0, 1):
            broker.append(INPUT, b"a", partition=partition, timestamp=1)
        replay = Replay(broker, {TopicPartition(INPUT, 0): 1}, Selection())
        await replay.finish()
        assert published(broker) == [(0, 0)]
        assert TopicPartition(INPUT, 1) not in broker.committed(GROUP)

    run_virtual(main())


@BOTH
def test_two_share_it_and_a_killed_one_is_replaced(guarantee: str) -> None:
    """What a killed member has committed is not done again, and the other one ends it all."""

    async def main() -> None:
        broker = world(4)
        for number in range(400):
            broker.append(INPUT, b"c%d" % number, key=b"%d" % number, partition=number % 4, timestamp=number)
        ends = ends_of(broker)
        partitions = broker.partitions([INPUT])
        first = Replay(broker, ends, Selection(), guarantee, MemorySource(broker, GROUP, initially=partitions[:2]))
        second = Replay(broker, ends, Selection(), guarantee, MemorySource(broker, GROUP, initially=partitions[2:]))
        await until(lambda: len(broker.records(OUTPUT)) > 150)
        first.kill()
        done = {
            (p.partition, offset)
            for p, at in broker.committed(GROUP).items()
            for span in [(0, at.offset), *(decode_completed(at.offset, at.metadata) or ())]
            for offset in range(*span)
        }
        asked = len(second.client.calls)
        second.inner.assign(partitions[:2])
        await second.finish()
        await asyncio.wait([first.task])
        assert isinstance(first.task.exception(), ProduceFailed | None)  # it may have met its closed sink
        assert set(published(broker)) == {(p, o) for p in range(4) for o in range(100)}
        assert len(second.client.calls) - asked <= 400 - len(done)
        if guarantee == "exactly-once":
            assert len(published(broker)) == 400

    run_virtual(main())


@BOTH
def test_going_away_and_coming_back_loses_nothing(guarantee: str) -> None:
    """Partitions are revoked, lost and given back in the middle; the rest is gone through once more."""

    async def main() -> None:
        broker = world(2)
        for number in range(200):
            broker.append(INPUT, b"c%d" % number, partition=number % 2, timestamp=number)
        replay = Replay(broker, ends_of(broker), Selection(), guarantee)
        await until(lambda: len(broker.records(OUTPUT)) > 20)
        first, second = broker.partitions([INPUT])
        await replay.inner.revoke([first])
        replay.inner.lose([second])
        replay.inner.assign([first, second])
        await replay.finish()
        assert set(published(broker)) == {(p, o) for p in range(2) for o in range(100)}

    run_virtual(main())


def test_a_source_that_fails_ends_it() -> None:
    """Its error reaches whoever runs the pipeline."""

    async def main() -> None:
        broker = world(1)
        replay = Replay(broker, {TopicPartition(INPUT, 0): 1}, Selection())
        await asyncio.sleep(0.1)
        replay.inner.fail(RuntimeError("the consumer is broken"))
        with pytest.raises(RuntimeError, match="broken"):
            await replay.task

    run_virtual(main())


times = st.integers(0, 20)


@settings(max_examples=60)
@given(
    logs=st.lists(st.lists(st.tuples(times, st.integers(0, 2), st.booleans()), max_size=25), min_size=1, max_size=3),
    since=times,
    length=st.integers(1, 10),
)
def test_a_replay_by_time_is_a_naive_scan(logs: list[list[tuple[int, int, bool]]], since: int, length: int) -> None:
    """Exactly the events in [from, to) by record timestamp, out of order, across partitions and gaps; some broken."""

    async def main() -> None:
        broker = world(len(logs))
        for partition, records in enumerate(logs):
            for timestamp, gap, good in records:
                value = b"c" if good else b"broken"
                broker.append(INPUT, value, partition=partition, timestamp=timestamp, gap=gap)
        naive = [r for r in broker.records(INPUT) if since <= r.timestamp < since + length]
        replay = Replay(broker, ends_of(broker), Selection(since=since, until=since + length))
        await replay.finish()
        assert published(broker) == [(r.partition, r.offset) for r in naive if r.value == b"c"]
        letters = [dict(record.headers) for record in broker.records(LETTERS)]
        places = [
            (int(h["__connect.errors.partition"] or b""), int(h["__connect.errors.offset"] or b"")) for h in letters
        ]
        assert sorted(places) == [(r.partition, r.offset) for r in naive if r.value == b"broken"]
        assert {h["enricher-replay"] for h in letters} <= {b"r"}

    run_virtual(main())


class _Recorder:
    """A source, and a listener, that remember what they are told."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, object]] = []
        self.on_end: OnEnd | None = None

    async def start(self, listener: Listener) -> None:
        """See ``enricher.protocols.Source``."""

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        """See ``enricher.protocols.Source``."""
        self.calls.append(("pause", list(partitions)))

    def resume(self, partitions: Collection[TopicPartition]) -> None:
        """See ``enricher.protocols.Source``."""
        self.calls.append(("resume", list(partitions)))

    async def commit(self, positions: Mapping[TopicPartition, Position]) -> None:
        """See ``enricher.protocols.Source``."""

    def group(self) -> object:
        """See ``enricher.protocols.Source``."""

    async def close(self) -> None:
        """See ``enricher.protocols.Source``."""

    def assigned(self, partitions: Mapping[TopicPartition, Position]) -> None:
        """See ``enricher.protocols.Listener``."""

    def records(self, batch: Collection[Record]) -> None:
        """See ``enricher.protocols.Listener``."""
        self.calls.append(("records", [record.offset for record in batch]))

    async def revoked(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, Position]:
        """See ``enricher.protocols.Listener``."""
        return dict.fromkeys(partitions, Position(0))

    def lost(self, partitions: Collection[TopicPartition]) -> None:
        """See ``enricher.protocols.Listener``."""

    def failed(self, error: Exception) -> None:
        """See ``enricher.protocols.Listener``."""


def test_each_partition_is_paused_at_its_end_and_stays_so() -> None:
    """What still arrives of it, a resume, and the log's end, told late, change nothing."""

    async def main() -> None:
        source, listener = _Recorder(), _Recorder()
        bounded = BoundedSource(source, {P0: 2, P1: 5, P2: 3})
        await bounded.start(listener)
        bounded.assigned({P0: Position(0), P1: Position(4), P2: Position(3)})
        assert source.calls == [("pause", [P2])]
        bounded.pause([P0, P1])
        bounded.resume([P0, P1, P2])
        assert source.calls[1:] == [("pause", [P0, P1]), ("resume", [P0, P1])]
        bounded.records([_at(P0, 0), _at(P0, 1), _at(P0, 2), _at(P1, 9)])
        assert listener.calls == [("records", [0, 1, 4])]
        assert source.calls[3:] == [("pause", [P0, P1])]
        bounded.records([_at(P0, 3), _at(P1, 10)])
        bounded.resume([P0, P1])
        assert source.on_end is not None
        source.on_end(P0, 9)
        assert [call for call in listener.calls if call[1]] == [("records", [0, 1, 4])]
        assert len(source.calls) == 4

    asyncio.run(main())


def test_the_end_of_the_log_is_no_end_of_ours_until_it_is_past_it() -> None:
    """The log may grow between; what was read to our end needs no filler, and another's partition none at all."""

    async def main() -> None:
        source, listener = _Recorder(), _Recorder()
        bounded = BoundedSource(source, {P0: 3, P1: 3})
        await bounded.start(listener)
        bounded.assigned({P0: Position(0), P1: Position(0)})
        assert source.on_end is not None
        source.on_end(P0, 2)
        assert listener.calls == []
        source.on_end(P0, 3)
        assert listener.calls == [("records", [2])]
        assert await bounded.revoked([P1]) == {P1: Position(0)}
        source.on_end(P1, 3)
        bounded.lost([P0])
        source.on_end(P0, 3)
        assert listener.calls == [("records", [2])]

    asyncio.run(main())


P0, P1, P2 = (TopicPartition("t", number) for number in range(3))


def _at(partition: TopicPartition, offset: int) -> Record:
    return Record(*partition, offset, 1, None, b"", [])
