"""What a source owes the pipeline, held against the in-memory one and Apache Kafka."""

import asyncio
import time
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Any

import pytest

from enricher.handover import SLICE
from enricher.model import Headers, Position, Record, TopicPartition
from enricher.protocols import CommitFailed, Source
from enricher.pulse import Pulse
from enricher.source import KafkaSource
from tests.contract.backends import Backend, Heard, Kafka, Memory
from tests.harness.broker import KafkaBroker
from tests.harness.clients import group_members, unique_name
from tests.harness.waiting import wait_until, wait_until_async


@pytest.fixture(params=["memory", pytest.param("kafka", marks=pytest.mark.kafka)])
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each test runs in memory, and on Apache Kafka."""
    if request.param == "memory":
        return Memory()
    return Kafka(request.getfixturevalue("kafka").bootstrap_servers)


@asynccontextmanager
async def started(source: Source, heard: Heard | None = None) -> AsyncIterator[Heard]:
    """The source, started; closed afterwards, without an error."""
    heard = heard or Heard()
    await source.start(heard)
    try:
        yield heard
    finally:
        await source.close()
    assert heard.errors == []


def test_records_arrive_in_order_as_they_were_written(backend: Backend) -> None:
    """Key, value, headers and timestamp are the record's: None stays None, names repeat, bytes need not be text."""
    topic = backend.topic()
    headers: Headers = [("a", b"1"), ("a", b"\xff\x00"), ("b", None), ("c", b"")]
    backend.write(topic, b"v", key=b"\xff", headers=headers, timestamp=1_700_000_000_123)
    backend.write(topic, None, key=b"tombstone")
    backend.write(topic, b"", key=None)
    backend.write(topic, *(b"%d" % number for number in range(100)))

    async def main() -> None:
        async with started(backend.source(topic, unique_name("g"))) as heard:
            await wait_until_async(lambda: len(heard.delivered) == 103, "all records")
        assert heard.delivered[:3] == [
            Record(topic, 0, 0, 1_700_000_000_123, b"\xff", b"v", headers),
            Record(topic, 0, 1, 1, b"tombstone", None, []),
            Record(topic, 0, 2, 1, None, b"", []),
        ]
        assert heard.offsets() == list(range(103))
        assert heard.calls[0] == ("assigned", frozenset({TopicPartition(topic, 0)}))

    asyncio.run(main())


def test_the_end_is_told_after_the_records_before_it(backend: Backend) -> None:
    """Once for each time that it is met, and with the offset that the next record will get; also of an empty log."""
    topic = backend.topic(2)
    backend.write(topic, b"a", b"b")
    told: list[tuple[int, int, int]] = []

    async def main() -> None:
        heard = Heard()
        source = backend.source(topic, unique_name("g"))
        source.on_end = lambda partition, offset: told.append((partition.partition, offset, len(heard.delivered)))
        async with started(source, heard):
            await wait_until_async(lambda: len(told) == 2, "both ends")
            assert min(told) == (0, 2, 2)
            assert max(told)[:2] == (1, 0)
            backend.write(topic, b"c")
            await wait_until_async(lambda: len(told) == 3, "the end after another record")
            assert told[2] == (0, 3, 3)

    asyncio.run(main())


def test_a_group_goes_on_where_it_committed(backend: Backend) -> None:
    """Offset and metadata of a commit come back with the next assignment, and reading begins there."""
    topic, group = backend.topic(), unique_name("g")
    backend.write(topic, *(b"%d" % number for number in range(10)))
    partition, at = TopicPartition(topic, 0), Position(4, "e1bAB==")

    async def main() -> None:
        source = backend.source(topic, group)
        async with started(source) as heard:
            await wait_until_async(lambda: len(heard.delivered) == 10, "all records")
            assert heard.positions == {partition: Position(0)}
            await source.commit({partition: at})
            assert backend.committed(topic, group) == {0: at}
        async with started(backend.source(topic, group)) as heard:
            await wait_until_async(lambda: len(heard.delivered) == 6, "what is left")
        assert heard.positions == {partition: at}
        assert heard.offsets() == list(range(4, 10))

    asyncio.run(main())


