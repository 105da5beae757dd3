"""Where a partition is read from when it is assigned.

Invariant: from the committed offset, with the commit's metadata, if it lies inside the log; else where
``auto.offset.reset`` says, without metadata, so that nothing is ever committed beyond the log.
"""

import time
from collections.abc import Callable, Collection

import structlog
from confluent_kafka import OFFSET_INVALID, Consumer, KafkaException
from confluent_kafka import TopicPartition as KafkaPartition

from enricher.kafka import explain
from enricher.model import Position, TopicPartition

log = structlog.get_logger(__name__)

REQUEST_TIMEOUT = 10.0


class NoStart(Exception):  # noqa: N818  says what is wrong
    """A partition has no committed offset inside its log, and ``auto.offset.reset`` gives it no other."""


def starts(consumer: Consumer, partitions: Collection[KafkaPartition], reset: str) -> dict[TopicPartition, Position]:
    """Ask the broker where each partition is to be read from.

    Args:
        consumer: of the group; asked on its own thread.
        partitions: that were assigned.
        reset: the property ``auto.offset.reset``.

    Raises:
        KafkaException: the broker did not answer; asking again may help.
        NoStart: the property says that this is an error.
    """
    committed = consumer.committed(list(partitions), timeout=REQUEST_TIMEOUT) if partitions else []
    return {TopicPartition(at.topic, at.partition): _start(consumer, at, reset) for at in committed}


def patient_starts(
    consumer: Consumer,
    partitions: Collection[KafkaPartition],
    reset: str,
    *,
    patience: float,
    given_up: Callable[[], bool],
) -> dict[TopicPartition, Position]:
    """As ``starts``, which is asked again for ``patience`` seconds, or until it is given up: brokers come and go."""
    deadline = time.monotonic() + patience
    while True:
        try:
            return starts(consumer, partitions, reset)
        except KafkaException as error:
            if given_up() or time.monotonic() > deadline:
                raise
            log.warning("committed_offsets_not_read", error=explain(error.args[0]))


def _start(consumer: Consumer, committed: KafkaPartition, reset: str) -> Position:
    if committed.error is not None:
        raise KafkaException(committed.error)
    low, high = consumer.get_watermark_offsets(committed, timeout=REQUEST_TIMEOUT)
    if low <= committed.offset <= high:
        return Position(committed.offset, committed.metadata or "")
    where = f"{committed.topic}[{committed.partition}]"
    if reset in ("error", "none"):
        raise NoStart(
            f"{where} has no committed offset inside its log ({low} to {high}), and auto.offset.reset is {reset}"
        )
    start = Position(high if reset in ("latest", "largest", "end") else low)
    if committed.offset != OFFSET_INVALID:
        log.warning(
            "committed_offset_out_of_range",
            partition=where,
            committed=committed.offset,
            low=low,
            high=high,
            reading_from=start.offset,
        )
    return start
