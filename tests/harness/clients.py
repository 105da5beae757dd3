"""Topics and records of a real Kafka, as tests write and read them: blocking, with deadlines, loud on any error."""

import itertools
import time
import uuid
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple, cast

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, Producer
from confluent_kafka import TopicPartition as KafkaPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from enricher.completed import decode_completed
from enricher.model import Headers, Position, Record
from tests.harness.patience import patiently

DEADLINE = 30.0

_names = itertools.count(1)


class Sent(NamedTuple):
    """A record to write. Without a partition the key decides (murmur2, as Java's client); timestamp in ms."""

    key: bytes | None
    value: bytes | None
    headers: Headers = []  # noqa: RUF012  the field's default, never changed
    timestamp: int | None = None
    partition: int | None = None


class Written(NamedTuple):
    """Where a record came to stand."""

    partition: int
    offset: int


def unique_name(prefix: str = "t") -> str:
    """A name for a topic or a group that no other test has."""
    return f"{prefix}-{next(_names)}-{uuid.uuid4().hex[:8]}"


def create_topic(
    bootstrap_servers: str, name: str, *, partitions: int = 1, config: Mapping[str, str] | None = None
) -> None:
    """Create a topic, and return when the broker serves all its partitions."""
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    topic = NewTopic(name, num_partitions=partitions, replication_factor=1, config=dict(config or {}))
    admin.create_topics([topic], operation_timeout=DEADLINE)[name].result(DEADLINE)
    deadline = time.monotonic() + DEADLINE
    while True:
        known = admin.list_topics(timeout=DEADLINE).topics.get(name)
        if known and len(known.partitions) == partitions and all(p.leader >= 0 for p in known.partitions.values()):
            return
        assert time.monotonic() < deadline, f"topic {name} has no leaders after {DEADLINE:g} s"


def add_partitions(bootstrap_servers: str, topic: str, total: int) -> None:
    """Grow a topic to ``total`` partitions."""
    from confluent_kafka.cimpl import NewPartitions

    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    admin.create_partitions([NewPartitions(topic, total)])[topic].result(DEADLINE)


def produce(bootstrap_servers: str, topic: str, records: Iterable[Sent], **properties: Any) -> list[Written]:
    """Write records in their order; return where each stands, in the same order.

    Args:
        bootstrap_servers: the broker's address.
        topic: an existing topic.
        records: what to write.
        properties: librdkafka properties, with ``_`` for ``.``.
    """
    producer = Producer(
        {
            "bootstrap.servers": bootstrap_servers,
            "enable.idempotence": True,
            "partitioner": "murmur2_random",
            "linger.ms": 5,
            "log_level": 0,  # what goes wrong is raised
            "message.max.bytes": 16_000_000,
            "queue.buffering.max.messages": 1_000_000,
        }
        | _properties(properties)
    )
    written: dict[int, Written] = {}

    def delivered(number: int, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            raise KafkaException(error)
        partition, offset = message.partition(), message.offset()
        assert partition is not None
        assert offset is not None
        written[number] = Written(partition, offset)

    for number, record in enumerate(records):
        extra: dict[str, Any] = {}
        if record.timestamp is not None:
            extra["timestamp"] = record.timestamp
        if record.partition is not None:
            extra["partition"] = record.partition
        producer.produce(
            topic,
            key=record.key,
            value=record.value,
            headers=list(record.headers),
            on_delivery=partial(delivered, number),
            **extra,
        )
        producer.poll(0)
    left = producer.flush(DEADLINE)
    assert left == 0, f"{left} records were not written to {topic} within {DEADLINE:g} s"
    return [written[number] for number in sorted(written)]


def read_topic(
    bootstrap_servers: str, topic: str, *, read_committed: bool = True, timeout: float = DEADLINE, **properties: Any
) -> list[Record]:
    """All records of a topic up to its end, in order within each partition.

    The end is the one met while reading: under ``read_committed`` that of the last finished transaction.
    """
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": unique_name("reader"),
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
            "isolation.level": "read_committed" if read_committed else "read_uncommitted",
            "fetch.wait.max.ms": 20,
            "fetch.message.max.bytes": 16_000_000,
            "fetch.max.bytes": 64_000_000,
        }
        | _properties(properties)
    )
    records: list[Record] = []
    try:
        partitions = consumer.list_topics(topic, timeout=timeout).topics[topic].partitions
        assert partitions, f"there is no topic {topic}"
        open_partitions = set(partitions)
        consumer.assign([KafkaPartition(topic, number, OFFSET_BEGINNING) for number in partitions])
        deadline = time.monotonic() + timeout
        while open_partitions:
            left = deadline - time.monotonic()
            assert left > 0, (
                f"the end of {topic} was not met in {timeout:g} s: {len(records)} records, {open_partitions}"
            )
            message = consumer.poll(left)
            if message is None:
                continue
            error = message.error()
            if error is None:
                records.append(_record(message))
            elif error.code() == KafkaError._PARTITION_EOF:
                partition = message.partition()
                assert partition is not None
                open_partitions.discard(partition)
            else:
                raise KafkaException(error)
    finally:
        consumer.close()
    return records


