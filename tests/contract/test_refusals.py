"""Transactions on Apache Kafka of which one request is refused, or its answer lost: all of it is written once, or none.

The codes are those that librdkafka and the broker give: it may be asked again, the transaction is to be aborted, the
producer is of no use any more.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from enricher.model import Position, TopicPartition
from enricher.protocols import Source, TransactionAborted, Transactions
from enricher.transactions import KafkaTransactions
from tests.contract.backends import Heard, Kafka, outgoing
from tests.harness.broker import KafkaBroker
from tests.harness.clients import unique_name
from tests.harness.refusing import LOST, Refusing, Request
from tests.harness.waiting import wait_until_async

pytestmark = pytest.mark.kafka

NOT_LOADED, ILLEGAL_GENERATION, UNKNOWN_MEMBER, REBALANCING, OLD_EPOCH, CONCURRENT, FENCED_INSTANCE, FENCED = (
    14, 22, 25, 27, 47, 51, 82, 90,
)  # fmt: skip
OF_MEMBERS = (ILLEGAL_GENERATION, UNKNOWN_MEMBER, REBALANCING, FENCED_INSTANCE)


class Stage:
    """A member of a group with a partition of ten records, and a topic for outputs."""

    def __init__(self, kafka: KafkaBroker) -> None:
        self.backend = Kafka(kafka.bootstrap_servers)
        self.refusing = Refusing(kafka.detour)
        self.input, self.output, self.group = self.backend.topic(), self.backend.topic(), unique_name("g")
        self.backend.write(self.input, *(b"x" for _ in range(10)))
        self.source: Source = self.backend.source(self.input, self.group)

    @asynccontextmanager
    async def started(self) -> AsyncIterator[Transactions]:
        """Transactions whose producer goes through the proxy."""
        transactions = KafkaTransactions(
            {"bootstrap.servers": self.refusing.address, "log_level": 0}, [self.output], self.group
        )
        async with self.refusing:
            await transactions.start()
            await self.source.start(Heard())
            try:
                await wait_until_async(self.source.group, "the group's metadata")
                await self.commit(transactions, b"first", 1)
                yield transactions
            finally:
                await self.source.close()
                await transactions.close()

    async def commit(self, transactions: Transactions, value: bytes, offset: int) -> None:
        """One output, and a position."""
        at = {TopicPartition(self.input, 0): Position(offset)}
        async with asyncio.timeout(60):
            await transactions.commit([outgoing(self.output, value, b"k")], at, self.source.group())

    def written(self) -> list[bytes | None]:
        """What a reader with ``read_committed`` sees."""
        return [record.value for record in self.backend.read(self.output)]


@pytest.mark.parametrize(
    ("request_", "code", "times"),
    [
        (Request.ADD_OFFSETS, NOT_LOADED, 2),
        (Request.ADD_OFFSETS, CONCURRENT, 3),
        (Request.COMMIT_OFFSETS, NOT_LOADED, 2),
        (Request.END, NOT_LOADED, 2),
        (Request.END, CONCURRENT, 3),
        (Request.ADD_OFFSETS, LOST, 1),
        (Request.COMMIT_OFFSETS, LOST, 1),
        (Request.END, LOST, 1),
    ],
)
def test_what_may_be_asked_again_is(kafka: KafkaBroker, request_: Request, code: int, times: int) -> None:
    """The transaction is committed, once, though the broker may have done already what it did not answer."""
    stage = Stage(kafka)

    async def main() -> None:
        async with stage.started() as transactions:
            stage.refusing.refuse(request_, code, times, topic=stage.input)
            await stage.commit(transactions, b"second", 2)
            assert not stage.refusing.pending
            await stage.commit(transactions, b"third", 3)

    asyncio.run(main())
    assert stage.written() == [b"first", b"second", b"third"]
    assert stage.backend.committed(stage.input, stage.group) == {0: Position(3)}


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        *((Request.COMMIT_OFFSETS, code) for code in OF_MEMBERS),
        *((request, code) for request in Request for code in (OLD_EPOCH, FENCED)),
    ],
)
def test_what_is_refused_for_good_aborts(kafka: KafkaBroker, request_: Request, code: int) -> None:
    """Nothing of the transaction counts; the next one is written, by another producer where this one is of no use."""
    stage = Stage(kafka)

    async def main() -> None:
        async with stage.started() as transactions:
            stage.refusing.refuse(request_, code, topic=stage.input)
            with pytest.raises(TransactionAborted):
                await stage.commit(transactions, b"second", 2)
            assert not stage.refusing.pending
            await stage.commit(transactions, b"third", 3)
            # One that was given up is aborted by its timeout (10 s), and readers wait for that.
            await wait_until_async(lambda: len(stage.written()) > 1, "what was written", 60)

    asyncio.run(main())
    assert stage.written() == [b"first", b"third"]
    assert stage.backend.committed(stage.input, stage.group) == {0: Position(3)}
