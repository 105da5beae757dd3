"""The two worlds that the contract of sources and sinks is held against: in memory, and Apache Kafka.

Each gives the same few means: topics and records, sources and sinks, what a group has committed.
"""

import asyncio
from collections.abc import Collection, Mapping
from typing import Any, Protocol

from confluent_kafka import TopicPartition as KafkaPartition
from confluent_kafka.admin import AdminClient

from enricher.model import Headers, Outgoing, Position, Record, TopicPartition
from enricher.protocols import EndTellingSource, Sink, Source, Transactions
from enricher.pulse import Pulse
from enricher.sink import KafkaSink
from enricher.source import KafkaSource
from enricher.testing.memory import MemoryBroker, MemorySink, MemorySource, MemoryTransactions
from enricher.transactions import KafkaTransactions
from tests.harness.clients import Sent, committed, create_topic, produce, read_topic, unique_name


class Backend(Protocol):
    """What the contract tests need of a world."""

    def topic(self, partitions: int = 1, **config: str) -> str:
        """A new topic."""
        ...

    def write(
        self,
        topic: str,
        *values: bytes | None,
        key: bytes | None = None,
        partition: int = 0,
        headers: Headers | None = None,
        timestamp: int = 1,
    ) -> None:
        """Write records to a partition; timestamp in ms."""
        ...

    def read(self, topic: str) -> list[Record]:
        """All records of a topic."""
        ...

    def truncate(self, topic: str, start: int) -> None:
        """Delete the records of partition 0 below an offset."""
        ...

    def source(
        self, topic: str, group: str, *, reset: str = "earliest", revoke_deadline: float = 10.0
    ) -> EndTellingSource:
        """A source that reads the topic for the group, not started."""
        ...

    async def joined(self, first: Source, second: Source) -> None:
        """The second source has started in the group of the first: the group shares the partitions between them."""
        ...

    def committed(self, topic: str, group: str) -> Mapping[int, Position]:
        """Where the group stands."""
        ...

    def sink(self, topic: str, *, capacity: int = 10_000, max_bytes: int = 8 << 20) -> Sink:
        """A sink for the topic, not started."""
        ...

    def transactions(self, topic: str, group: str, *, max_bytes: int = 8 << 20) -> Transactions:
        """Transactions that write to the topic and commit for the group, not started."""
        ...


class Memory:
    """In memory."""

    def __init__(self) -> None:
        self._broker = MemoryBroker({})

    def topic(self, partitions: int = 1, **_config: str) -> str:
        """See `Backend`."""
        name = unique_name()
        self._broker.create(name, partitions)
        return name

    def write(
        self,
        topic: str,
        *values: bytes | None,
        key: bytes | None = None,
        partition: int = 0,
        headers: Headers | None = None,
        timestamp: int = 1,
    ) -> None:
        """See `Backend`."""
        for value in values:
            self._broker.append(topic, value, key=key, partition=partition, headers=headers, timestamp=timestamp)

    def read(self, topic: str) -> list[Record]:
        """See `Backend`."""
        return self._broker.records(topic)

    def truncate(self, topic: str, start: int) -> None:
        """See `Backend`."""
        self._broker.truncate(TopicPartition(topic, 0), start)

    def source(
        self, topic: str, group: str, *, reset: str = "earliest", revoke_deadline: float = 10.0
    ) -> EndTellingSource:
        """See `Backend`."""
        partitions = self._broker.partitions([topic])
        return MemorySource(
            self._broker, group, initially=partitions, reset=reset, batch=10, overshoot=10, latency=0.001,
            revoke_deadline=revoke_deadline,
        )  # fmt: skip

    async def joined(self, first: Source, second: Source) -> None:
        """See `Backend`."""
        assert isinstance(first, MemorySource)
        assert isinstance(second, MemorySource)
        for number, partition in enumerate(sorted(first.assigned)):
            if number % 2:
                await first.revoke([partition])
                second.assign([partition])

    def committed(self, topic: str, group: str) -> Mapping[int, Position]:
        """See `Backend`."""
        return {p.partition: at for p, at in self._broker.committed(group).items() if p.topic == topic}

    def sink(self, topic: str, *, capacity: int = 10_000, max_bytes: int = 8 << 20) -> Sink:  # noqa: ARG002  it writes wherever there is a topic
        """See `Backend`."""
        return MemorySink(self._broker, latency=0.001, capacity=capacity, max_bytes=max_bytes)

    def transactions(self, topic: str, group: str, *, max_bytes: int = 8 << 20) -> Transactions:  # noqa: ARG002  likewise
        """See `Backend`."""
        return MemoryTransactions(self._broker, group, latency=0.01, late=0.01, max_bytes=max_bytes)