def test_commits_follow_each_other(backend: Backend) -> None:
    """Each is answered when it is done, and the last one counts."""
    topic, group = backend.topic(2), unique_name("g")
    partitions = [TopicPartition(topic, number) for number in range(2)]
    for number in range(2):
        backend.write(topic, *(b"x" for _ in range(20)), partition=number)

    async def main() -> None:
        source = backend.source(topic, group)
        async with started(source) as heard:
            await wait_until_async(lambda: len(heard.delivered) == 40, "all records")
            for offset in range(1, 21):
                await source.commit({partitions[offset % 2]: Position(offset)})
        assert backend.committed(topic, group) == {0: Position(20), 1: Position(19)}

    asyncio.run(main())


def test_a_commit_that_is_given_up_does_not_answer_the_next(backend: Backend) -> None:
    """Whoever waits no longer (a drain's deadline) leaves the next commit with an answer of its own."""
    topic, group = backend.topic(), unique_name("g")
    backend.write(topic, *(b"x" for _ in range(20)))
    partition = TopicPartition(topic, 0)

    async def main() -> None:
        source = backend.source(topic, group)
        async with started(source) as heard:
            await wait_until_async(lambda: len(heard.delivered) == 20, "all records")
            for offset in range(2, 21, 2):
                first = asyncio.create_task(source.commit({partition: Position(offset)}))
                await asyncio.sleep(0)
                first.cancel()
                with pytest.raises(CommitFailed):
                    await source.commit({partition: Position(offset + 1, 4096 * "x")})
        assert backend.committed(topic, group) in ({0: Position(20)}, {})  # a commit given up may be made or not

    asyncio.run(main())


def test_partitions_that_are_not_assigned_are_not_committed(backend: Backend) -> None:
    """They are left out; the rest is committed."""
    topic, group = backend.topic(), unique_name("g")
    backend.write(topic, b"x")

    async def main() -> None:
        source = backend.source(topic, group)
        async with started(source) as heard:
            await wait_until_async(lambda: heard.delivered, "the record")
            await source.commit({TopicPartition("other", 0): Position(7)})
            await source.commit({TopicPartition("other", 0): Position(7), TopicPartition(topic, 0): Position(1)})
        assert backend.committed(topic, group) == {0: Position(1)}

    asyncio.run(main())


def test_a_paused_partition_delivers_no_more_until_it_is_resumed(backend: Backend) -> None:
    """What was fetched already may still arrive; the other partition goes on; nothing is lost or repeated."""
    topic = backend.topic(2)
    first, second = (TopicPartition(topic, number) for number in range(2))

    async def main() -> None:
        source = backend.source(topic, unique_name("g"))
        async with started(source) as heard:
            await wait_until_async(lambda: len(heard.positions) == 2, "the assignment")
            source.pause([first, TopicPartition("other", 0)])
            backend.write(topic, b"warm up", partition=1)
            await wait_until_async(lambda: heard.offsets(1) == [0], "the pause is in force")
            backend.write(topic, *(b"x" for _ in range(50)), partition=0)
            backend.write(topic, *(b"y" for _ in range(50)), partition=1)
            await wait_until_async(lambda: len(heard.offsets(1)) == 51, "the other partition")
            assert len(heard.offsets(0)) <= 10
            source.resume([first, TopicPartition("other", 0)])
            await wait_until_async(lambda: len(heard.offsets(0)) == 50, "the resumed partition")
            source.pause([second])
            source.resume([second])
            backend.write(topic, b"last", partition=1)
            await wait_until_async(lambda: len(heard.offsets(1)) == 52, "pause and resume in order")
        assert heard.offsets(0) == list(range(50))
        assert heard.offsets(1) == list(range(52))

    asyncio.run(main())


def test_the_answer_to_a_revocation_is_committed(backend: Backend) -> None:
    """Leaving the group asks the listener, waits for its answer, and commits it before the partition goes."""
    topic, group = backend.topic(2), unique_name("g")
    partitions = [TopicPartition(topic, number) for number in range(2)]
    backend.write(topic, *(b"x" for _ in range(5)))
    at = Position(3, "e1rAQE=")

    async def main() -> None:
        async with started(backend.source(topic, group)) as heard:
            await wait_until_async(lambda: len(heard.delivered) == 5, "the records")
            heard.answer, heard.hesitate = {partitions[0]: at}, 0.2
        assert heard.calls[-2:] == [("revoked", frozenset(partitions)), ("answered", frozenset(partitions))]
        assert backend.committed(topic, group) == {0: at}

    asyncio.run(main())


