"""What transactions owe the delivery, held against the in-memory ones and Apache Kafka."""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import pytest

from enricher.model import Headers, Outgoing, Position, Record, TopicPartition
from enricher.protocols import ProduceFailed, Source, TransactionAborted, Transactions
from tests.contract.backends import Backend, Heard, Kafka, Memory, outgoing
from tests.harness.broker import KafkaBroker
from tests.harness.clients import unique_name
from tests.harness.waiting import wait_until_async


@pytest.fixture(params=["memory", pytest.param("kafka", marks=pytest.mark.kafka)])
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each test runs in memory, and on Apache Kafka."""
    if request.param == "memory":
        return Memory()
    return Kafka(request.getfixturevalue("kafka").bootstrap_servers)


class Stage:
    """An input topic with a member of a group that has its partitions, and an output topic."""

    def __init__(self, backend: Backend, *, partitions: int = 1, limit: int = 1_048_588) -> None:
        self.backend = backend
        self.input, self.output = backend.topic(partitions), backend.topic(max_message_bytes=str(limit))
        self.group = unique_name("g")
        self.p0 = TopicPartition(self.input, 0)
        self.source = backend.source(self.input, self.group)
        self.heard = Heard()
        backend.write(self.input, *(b"%d" % number for number in range(10)))

    @asynccontextmanager
    async def started(self, *, max_bytes: int = 8 << 20) -> AsyncIterator[Transactions]:
        """The member has read the input, and the transactions are started; both are closed afterwards."""
        transactions = self.backend.transactions(self.output, self.group, max_bytes=max_bytes)
        await transactions.start()
        await self.source.start(self.heard)
        try:
            await wait_until_async(lambda: len(self.heard.delivered) == 10, "the input is read")
            yield transactions
        finally:
            await self.source.close()
            await transactions.close()

    def at(self, offset: int, metadata: str = "") -> dict[TopicPartition, Position]:
        """A position in the input's first partition."""
        return {self.p0: Position(offset, metadata)}

    def values(self) -> list[bytes | None]:
        """What a reader with ``read_committed`` sees of the output."""
        return [record.value for record in self.backend.read(self.output)]

    def outgoing(self, *values: bytes) -> list[Outgoing]:
        """Records for the output."""
        return [outgoing(self.output, value, b"k") for value in values]


async def commit(
    transactions: Transactions,
    records: Sequence[Outgoing],
    positions: Mapping[TopicPartition, Position],
    source: Source,
) -> None:
    """Commit, and again while it is aborted: the group may just have moved on."""
    async with asyncio.timeout(30):
        while True:
            try:
                await transactions.commit(records, positions, source.group())
            except TransactionAborted as aborted:
                if aborted.too_large:
                    raise
                await asyncio.sleep(0.05)
            else:
                return


def test_records_and_positions_are_written_together(backend: Backend) -> None:
    """Records appear as they were handed over, positions with their metadata; transaction follows transaction."""
    stage = Stage(backend)
    headers: Headers = [("a", b"1"), ("a", b"\xff\x00"), ("b", None), ("c", b"")]

    async def main() -> None:
        async with stage.started() as transactions:
            first = Outgoing(stage.output, b"\xff", b"v", headers, 1_700_000_000_123)
            await commit(transactions, [first, outgoing(stage.output, None, b"k")], stage.at(3, "map"), stage.source)
            assert backend.read(stage.output) == [
                Record(stage.output, 0, 0, 1_700_000_000_123, b"\xff", b"v", headers),
                Record(stage.output, 0, 1, 1, b"k", None, []),
            ]
            assert backend.committed(stage.input, stage.group) == {0: Position(3, "map")}
            await commit(transactions, stage.outgoing(b"w"), stage.at(4), stage.source)
            assert stage.values() == [b"v", None, b"w"]
            assert backend.committed(stage.input, stage.group) == {0: Position(4)}

    asyncio.run(main())


def test_positions_alone_and_records_alone(backend: Backend) -> None:
    """A transaction needs not have both."""
    stage = Stage(backend)

    async def main() -> None:
        async with stage.started() as transactions:
            await commit(transactions, [], stage.at(2), stage.source)
            assert backend.committed(stage.input, stage.group) == {0: Position(2)}
            await commit(transactions, stage.outgoing(b"v"), {}, stage.source)
            assert stage.values() == [b"v"]

    asyncio.run(main())


def test_a_member_that_left_writes_nothing(backend: Backend) -> None:
    """What is shown is of a member that is none any more: neither the records count nor the positions."""
    stage = Stage(backend)

    async def main() -> None:
        async with stage.started() as transactions:
            await commit(transactions, stage.outgoing(b"v"), stage.at(1), stage.source)
            gone = stage.source.group()
            await stage.source.close()
            for _ in range(2):  # the producer is none the worse for it
                with pytest.raises(TransactionAborted) as aborted:
                    await transactions.commit(stage.outgoing(b"w"), stage.at(2), gone)
                assert not aborted.value.too_large
            assert stage.values() == [b"v"]
            assert backend.committed(stage.input, stage.group) == {0: Position(1)}

    asyncio.run(main())


def test_positions_without_a_member_are_not_written(backend: Backend) -> None:
    """As long as the group has not told whose they are, it is as if the transaction were refused."""
    stage = Stage(backend)

    async def main() -> None:
        async with stage.started() as transactions:
            with pytest.raises(TransactionAborted):
                await transactions.commit(stage.outgoing(b"v"), stage.at(1), None)
            await commit(transactions, stage.outgoing(b"w"), stage.at(1), stage.source)
            assert stage.values() == [b"w"]

    asyncio.run(main())


