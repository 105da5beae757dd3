"""Reads topics for people and audits: without a group, without committing anything, up to a fixed end or following.

Invariants: the end is fixed when reading begins, so that it is reached while the topic grows; memory does not depend on
the length of the topic. Gaps in offsets (compaction, transaction markers) are no special case.
"""

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar
from uuid import uuid4

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaError, KafkaException
from confluent_kafka import TopicPartition as KafkaPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource

from enricher.kafka import to_record
from enricher.model import Record

TIMEOUT = 10.0
BATCH = 500
PATIENCE = 30.0
"""Seconds for a broker to come to know what it leads and coordinates: it answers before it does."""

_TEMPORARY = {
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError._WAIT_COORD,  # noqa: SLF001  a constant, named so by the library
}

T = TypeVar("T")


def ask_patiently(ask: Callable[[], T]) -> T:
    """What a broker answers; asks again while it says that it is not ready.

    Raises:
        KafkaException: it says something else, or still that after ``PATIENCE`` seconds.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return ask()
        except KafkaException as error:
            if error.args[0].code() not in _TEMPORARY or time.monotonic() > deadline:
                raise
        time.sleep(0.2)


class Bounds(NamedTuple):
    """The log of one partition: its first offset, and one past its last."""

    low: int
    high: int


class TopicMissing(Exception):  # noqa: N818  says what is wrong
    """There is no such topic."""


class TopicReader:
    """Reads one topic. Use it in a ``with``.

    Args:
        properties: librdkafka's, with ``bootstrap.servers``.
        topic: which.

    Raises:
        TopicMissing: there is no such topic.
        KafkaException: the brokers do not answer.
    """

    def __init__(self, properties: Mapping[str, Any], topic: str) -> None:
        self.topic = topic
        self._consumer = Consumer(
            {
                **properties,
                "group.id": f"enricher-reader-{uuid4().hex}",
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
                "queued.min.messages": 2_000,  # of each partition: small records cost librdkafka half a kB each
                "queued.max.messages.kbytes": 16_384,
                "log_level": 2,  # what goes wrong is raised; librdkafka would write a line for each try to connect
            }
        )
        found = self._consumer.list_topics(topic, TIMEOUT).topics[topic]
        if found.error is not None or not found.partitions:
            self._consumer.close()
            raise TopicMissing(f"there is no topic {topic}")
        self.partitions = sorted(found.partitions)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release everything."""
        self._consumer.close()

    def bounds(self) -> dict[int, Bounds]:
        """Where each partition's log begins and ends now; the end is that of the last finished transaction."""
        lows, highs = self._offsets(OFFSET_BEGINNING), self._offsets(OFFSET_END)
        return {partition: Bounds(lows[partition], highs[partition]) for partition in self.partitions}

    def first_since(self, milliseconds: int) -> dict[int, int]:
        """The first offset of each partition whose record is not older than a time; else its end."""
        found, ends = self._offsets(milliseconds), self._offsets(OFFSET_END)
        return {partition: ends[partition] if offset < 0 else offset for partition, offset in found.items()}

    def _offsets(self, at: int) -> dict[int, int]:
        """The offsets at a time, or at one end of the log: the broker tells them apart by the sign."""
        return ask_patiently(lambda: self._ask_offsets(at))

    def _ask_offsets(self, at: int) -> dict[int, int]:
        asked = [KafkaPartition(self.topic, partition, at) for partition in self.partitions]
        offsets = {}
        for answer in self._consumer.offsets_for_times(asked, timeout=TIMEOUT):
            if answer.error is not None:
                raise KafkaException(answer.error)
            offsets[answer.partition] = answer.offset
        return offsets

    def read(self, starts: Mapping[int, int], ends: Mapping[int, int] | None) -> Iterator[Record | None]:
        """The records from ``starts`` up to, and without, ``ends``; without ends it goes on for ever.

        Yields None now and then while nothing comes, so that the caller can look at something else.
        """
        open_partitions = {p for p, start in starts.items() if ends is None or start < ends[p]}
        self._consumer.assign([KafkaPartition(self.topic, p, starts[p]) for p in sorted(open_partitions)])
        while open_partitions:
            messages = self._consumer.consume(BATCH, 0.2)
            if not messages:
                yield None
            for message in messages:
                error = message.error()
                partition, offset = message.partition() or 0, message.offset() or 0
                if partition not in open_partitions:
                    continue
                if error is not None:
                    if error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001  a constant, named so by the library
                        raise KafkaException(error)
                    if ends is not None and offset >= ends[partition]:
                        open_partitions.discard(partition)
                    continue
                if ends is None or offset < ends[partition]:
                    yield to_record(message)
                if ends is not None and offset >= ends[partition] - 1:
                    open_partitions.discard(partition)


def read_all(properties: Mapping[str, Any], topic: str) -> Iterator[Record]:
    """Every record that the topic holds now."""
    with TopicReader(properties, topic) as reader:
        bounds = reader.bounds()
        starts = {partition: at.low for partition, at in bounds.items()}
        for record in reader.read(starts, {partition: at.high for partition, at in bounds.items()}):
            if record is not None:
                yield record


def topic_settings(properties: Mapping[str, Any], topics: Collection[str]) -> dict[str, dict[str, str]]:
    """The settings of topics, as far as this client may know; blocks."""
    admin = AdminClient({**properties, "log_level": 2})
    known: dict[str, dict[str, str]] = {}
    try:
        cluster = admin.list_topics(timeout=TIMEOUT)
        if cluster.controller_id not in cluster.brokers:
            return {}  # an embedded broker: librdkafka would wait for a controller to ask
        resources = [ConfigResource(ConfigResource.Type.TOPIC, topic) for topic in topics]
        for resource, answer in admin.describe_configs(resources, request_timeout=TIMEOUT).items():
            known[resource.name] = {name: str(entry.value) for name, entry in answer.result(2 * TIMEOUT).items()}
    except (KafkaException, TimeoutError):
        return known  # not ours to know: nothing is taken for granted then
    return known
