"""The transactions of a redrive: the records that go back, and the offsets of their dead letters, all or nothing.

The offsets are those of a group of the redrive's own. Its transactional id is fixed, so that of two redrives at a time
the first is refused by the broker, and what a killed one has left open is aborted when the next begins. Calls block.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Any, NamedTuple, Self

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer
from confluent_kafka import TopicPartition as KafkaPartition

from enricher.cli.reading import TIMEOUT, ask_patiently
from enricher.kafka import QUIET, to_kafka
from enricher.model import Headers, Position, Record, TopicPartition
from enricher.sink import DEFAULTS
from enricher.transactions import FIXED

PATIENCE = 60.0
"""Seconds for the broker to answer a call of a transaction, which is made again until then."""

TRIES = 5
"""Transactions that are begun for the same records, when the client purges them."""


class TakenOver(Exception):  # noqa: N818  says what happened
    """Another redrive of the same group has begun."""


class Back(NamedTuple):
    """A record that goes back; partition -1 for the one of its key."""

    topic: str
    partition: int
    record: Record
    headers: Headers


class Refused(Exception):  # noqa: N818  says what happened
    """Nothing of the transaction was written, as the topic does not take one of its records."""


class Progress:
    """The committed progress of a redrive: the offsets of a group without members. Use it in a ``with``."""

    def __init__(self, properties: Mapping[str, Any], group: str) -> None:
        self._consumer = Consumer(
            {**QUIET, **properties, "group.id": group, "enable.auto.commit": False, "log_level": 2}
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    @property
    def group(self) -> object:
        """What a transaction names the group by."""
        return self._consumer.consumer_group_metadata()

    def read(self, topic: str, partitions: Sequence[int]) -> dict[int, Position]:
        """What is committed; partitions without a commit are left out.

        Raises:
            KafkaException: the broker did not answer, or not for each partition.
        """
        asked = [KafkaPartition(topic, partition) for partition in partitions]
        found = {}
        for at in ask_patiently(lambda: self._consumer.committed(asked, timeout=TIMEOUT)):
            if at.error is not None:
                raise KafkaException(at.error)
            if at.offset >= 0:
                found[at.partition] = Position(at.offset, at.metadata or "")
        return found


class Writer:
    """Writes what goes back, and the progress, all or nothing.

    Args:
        properties: librdkafka's, with ``bootstrap.servers``.
        transactional_id: the same for all redrives of one progress.

    Raises:
        KafkaException: the broker does not answer, or refuses.
    """

    def __init__(self, properties: Mapping[str, Any], transactional_id: str) -> None:
        self._producer = Producer(
            {
                **DEFAULTS,
                **properties,
                **FIXED,
                "transactional.id": transactional_id,
                "statistics.interval.ms": 0,
                "log_level": 2,  # what goes wrong is raised
            }
        )
        self._again(lambda: self._producer.init_transactions(TIMEOUT))

    def write(self, backs: Sequence[Back], positions: Mapping[TopicPartition, Position], group: object) -> None:
        """One transaction.

        Raises:
            Refused: a record is too large for its topic; nothing is written.
            TakenOver: see there; nothing is written.
            KafkaException: any other error; nothing is written, or all of it.
        """
        for tries_left in reversed(range(TRIES)):
            try:
                return self._write(backs, positions, group)
            except KafkaException as error:
                # After an abort, librdkafka 2.16 may purge what the next transaction has just begun with.
                if error.args[0].code() not in _PURGED or not tries_left:
                    raise
        raise AssertionError("unreachable: the last try returned or raised")

    def _write(self, backs: Sequence[Back], positions: Mapping[TopicPartition, Position], group: object) -> None:
        errors: list[KafkaError] = []
        try:
            self._producer.begin_transaction()
            for back in backs:
                self._produce(back, errors)
            # All answers first: librdkafka 2.16 cannot abort once the offsets met a transaction that has failed.
            if self._producer.flush(PATIENCE):
                errors.append(KafkaError(KafkaError._TIMED_OUT))  # noqa: SLF001  a constant
            if errors:
                raise KafkaException(_gravest(errors))  # noqa: TRY301  as what a call raises
            self._again(lambda: self._producer.send_offsets_to_transaction(to_kafka(positions), group, TIMEOUT))
            self._again(lambda: self._producer.commit_transaction(TIMEOUT))
        except KafkaException as error:
            self.abort()
            if error.args[0].code() == KafkaError.MSG_SIZE_TOO_LARGE:
                raise Refused from None
            raise

    def abort(self) -> None:
        """Give the open transaction up, if there is one and the broker answers; else it runs out by itself."""
        self._producer.flush(TIMEOUT)  # to abort while the first record is on its way can be fatal (librdkafka 4849)
        with suppress(KafkaException, TakenOver):
            self._again(lambda: self._producer.abort_transaction(TIMEOUT))

    def _produce(self, back: Back, errors: list[KafkaError]) -> None:
        record = back.record
        while True:
            try:
                self._producer.produce(
                    back.topic,
                    record.value,
                    record.key,
                    back.partition,
                    headers=back.headers,  # type: ignore[arg-type]  # a list is invariant; theirs may hold str too
                    timestamp=max(record.timestamp, 0),
                    on_delivery=partial(_note, errors),
                )
            except BufferError:
                self._producer.poll(0.1)
            else:
                return

    def _again(self, call: Callable[[], object]) -> None:
        """Make a call until it is answered, for ``PATIENCE`` seconds."""
        deadline = monotonic() + PATIENCE
        while True:
            try:
                call()
            except KafkaException as error:
                cause: KafkaError = error.args[0]
                if cause.code() in _FENCED:
                    raise TakenOver from None
                waits = cause.retriable() or cause.code() == KafkaError._TIMED_OUT  # noqa: SLF001  a constant
                if cause.fatal() or cause.txn_requires_abort() or not waits or monotonic() > deadline:
                    raise
            else:
                return


_FENCED = {
    KafkaError._FENCED,  # noqa: SLF001  constants, named so by the library
    KafkaError.INVALID_PRODUCER_EPOCH,
    KafkaError.PRODUCER_FENCED,
}


_PURGED = {KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT}  # noqa: SLF001  constants, named so by the library


def _note(errors: list[KafkaError], error: KafkaError | None, _message: Message) -> None:
    if error is not None:
        errors.append(error)


def _gravest(errors: list[KafkaError]) -> KafkaError:
    """The one that is the cause: when a batch is refused, the records behind it are told to be purged."""
    return next((error for error in errors if error.code() == KafkaError.MSG_SIZE_TOO_LARGE), errors[0])