def test_a_member_of_an_earlier_generation_writes_nothing(backend: Backend) -> None:
    """Another member has joined since: the transaction is refused, and made again with what is shown now."""
    stage = Stage(backend, partitions=2)
    second = backend.source(stage.input, stage.group)
    heard = Heard()

    async def main() -> None:
        async with stage.started() as transactions:
            await commit(transactions, stage.outgoing(b"v"), stage.at(1), stage.source)
            before = stage.source.group()
            await second.start(heard)
            await backend.joined(stage.source, second)
            await wait_until_async(lambda: bool(heard.positions), "the second has a partition")
            with pytest.raises(TransactionAborted):
                await transactions.commit(stage.outgoing(b"w"), stage.at(2), before)
            owner = second if stage.p0 in heard.positions else stage.source
            await commit(transactions, stage.outgoing(b"x"), stage.at(2), owner)
            await second.close()
        assert stage.values() == [b"v", b"x"]
        assert backend.committed(stage.input, stage.group) == {0: Position(2)}

    asyncio.run(main())


@pytest.mark.parametrize("where", ["client", "broker"])
def test_what_is_too_large_is_named(backend: Backend, where: str) -> None:
    """The transaction is aborted; without the records that it names, the same may be written."""
    stage = Stage(backend, limit=20_000)
    sizes = [10, 30_000, 10, 10]
    limit = 20_000 if where == "client" or isinstance(backend, Memory) else 8 << 20

    async def main() -> None:
        async with stage.started(max_bytes=limit) as transactions:
            await commit(transactions, [], stage.at(1), stage.source)
            records = stage.outgoing(*(random.Random(size).randbytes(size) for size in sizes))  # does not compress
            with pytest.raises(TransactionAborted) as aborted:
                await transactions.commit(records, stage.at(4), stage.source.group())
            assert list(aborted.value.too_large) == [1]
            assert stage.values() == []
            await commit(transactions, [records[0], *records[2:]], stage.at(4), stage.source)
            assert [len(value or b"") for value in stage.values()] == [10, 10, 10]
            assert backend.committed(stage.input, stage.group) == {0: Position(4)}

    asyncio.run(main())


def test_a_transaction_larger_than_the_producer_s_queue(backend: Backend) -> None:
    """Many large records are written, in their order, though they do not fit into the queue at once."""
    stage = Stage(backend)
    values = [b"%06d" % number + random.Random(number).randbytes(3_000) for number in range(3_000)]

    async def main() -> None:
        async with stage.started() as transactions:
            await commit(transactions, stage.outgoing(*values), stage.at(10), stage.source)

    asyncio.run(main())
    assert stage.values() == values


def test_a_cancelled_call_goes_on(backend: Backend) -> None:
    """Who asked has gone; the transaction is written all the same, wholly."""
    stage = Stage(backend)

    async def main() -> None:
        async with stage.started() as transactions:
            await commit(transactions, [], stage.at(1), stage.source)
            call = asyncio.create_task(transactions.commit(stage.outgoing(b"v"), stage.at(2), stage.source.group()))
            await asyncio.sleep(0)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            await wait_until_async(lambda: stage.values() == [b"v"], "it is written")
            assert backend.committed(stage.input, stage.group) == {0: Position(2)}

    asyncio.run(main())


def test_closed_is_closed(backend: Backend) -> None:
    """It may be closed twice, and takes nothing afterwards."""
    stage = Stage(backend)

    async def main() -> None:
        async with stage.started() as transactions:
            await transactions.close()
            with pytest.raises(ProduceFailed):
                await transactions.commit(stage.outgoing(b"v"), {}, stage.source.group())

    asyncio.run(main())
    assert stage.values() == []


def test_a_close_in_the_middle_of_a_call(backend: Backend) -> None:
    """The call ends, soon, and tells what came of it: all is written, or nothing."""
    stage = Stage(backend)
    values = [random.Random(number).randbytes(1_000) for number in range(2_000)]

    async def main() -> None:
        async with stage.started() as transactions:
            await commit(transactions, [], stage.at(1), stage.source)
            call = asyncio.create_task(transactions.commit(stage.outgoing(*values), stage.at(2), stage.source.group()))
            await asyncio.sleep(0.005)  # somewhere in the middle; wherever it is, the same holds
            await transactions.close()
            async with asyncio.timeout(20):
                [outcome] = await asyncio.gather(call, return_exceptions=True)
        written = outcome is None
        assert written or isinstance(outcome, ProduceFailed | TransactionAborted)
        # What was begun is aborted by its timeout (10 s); until then readers wait before it.
        await wait_until_async(lambda: stage.values() == (values if written else []), "all or nothing")
        assert backend.committed(stage.input, stage.group) == {0: Position(2 if written else 1)}

    asyncio.run(main())


def test_transactions_that_never_started_can_be_closed(backend: Backend) -> None:
    """A stop may come before the start."""

    async def main() -> None:
        await backend.transactions(backend.topic(), unique_name("g")).close()

    asyncio.run(main())


def test_a_topic_that_is_missing_is_told_at_the_start(kafka: KafkaBroker) -> None:
    """The error names it, and says what to do."""

    async def main() -> None:
        name = unique_name("missing")
        transactions = Kafka(kafka.bootstrap_servers).transactions(name, unique_name("g"))
        with pytest.raises(ProduceFailed, match=f"{name}.*create it first"):
            await transactions.start()
        await transactions.close()

    asyncio.run(main())