def test_an_answer_that_takes_too_long_is_not_waited_for(backend: Backend) -> None:
    """The partitions are lost to the listener, and nothing is committed."""
    topic, group = backend.topic(), unique_name("g")
    partition = TopicPartition(topic, 0)
    backend.write(topic, b"x")

    async def main() -> None:
        async with started(backend.source(topic, group, revoke_deadline=0.3)) as heard:
            await wait_until_async(lambda: heard.delivered, "the record")
            heard.answer, heard.hesitate = {partition: Position(1)}, 60.0
        await wait_until_async(lambda: heard.calls[-1] == ("lost", frozenset({partition})), "the loss")
        assert ("answered", frozenset({partition})) not in heard.calls
        assert backend.committed(topic, group) == {}

    asyncio.run(main())


def test_a_partition_moves_to_a_second_member(backend: Backend) -> None:
    """The first is asked before the second gets it, which begins where the answer said; the rest stays undisturbed."""
    topic, group = backend.topic(2), unique_name("g")
    partitions = {TopicPartition(topic, number) for number in range(2)}
    for number in range(2):
        backend.write(topic, *(b"x" for _ in range(10)), partition=number)

    async def main() -> None:
        first_source, second_source = backend.source(topic, group), backend.source(topic, group)
        async with started(first_source) as first:
            await wait_until_async(lambda: len(first.delivered) == 20, "all records")
            first.answer = {partition: Position(6, "e1") for partition in partitions}
            if isinstance(backend, Memory):
                second_source = backend.source("none", group)
            async with started(second_source) as second:
                await backend.joined(first_source, second_source)
                await wait_until_async(lambda: len(second.delivered) == 4, "what is left of one partition")
                (moved,) = second.positions
                assert second.positions == {moved: Position(6, "e1")}
                assert ("revoked", frozenset({moved})) in first.calls
                (kept,) = partitions - {moved}
                backend.write(topic, b"y", partition=kept.partition)
                await wait_until_async(lambda: len(first.delivered) == 21, "the first goes on")
                assert backend.committed(topic, group) == {moved.partition: Position(6, "e1")}

    asyncio.run(main())


@pytest.mark.parametrize(("reset", "start"), [("earliest", 6), ("latest", 10)])
@pytest.mark.parametrize("offset", [2, 99])
def test_a_committed_offset_outside_the_log_follows_the_reset(
    backend: Backend, reset: str, start: int, offset: int
) -> None:
    """Below what retention has left, or beyond the end; what its metadata says of other records is void."""
    topic, group = backend.topic(), unique_name("g")
    partition = TopicPartition(topic, 0)
    backend.write(topic, *(b"x" for _ in range(10)))

    async def main() -> None:
        source = backend.source(topic, group)
        async with started(source) as heard:
            await wait_until_async(lambda: len(heard.delivered) == 10, "all records")
            await source.commit({partition: Position(offset, "e1bAB==")})
        backend.truncate(topic, 6)
        async with started(backend.source(topic, group, reset=reset)) as heard:
            await wait_until_async(lambda: heard.positions, "the assignment")
            assert heard.positions == {partition: Position(start)}
            backend.write(topic, b"new")
            await wait_until_async(lambda: 10 in heard.offsets(), "the new record")
            assert heard.offsets() == list(range(start, 11))

    asyncio.run(main())


def test_closed_is_closed(backend: Backend) -> None:
    """It may be closed twice, delivers nothing afterwards, and commits nothing."""
    topic, group = backend.topic(), unique_name("g")
    backend.write(topic, b"x")

    async def main() -> None:
        source = backend.source(topic, group)
        async with started(source) as heard:
            await wait_until_async(lambda: heard.delivered, "the record")
            await source.close()
            before = list(heard.calls)
            backend.write(topic, b"y")
            with pytest.raises(CommitFailed):
                await source.commit({TopicPartition(topic, 0): Position(1)})
            await asyncio.sleep(0.3)  # long enough for what must not happen
            assert heard.calls == before
        assert backend.committed(topic, group) == {}

    asyncio.run(main())


def test_a_source_that_never_started_can_be_closed(backend: Backend) -> None:
    """A stop may come before the start."""

    async def main() -> None:
        await backend.source(backend.topic(), unique_name("g")).close()

    asyncio.run(main())


