"""Reads dead letters, chooses among them, and sends those chosen back: each once, whatever is killed.

Invariants: the end is fixed at the start, so that what fails again meanwhile does not come back in the same run;
without a ``Writer`` nothing is written. Calls block.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from enricher.cli.reading import TopicReader
from enricher.cli.redrive_transactions import Back, Progress, Refused, Writer
from enricher.completed import Range
from enricher.model import Record, TopicPartition
from enricher.redrive.done import Done
from enricher.redrive.letters import Letter, headers_back, read_letter
from enricher.redrive.selection import Kinds, Selection

MOST_BYTES = 4 << 20
"""Bytes of one transaction, after which it is committed."""


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
