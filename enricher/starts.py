"""Where a partition is read from when it is assigned.

Invariant: from the committed offset, with the commit's metadata, if it lies inside the log; else where
``auto.offset.reset`` says, without metadata, so that nothing is ever committed beyond the log.
"""

import time
from collections.abc import Callable, Collection

import structlog
from confluent_kafka import OFFSET_INVALID, Consumer, KafkaError, KafkaException
from confluent_kafka import TopicPartition as KafkaPartition

from enricher.kafka import explain
from enricher.model import Position, TopicPartition

log = structlog.get_logger(__name__)

REQUEST_TIMEOUT = 10.0

PAUSE = 0.1
"""Seconds before it is asked again."""

_AWAY = {
    KafkaError._TIMED_OUT,  # noqa: SLF001  constants, named so by the library
    KafkaError._TRANSPORT,  # noqa: SLF001
    KafkaError._ALL_BROKERS_DOWN,  # noqa: SLF001
    KafkaError._WAIT_COORD,  # noqa: SLF001
    KafkaError._RESOLVE,  # noqa: SLF001
    KafkaError.NETWORK_EXCEPTION,
    KafkaError.REQUEST_TIMED_OUT,
    KafkaError.BROKER_NOT_AVAILABLE,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.UNSTABLE_OFFSET_COMMIT,
}
"""What is answered while brokers are away, or a transaction with the offsets is open: later there will be an answer."""


class NoStart(Exception):  # noqa: N818  says what is wrong
    """A partition has no committed offset inside its log, and ``auto.offset.reset`` gives it no other."""


class NotYet(Exception):  # noqa: N818  likewise
    """There was no answer; there will be one later."""


def starts(
    consumer: Consumer, partitions: Collection[KafkaPartition], reset: str, *, timeout: float = REQUEST_TIMEOUT
) -> dict[TopicPartition, Position]:
    """Ask the broker where each partition is to be read from.

    Args:
        consumer: of the group; asked on its own thread.
        partitions: that were assigned.
        reset: the property ``auto.offset.reset``.
        timeout: seconds for each answer.

    Raises:
        KafkaException: the broker did not answer; asking again may help.
        NoStart: the property says that this is an error.
    """
    committed = consumer.committed(list(partitions), timeout=timeout) if partitions else []
    return {TopicPartition(at.topic, at.partition): _start(consumer, at, reset, timeout) for at in committed}


def patient_starts(
    consumer: Consumer,
    partitions: Collection[KafkaPartition],
    reset: str,
    *,
    patience: float,
    given_up: Callable[[], bool],
) -> dict[TopicPartition, Position]:
    """As ``starts``, which is asked again for ``patience`` seconds, or until it is given up: brokers come and go.

    Raises:
        NotYet: there was no answer in that time.
    """
    deadline = time.monotonic() + patience
    while True:
        try:
            timeout = max(PAUSE, min(REQUEST_TIMEOUT, deadline - time.monotonic()))
            return starts(consumer, partitions, reset, timeout=timeout)
        except KafkaException as error:
            cause: KafkaError = error.args[0]
            if given_up() or time.monotonic() > deadline:
                if cause.code() in _AWAY:
                    raise NotYet(explain(cause)) from error
                raise
            log.warning("committed_offsets_not_read", error=explain(cause))
            time.sleep(PAUSE)


def _start(consumer: Consumer, committed: KafkaPartition, reset: str, timeout: float) -> Position:
    if committed.error is not None:
        raise KafkaException(committed.error)
    low, high = consumer.get_watermark_offsets(committed, timeout=timeout)
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
