"""Committed offsets of groups, read and written from outside: by one that is no member.

Invariants: what is written is in the broker when ``write`` returns; a group that has members refuses to be written.
Calls block.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from confluent_kafka import Consumer, KafkaException
from confluent_kafka import TopicPartition as KafkaPartition

from enricher.cli.reading import TIMEOUT, ask_patiently
from enricher.kafka import QUIET, to_kafka
from enricher.model import Position, TopicPartition


class GroupOffsets:
    """The committed offsets of one group.

    Args:
        properties: librdkafka's, with ``bootstrap.servers``.
        group: which.
    """

    def __init__(self, properties: Mapping[str, Any], group: str) -> None:
        self._consumer = Consumer(
            {
                **QUIET,
                **properties,
                "group.id": group,
                "enable.auto.commit": False,
                "log_level": 2,  # what goes wrong is raised
            }
        )

    def read(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, Position]:
        """Where the group stands; partitions that it never committed are left out.

        Raises:
            KafkaException: the broker did not answer, or not for each partition.
        """
        asked = [KafkaPartition(*partition) for partition in partitions]
        return ask_patiently(lambda: self._ask(asked)) if asked else {}

    def _ask(self, asked: list[KafkaPartition]) -> dict[TopicPartition, Position]:
        positions = {}
        for at in self._consumer.committed(asked, timeout=TIMEOUT):
            if at.error is not None:
                raise KafkaException(at.error)
            if at.offset >= 0:
                positions[TopicPartition(at.topic, at.partition)] = Position(at.offset, at.metadata or "")
        return positions

    def write(self, positions: Mapping[TopicPartition, Position]) -> None:
        """Set where the group stands.

        Raises:
            KafkaException: the broker refused, for the group has members or for any other reason.
        """
        for at in self._consumer.commit(offsets=to_kafka(positions), asynchronous=False):
            if at.error is not None:
                raise KafkaException(at.error)

    def close(self) -> None:
        """Release everything."""
        self._consumer.close()


@contextmanager
def group_offsets(properties: Mapping[str, Any], group: str) -> Iterator[GroupOffsets]:
    """The committed offsets of a group, closed at the end."""
    offsets = GroupOffsets(properties, group)
    try:
        yield offsets
    finally:
        offsets.close()
