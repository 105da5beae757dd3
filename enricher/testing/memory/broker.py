"""Kafka as far as the worker sees it, inside the process: logs of partitions, and what each group has committed.

Invariants: offsets of a partition only grow; a log keeps what was appended until it is truncated; every commit that is
taken is shown to ``on_commit`` before it counts, so that a test can judge it at that moment. Neither thread nor task.
"""

import zlib
from bisect import bisect_left
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from operator import attrgetter

from enricher.model import Headers, Position, Record, TopicPartition

CommitHook = Callable[[str, Mapping[TopicPartition, Position]], None]


@dataclass(slots=True)
class Log:
    """One partition's records, from ``start`` up to, and without, ``end``."""

    records: list[Record] = field(default_factory=list)
    start: int = 0
    end: int = 0


class MemoryBroker:
    """Topics with their partitions, and groups with their positions.

    Args:
        topics: partitions of each topic; more come with ``create``.
        on_commit: called with the group and the positions of each commit, before it is taken.
    """

    def __init__(self, topics: Mapping[str, int], *, on_commit: CommitHook | None = None) -> None:
        self.on_commit = on_commit
        self._logs: dict[TopicPartition, Log] = {}
        self._committed: dict[str, dict[TopicPartition, Position]] = {}
        self._readers: list[Callable[[], None]] = []
        for topic, count in topics.items():
            self.create(topic, count)

    def create(self, topic: str, partitions: int) -> None:
        """Make a topic."""
        self._logs.update({TopicPartition(topic, number): Log() for number in range(partitions)})

    def partitions(self, topics: Collection[str]) -> list[TopicPartition]:
        """The partitions of these topics, in order."""
        return sorted(partition for partition in self._logs if partition.topic in topics)

    def append(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        partition: int | None = None,
        headers: Headers | None = None,
        timestamp: int = -1,
        gap: int = 0,
    ) -> Record:
        """Write a record; returns it as readers will see it.

        Args:
            topic: an existing topic.
            value: the record's value.
            key: decides the partition where none is given.
            partition: a partition of the topic.
            headers: the record's headers.
            timestamp: ms; -1 for none.
            gap: offsets to leave out before it, as compaction and transaction markers do.

        Raises:
            KeyError: the topic or partition does not exist.
        """
        if partition is None:
            partition = zlib.crc32(key or b"") % max(1, len(self.partitions([topic])))
        log = self._logs[TopicPartition(topic, partition)]
        record = Record(topic, partition, log.end + gap, timestamp, key, value, headers or [])
        log.records.append(record)
        log.end = record.offset + 1
        for wake in self._readers:
            wake()
        return record

    def truncate(self, partition: TopicPartition, start: int) -> None:
        """Delete the records below an offset, as retention does."""
        log = self._logs[partition]
        log.start = start
        log.end = max(log.end, start)
        log.records = [record for record in log.records if record.offset >= start]

    def records(self, topic: str) -> list[Record]:
        """All records of a topic, partition by partition."""
        return [record for partition in self.partitions([topic]) for record in self._logs[partition].records]

    def read(self, partition: TopicPartition, offset: int, count: int) -> list[Record]:
        """At most ``count`` records from an offset on."""
        records = self._logs[partition].records
        first = bisect_left(records, offset, key=attrgetter("offset"))
        return records[first : first + count]

    def watermarks(self, partition: TopicPartition) -> tuple[int, int]:
        """The first offset of the log, and the one that the next record gets."""
        log = self._logs[partition]
        return log.start, log.end

    def commit(self, group: str, positions: Mapping[TopicPartition, Position]) -> None:
        """Take a group's positions."""
        if self.on_commit is not None:
            self.on_commit(group, positions)
        self._committed.setdefault(group, {}).update(positions)

    def committed(self, group: str) -> dict[TopicPartition, Position]:
        """Where a group stands; partitions that it never committed are left out."""
        return dict(self._committed.get(group, {}))

    def attach(self, wake: Callable[[], None]) -> None:
        """Call ``wake`` at each append, until ``detach``."""
        self._readers.append(wake)

    def detach(self, wake: Callable[[], None]) -> None:
        """End ``attach``."""
        self._readers.remove(wake)