def committed(bootstrap_servers: str, group: str, topic: str) -> dict[int, Position]:
    """A group's committed positions in a topic, by partition; partitions without one are left out."""
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": group, "enable.auto.commit": False})
    try:
        numbers = consumer.list_topics(topic, timeout=DEADLINE).topics[topic].partitions
        asked = [KafkaPartition(topic, number) for number in numbers]
        answer = patiently(lambda: consumer.committed(asked, timeout=DEADLINE))
    finally:
        consumer.close()
    return {p.partition: Position(p.offset, p.metadata or "") for p in answer if p.offset >= 0}


def resolved(bootstrap_servers: str, group: str, topic: str) -> set[Written]:
    """The places that a group of workers has committed as resolved: below the offset, or beyond it as complete."""
    return {
        Written(partition, offset)
        for partition, at in committed(bootstrap_servers, group, topic).items()
        for part in ((0, at.offset), *(decode_completed(at.offset, at.metadata) or ()))
        for offset in range(*part)
    }


def commit(bootstrap_servers: str, group: str, topic: str, offsets: Mapping[int, int]) -> None:
    """Commit offsets for a group that has no members."""
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": group, "enable.auto.commit": False})
    try:
        wanted = [KafkaPartition(topic, partition, offset) for partition, offset in offsets.items()]
        for answer in consumer.commit(offsets=wanted, asynchronous=False) or ():
            assert answer.error is None, answer
    finally:
        consumer.close()


def end_offsets(bootstrap_servers: str, topic: str) -> dict[int, int]:
    """The offset that the next record of each partition will get."""
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": unique_name("ends")})
    try:
        numbers = consumer.list_topics(topic, timeout=DEADLINE).topics[topic].partitions
        ends: dict[int, int] = {}
        for number in numbers:
            answer = consumer.get_watermark_offsets(KafkaPartition(topic, number), timeout=DEADLINE)
            assert answer is not None, f"no watermarks of {topic} {number}"
            ends[number] = answer[1]
        return ends
    finally:
        consumer.close()


def lag(bootstrap_servers: str, group: str, topic: str) -> int:
    """Records of a topic that a group has not committed yet; what is not committed at all counts in full."""
    positions = committed(bootstrap_servers, group, topic)
    ends = end_offsets(bootstrap_servers, topic)
    return sum(end - (positions[number].offset if number in positions else 0) for number, end in ends.items())


def group_members(bootstrap_servers: str, group: str) -> int:
    """How many members a group has."""
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    description = admin.describe_consumer_groups([group], request_timeout=DEADLINE)[group].result(DEADLINE)
    return len(description.members)


def _properties(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name.replace("_", "."): value for name, value in given.items()}


def _record(message: Message) -> Record:
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    assert topic is not None
    assert partition is not None
    assert offset is not None
    _, timestamp = message.timestamp()
    headers = cast("Headers", message.headers() or [])  # typed as what may be given; a list of pairs comes back
    return Record(topic, partition, offset, timestamp, _bytes(message.key()), _bytes(message.value()), headers)


def _bytes(value: bytes | str | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value
