"""Reads dead letters, and sends those chosen back: each once, whatever is killed.

The records that go back, and the offsets of their dead letters, are written in one Kafka transaction, in a group of the
redrive's own. Its transactional id is fixed, so that of two redrives at a time the first is refused by the broker, and
what a killed one has left open is aborted when the next begins.

Invariants: the end is fixed at the start, so that what fails again meanwhile does not come back in the same run;
without a ``Writer`` nothing is written. Calls block.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from time import monotonic
from typing import Any, NamedTuple, Self

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer
from confluent_kafka import TopicPartition as KafkaPartition

from enricher.cli.reading import TIMEOUT, TopicReader, ask_patiently
from enricher.completed import Range
from enricher.kafka import QUIET, to_kafka
from enricher.model import Headers, Position, Record, TopicPartition
from enricher.redrive.done import Done
from enricher.redrive.letters import Letter, headers_back, read_letter
from enricher.redrive.selection import Kinds, Selection
from enricher.sink import DEFAULTS
from enricher.transactions import FIXED

MOST_BYTES = 4 << 20
"""Bytes of one transaction, after which it is committed."""

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


@dataclass(frozen=True, slots=True)
class Terms:
    """What a redrive does.

    Attributes:
        selection: the dead letters that are chosen.
        targets: the topics that dead letters go back to, each with its number of partitions.
        to_topic: the one for all of them; None for the one that each came from.
        limit: of dead letters.
        max_redrives: a dead letter that was sent back that often is left.
        batch: dead letters in one transaction.
    """

    selection: Selection
    targets: Mapping[str, int]
    to_topic: str | None
    limit: int | None
    max_redrives: int
    batch: int


@dataclass(slots=True)
class Outcome:
    """What has become of the dead letters.

    Attributes:
        read: those that were read, and had not gone back before.
        sent: those that went back; in a dry run, those that would.
        kinds: of those that are chosen.
        left: those that were chosen and stay, by reason.
        void: partitions whose committed progress does not fit the log.
    """

    read: int = 0
    sent: int = 0
    kinds: Kinds = field(default_factory=Kinds)
    left: Counter[str] = field(default_factory=Counter)
    void: list[int] = field(default_factory=list)


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


class Redrive:
    """One run over the dead letters of a topic.

    Args:
        reader: of the dead letters.
        progress: what has gone back already.
        terms: what is to be done.
        writer: None to write nothing, and only count.
        tell: told now and then what has become of the dead letters so far.
    """

    def __init__(
        self,
        reader: TopicReader,
        progress: Progress,
        terms: Terms,
        writer: Writer | None,
        tell: Callable[[Outcome], None] = lambda _: None,
    ) -> None:
        self._reader = reader
        self._group = progress.group
        self._terms = terms
        self._writer = writer
        self._tell = tell
        self.outcome = Outcome()
        bounds = reader.bounds()
        positions = progress.read(reader.topic, reader.partitions)
        self._done = {p: Done(positions.get(p), Range(*at)) for p, at in bounds.items()}
        self._ends = {p: at.high for p, at in bounds.items()}
        self.outcome.void = [p for p, done in self._done.items() if done.void]
        self._decided: list[tuple[Record, Back | None]] = []  # since the last transaction, in the order of reading
        self._chosen = 0
        self._bytes = 0

    def run(self) -> Outcome:
        """Go through the dead letters up to the end that was fixed, or to the limit.

        Raises:
            TooManyGaps: what has gone back since the last transaction would not fit into the progress, and stays.
            TakenOver, KafkaException: see ``Writer.write``.
        """
        outcome, limit = self.outcome, self._terms.limit
        for record in self._records():
            if limit is not None and outcome.sent + self._chosen >= limit:
                break
            if self._done[record.partition].went(record.offset):
                continue
            outcome.read += 1
            back = self._back(record)
            self._decided.append((record, back))
            if back is not None:
                self._chosen += 1
                self._bytes += record.size
            if self._chosen >= self._terms.batch or self._bytes >= MOST_BYTES or self._chosen == 0:
                self._flush()
        self._flush()
        return outcome

    def _records(self) -> Iterator[Record]:
        starts = {p: done.start for p, done in self._done.items()}
        for record in self._reader.read(starts, self._ends):
            self._tell(self.outcome)
            if record is not None:
                yield record

    def _back(self, record: Record) -> Back | None:
        """What goes back in place of a dead letter, None if it is left."""
        letter = read_letter(record.headers)
        terms = self._terms
        if not terms.selection.wants(record, letter):
            return None
        self.outcome.kinds.add(record, letter)
        if letter is None:
            self.outcome.left["no-cause"] += 1
        elif letter.redrives >= terms.max_redrives:
            self.outcome.left["max-redrives"] += 1
        elif (topic := self._target(letter)) is None:
            self.outcome.left["no-source"] += 1
        else:
            source = letter.source
            same = source is not None and source.topic == topic and source.partition < terms.targets[topic]
            partition = source.partition if same and source is not None else -1
            return Back(topic, partition, record, headers_back(record, letter))
        return None

    def _target(self, letter: Letter) -> str | None:
        if self._terms.to_topic is not None:
            return self._terms.to_topic
        source = letter.source
        return source.topic if source is not None and source.topic in self._terms.targets else None

    def _flush(self) -> None:
        """Write what was chosen since the last transaction; one by one, if a record is refused."""
        decided, self._decided, self._chosen, self._bytes = self._decided, [], 0, 0
        try:
            self._write(decided)
        except Refused:
            if len(decided) == 1:
                self.outcome.left["too-large"] += 1
                self._decide([(decided[0][0], None)])
                return
            for one in decided:
                self._decided = [one]
                self._flush()

    def _write(self, decided: list[tuple[Record, Back | None]]) -> None:
        backs = [back for _, back in decided if back is not None]
        if self._writer is None or not backs:
            self._decide(decided)
        else:
            done = {
                p: at.copy() for p, at in self._done.items()
            }  # all, so that none of the commits grows old and expires
            self._decide(decided, done)
            positions = {TopicPartition(self._reader.topic, p): at.position() for p, at in done.items()}
            self._writer.write(backs, positions, self._group)
            self._done = done
        self.outcome.sent += len(backs)

    def _decide(self, decided: list[tuple[Record, Back | None]], done: dict[int, Done] | None = None) -> None:
        for record, back in decided:
            (done or self._done)[record.partition].decide(record.offset, back=back is not None)
