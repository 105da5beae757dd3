"""How the consumer is configured, what that means for its time, and what its errors say.

Invariants: what the guarantees rest on cannot be overridden; all that happens inside a rebalance fits, with room to
spare, into ``max.poll.interval.ms``, after which the group takes the partitions away.
"""

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException

from enricher.kafka import QUIET, explain, to_kafka
from enricher.model import Position, TopicPartition

log = structlog.get_logger(__name__)

DEFAULTS: dict[str, str | int | float | bool] = {
    **QUIET,
    "auto.offset.reset": "earliest",
    "partition.assignment.strategy": "cooperative-sticky",
    "queued.max.messages.kbytes": 16_384,
    "fetch.wait.max.ms": 100,
    "max.poll.interval.ms": 300_000,
    "client.id": "enricher",
    "statistics.interval.ms": 5_000,
}
FIXED: dict[str, str | int | float | bool] = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
}

GRACE = 3.0
"""Seconds that look-ups in flight get when their partition goes."""

FLOOR = 2.0
"""Seconds that are kept after that for writing and committing, however long the look-ups took."""

ANSWER = 10.0
"""Seconds that the pipeline gets for all of it, before the partitions count as lost."""

START = 60.0
"""Seconds for finding out where assigned partitions are to be read from."""

COMMIT_RETRY = 0.1
"""Seconds between two tries to commit what a partition leaves behind."""

LEAVE = 5.0
"""Seconds for leaving the group; where a join is under way, its answer comes first."""


class SourceFailed(Exception):  # noqa: N818  says what happened
    """The consumer met an error that it cannot recover from."""


class Times(NamedTuple):
    """Seconds for what happens inside a rebalance; the constants of this module say what each is."""

    grace: float = GRACE
    floor: float = FLOOR
    answer: float = ANSWER
    start: float = START


def configuration(properties: Mapping[str, Any]) -> dict[str, Any]:
    """The consumer's properties: the defaults, what is given, and what nobody may change."""
    defaults = dict(DEFAULTS)
    if properties.get("group.protocol") == "consumer":
        del defaults["partition.assignment.strategy"]  # the broker assigns (KIP-848), and librdkafka refuses it
    return {**defaults, **properties, **FIXED}


def incremental(configured: Mapping[str, Any]) -> bool:
    """Whether partitions come and go one by one, rather than all at each rebalance."""
    strategy = str(configured.get("partition.assignment.strategy", ""))
    return "cooperative" in strategy or configured.get("group.protocol") == "consumer"


def leaves_when_closed(configured: Mapping[str, Any]) -> bool:
    """Whether the consumer leaves its group when it is closed and holds nothing, or is not to leave it.

    librdkafka (2.16) closes one that takes partitions one by one in a classic group, and holds none, without a word.
    A static member is to stay.
    """
    classic = configured.get("group.protocol") != "consumer"
    return not (classic and incremental(configured)) or bool(configured.get("group.instance.id"))


def leave(consumer: Consumer) -> None:
    """Have a consumer that holds nothing leave its group."""
    deadline = time.monotonic() + LEAVE
    with suppress(KafkaException):  # a fatal error: it is no member any more
        consumer.unsubscribe()
        while consumer.memberid() and time.monotonic() < deadline:
            consumer.poll(COMMIT_RETRY)


def poll_interval(properties: Mapping[str, Any]) -> float:
    """Seconds that may pass between two polls; as long the group waits for a member in a rebalance."""
    return float(configuration(properties)["max.poll.interval.ms"]) / 1000


def times(properties: Mapping[str, Any]) -> Times:
    """How long what happens inside a rebalance may take: as a rule the constants, less where polls must be frequent."""
    most = poll_interval(properties)
    return Times(min(GRACE, most / 6), min(FLOOR, most / 6), min(ANSWER, most / 2), min(START, most / 2))


def failure(error: KafkaError) -> SourceFailed:
    """What ends the worker, in words, and what to do about it where we know."""
    text = explain(error)
    # A fatal error has one code for all causes (_FATAL); only its text tells which it is.
    if "group.instance.id" in text or "instance ID" in text:
        text = f"{text}; another worker has the same kafka.group_instance_id: give each worker one of its own"
    return SourceFailed(text)


def commit_before_leaving(consumer: Consumer, positions: Mapping[TopicPartition, Position], deadline: float) -> None:
    """Commit at the last moment; what cannot be is done again where the partitions go: nothing is lost.

    Args:
        consumer: called on its own thread.
        positions: of partitions that are about to go.
        deadline: no further try begins after it; monotonic seconds.
    """
    while True:
        try:
            consumer.commit(offsets=to_kafka(positions), asynchronous=False)
        except KafkaException as error:
            cause: KafkaError = error.args[0]
            again = cause.retriable() or cause.code() == KafkaError.STALE_MEMBER_EPOCH
            if not again or time.monotonic() + COMMIT_RETRY > deadline:
                log.warning("commit_on_revoke_failed", error=explain(cause))
                return
            time.sleep(COMMIT_RETRY)
        else:
            return