@pytest.mark.parametrize("more", [{}, {"group.protocol": "consumer"}], ids=["classic", "consumer"])
def test_a_member_without_partitions_leaves(kafka: KafkaBroker, more: dict[str, Any]) -> None:
    """When it is closed, so that no rebalance waits until its session is over, which is 45 s."""
    backend, group = Kafka(kafka.bootstrap_servers), unique_name("g")
    topic = backend.topic()

    def members() -> int:
        return group_members(kafka.bootstrap_servers, group)

    async def main() -> None:
        async with started(backend.source(topic, group, **more)) as first:
            await wait_until_async(lambda: first.positions, "the only partition")
            async with started(backend.source(topic, group, **more)) as second:
                await wait_until_async(lambda: members() == 2, "two members")
                await wait_until_async(lambda: second.calls or more, "one has its assignment, which is empty")
            await wait_until_async(lambda: members() == 1, "the other one has left", 10)

    asyncio.run(main())


def test_a_blocked_event_loop_does_not_cost_the_membership(kafka: KafkaBroker) -> None:
    """The loop stands still for longer than ``max.poll.interval.ms``: no partition is lost, no record twice or never.

    The source gives the loop two batches ahead, then pauses everything and goes on polling.
    """
    backend = Kafka(kafka.bootstrap_servers)
    topic = backend.topic(3)
    for number in range(3):
        backend.write(topic, *(b"%d" % at for at in range(2_000)), partition=number)

    class Blocked(Heard):
        def records(self, batch: Collection[Record]) -> None:
            if not self.delivered:
                begun = time.monotonic()
                wait_until(lambda: time.monotonic() - begun > 5.0, "the loop stands still", 30)
            super().records(batch)

    async def main() -> None:
        often: dict[str, Any] = {
            "max.poll.interval.ms": 3_000,
            "session.timeout.ms": 3_000,
            "heartbeat.interval.ms": 300,
        }
        source = backend.source(topic, unique_name("g"), **often)
        heard = Blocked()
        await source.start(heard)
        try:
            await wait_until_async(lambda: len(heard.delivered) == 6_000, "all records", 60)
        finally:
            await source.close()
        assert [heard.offsets(number) for number in range(3)] == [list(range(2_000))] * 3
        assert [name for name, _ in heard.calls if name != "records"] == ["assigned", "revoked", "answered"]
        assert heard.errors == []

    asyncio.run(main())


def test_a_batch_comes_in_slices_and_before_the_revocation_that_follows_it(kafka: KafkaBroker) -> None:
    """However many records were read at once, others come on the loop in between, and the order is what it was.

    Of a batch whose first slice is there, the rest is held up until the consumer's thread is in its revocation.
    """
    backend = Kafka(kafka.bootstrap_servers)
    topic = backend.topic()
    backend.write(topic, *(b"x" for _ in range(2_000)))
    pulse = Pulse()
    source = KafkaSource(
        {"bootstrap.servers": kafka.bootstrap_servers, "group.id": unique_name("g"), "auto.offset.reset": "earliest"},
        [topic],
        pulse=pulse,
    )
    held_up = asyncio.Event()

    class Slices(Heard):
        def __init__(self) -> None:
            super().__init__()
            self.sizes: list[int] = []
            self.closing: asyncio.Task[None] | None = None

        def records(self, batch: Collection[Record]) -> None:
            super().records(batch)
            self.sizes.append(len(batch))
            if self.closing is None and len(batch) == SLICE:
                self.closing = asyncio.get_running_loop().create_task(source.close())
            elif self.closing is not None and not held_up.is_set():
                wait_until(lambda: pulse.rebalancing, "the thread in its revocation", 30)
                held_up.set()

    async def main() -> None:
        heard = Slices()
        await source.start(heard)
        await wait_until_async(lambda: heard.closing is not None and heard.closing.done(), "closed", 60)
        assert heard.errors == []
        assert max(heard.sizes) == SLICE
        assert len(heard.sizes) > 3
        assert [name for name, _ in heard.calls] == [
            "assigned",
            *(["records"] * len(heard.sizes)),
            "revoked",
            "answered",
        ]
        assert heard.offsets() == list(range(sum(heard.sizes)))

    asyncio.run(main())