class Kafka:
    """Apache Kafka."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._servers = bootstrap_servers

    def topic(self, partitions: int = 1, **config: str) -> str:
        """See `Backend`."""
        name = unique_name()
        settings = {key.replace("_", "."): value for key, value in config.items()}
        create_topic(self._servers, name, partitions=partitions, config=settings)
        return name

    def write(
        self,
        topic: str,
        *values: bytes | None,
        key: bytes | None = None,
        partition: int = 0,
        headers: Headers | None = None,
        timestamp: int = 1,
    ) -> None:
        """See `Backend`."""
        produce(self._servers, topic, [Sent(key, value, headers or [], timestamp, partition) for value in values])

    def read(self, topic: str) -> list[Record]:
        """See `Backend`."""
        return read_topic(self._servers, topic)

    def truncate(self, topic: str, start: int) -> None:
        """See `Backend`."""
        admin = AdminClient({"bootstrap.servers": self._servers})
        for future in admin.delete_records([KafkaPartition(topic, 0, start)]).values():
            future.result(30)

    def source(
        self,
        topic: str,
        group: str,
        *,
        reset: str = "earliest",
        revoke_deadline: float = 10.0,
        pulse: Pulse | None = None,
        **more: Any,
    ) -> EndTellingSource:
        """See `Backend`; ``pulse`` is told what it does, ``more`` are librdkafka properties."""
        properties: dict[str, Any] = {
            "bootstrap.servers": self._servers, "group.id": group, "auto.offset.reset": reset, "log_level": 0,
            **more,
        }  # fmt: skip
        return KafkaSource(properties, [topic], revoke_deadline=revoke_deadline, pulse=pulse)

    async def joined(self, first: Source, second: Source) -> None:
        """See `Backend`: the group's coordinator sees to it."""

    def committed(self, topic: str, group: str) -> Mapping[int, Position]:
        """See `Backend`."""
        return committed(self._servers, group, topic)

    def sink(self, topic: str, *, capacity: int = 10_000, max_bytes: int = 8 << 20) -> Sink:
        """See `Backend`."""
        properties: dict[str, Any] = {
            "bootstrap.servers": self._servers, "queue.buffering.max.messages": capacity, "log_level": 0,
            "message.max.bytes": max_bytes,
        }  # fmt: skip
        return KafkaSink(properties, [topic])

    def transactions(self, topic: str, group: str, *, max_bytes: int = 8 << 20) -> Transactions:
        """See `Backend`."""
        properties: dict[str, Any] = {
            "bootstrap.servers": self._servers, "log_level": 0, "message.max.bytes": max_bytes,
            "queue.buffering.max.messages": 1_000,  # fewer than some transactions have
        }  # fmt: skip
        return KafkaTransactions(properties, [topic], group)


class Heard:
    """A listener that writes down what it hears; ``answer`` says what a revocation is answered with.

    Attributes:
        calls: the names of the calls, with the partitions that they named, in their order.
        positions: where each assigned partition began.
        batches: records, in the order of their delivery.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[str, frozenset[TopicPartition]]] = []
        self.positions: dict[TopicPartition, Position] = {}
        self.delivered: list[Record] = []
        self.answer: dict[TopicPartition, Position] = {}
        self.hesitate = 0.0
        self.errors: list[Exception] = []

    def assigned(self, partitions: Mapping[TopicPartition, Position]) -> None:
        """See ``enricher.protocols.Listener``."""
        self.calls.append(("assigned", frozenset(partitions)))
        self.positions.update(partitions)

    def records(self, batch: Collection[Record]) -> None:
        """See ``enricher.protocols.Listener``."""
        self.calls.append(("records", frozenset(record.source for record in batch)))
        self.delivered += batch

    async def revoked(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, Position]:
        """See ``enricher.protocols.Listener``."""
        self.calls.append(("revoked", frozenset(partitions)))
        await asyncio.sleep(self.hesitate)
        self.calls.append(("answered", frozenset(partitions)))
        return {partition: self.answer[partition] for partition in partitions if partition in self.answer}

    def lost(self, partitions: Collection[TopicPartition]) -> None:
        """See ``enricher.protocols.Listener``."""
        self.calls.append(("lost", frozenset(partitions)))

    def failed(self, error: Exception) -> None:
        """See ``enricher.protocols.Listener``."""
        self.errors.append(error)

    def offsets(self, partition: int = 0) -> list[int]:
        """Offsets delivered of a partition, in their order."""
        return [record.offset for record in self.delivered if record.partition == partition]


def outgoing(topic: str, value: bytes | None, key: bytes | None = None) -> Outgoing:
    """A record to write."""
    return Outgoing(topic, key, value, [], 1)
