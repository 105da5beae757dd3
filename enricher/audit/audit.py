"""Puts the audit together: inputs first, then dead letters, then outputs, then the report.

Memory does not grow with the outputs, and with the input by what ``ledger`` and ``lanes`` keep: 19 bytes a record, and
24 to 48 bytes for each key of each partition. Examples are kept up to a number.

Invariants: the outputs of one output partition come in their order, and after all dead letters; a record that is told
twice counts once as input. Pure.
"""

from collections.abc import Collection, Mapping

from enricher.audit.digests import Digest, compared, of_bytes, of_headers, of_timestamp
from enricher.audit.lanes import LastOffsets
from enricher.audit.ledger import Ledger
from enricher.audit.report import Example, Report, Span
from enricher.completed import Range, decode_completed
from enricher.model import Position, Record, TopicPartition
from enricher.scheduler import Order


class Audit:
    """One audit.

    Args:
        spans: the offsets of each input partition that are audited.
        order: what the worker keeps in order.
        untimed: topics that give their records a time of their own; the input's is not looked for there.
        most: examples to keep of each kind.
    """

    def __init__(
        self,
        spans: Mapping[TopicPartition, Range],
        *,
        order: Order = Order.KEY,
        untimed: Collection[str] = (),
        most: int = 20,
    ) -> None:
        self._ledgers = {partition: Ledger(span) for partition, span in spans.items()}
        self._topics = {partition.topic for partition in spans}
        self._order = order
        self._untimed = frozenset(untimed)
        self._most = most
        self._lanes = LastOffsets()
        self._report = Report([])

    def input(self, record: Record) -> None:
        """A record of the input."""
        ledger = self._ledgers.get(record.source)
        if ledger is not None:
            headers = compared(record.headers)
            ledger.add(
                record.offset,
                Digest(
                    of_bytes(record.key),
                    of_headers(headers),
                    len(headers),
                    of_timestamp(record.timestamp),
                    of_bytes(record.value),
                ),
            )

    def output(self, source: TopicPartition, offset: int, record: Record) -> None:
        """An enriched event, and the place of its input."""
        digest = self._digest(source, offset)
        if digest is None:
            return
        self._report.outputs += 1
        self._compare(source, offset, record, self._differences(digest, record))
        if self._resolve(source, offset, record):
            self._follow(source, offset, record)

    def dead_letter(self, source: TopicPartition, offset: int, record: Record) -> None:
        """A dead letter, and the place of its input; comes before the outputs."""
        digest = self._digest(source, offset)
        if digest is None:
            return
        self._report.dead_letters += 1
        differences = self._differences(digest, record)
        if of_bytes(record.value) != digest.value:
            differences.append("value")
        self._compare(source, offset, record, differences)
        self._resolve(source, offset, record)

    def foreign(self) -> None:
        """A dead letter without a source."""
        self._report.others.foreign += 1

    def unreadable(self) -> None:
        """An output that is no enriched event."""
        self._report.others.unreadable += 1

    def report(
        self,
        positions: Mapping[TopicPartition, Position],
        logs: Mapping[TopicPartition, Range],
        notes: Collection[str] = (),
    ) -> Report:
        """What was found.

        Args:
            positions: what the group has committed.
            logs: where each partition's log begins and ends; not older than the positions.
            notes: to hand on.
        """
        report = self._report
        report.notes = list(notes)
        for partition, ledger in sorted(self._ledgers.items()):
            position = positions.get(partition)
            committed = None if position is None else position.offset
            report.spans.append(Span(*partition, *ledger.span, committed))
            report.inputs += ledger.records
            self._look_for_missing(partition, ledger, position)
            if position is not None:
                self._look_at_commit(partition, position, logs[partition])
        return report

    def _digest(self, source: TopicPartition, offset: int) -> Digest | None:
        """That of the input, if it is one of those that are audited; else it is counted among the others."""
        others = self._report.others
        ledger = self._ledgers.get(source)
        if ledger is None:
            if source.topic in self._topics:
                others.outside += 1
            else:
                others.foreign += 1
            return None
        digest = ledger.digest(offset)
        if digest is None:
            if ledger.span.start <= offset < ledger.span.end:
                others.without_input += 1
            else:
                others.outside += 1
        return digest

    def _differences(self, digest: Digest, record: Record) -> list[str]:
        differences = []
        if of_bytes(record.key) != digest.key:
            differences.append("key")
        headers = compared(record.headers)[: digest.header_count]
        if len(headers) != digest.header_count or of_headers(headers) != digest.headers:
            differences.append("headers")
        timed = digest.timestamp != of_timestamp(-1) and record.topic not in self._untimed
        if timed and of_timestamp(record.timestamp) != digest.timestamp:
            differences.append("timestamp")
        return differences

    def _compare(self, source: TopicPartition, offset: int, record: Record, differences: list[str]) -> None:
        if differences:
            detail = f"{_place(record)} has another {', '.join(differences)}"
            self._report.changed.add(Example(*source, offset, detail), self._most)

    def _resolve(self, source: TopicPartition, offset: int, record: Record) -> bool:
        """Whether it is the first that became of the input."""
        before = self._ledgers[source].resolve(offset)
        if before == 1:
            self._report.repeated.add(Example(*source, offset, f"again at {_place(record)}"), self._most)
        return not before

    def _follow(self, source: TopicPartition, offset: int, record: Record) -> None:
        """The first output of a record: those before it in its lane have to be of lower offsets.

        One that was dead-lettered, too, is not looked at: it had its turn then, and came out when a stretch was done
        again.
        """
        if self._order is Order.NONE or (self._order is Order.KEY and record.key is None):
            return
        key = record.key if self._order is Order.KEY else None
        before = self._lanes.advance(hash((source, record.partition, key)), offset)
        if before > offset:
            detail = f"{_place(record)} is behind the output of offset {before}"
            self._report.out_of_order.add(Example(*source, offset, detail), self._most)

    def _look_for_missing(self, partition: TopicPartition, ledger: Ledger, position: Position | None) -> None:
        report = self._report
        committed = -1 if position is None else position.offset
        completed = list(decode_completed(position.offset, position.metadata) or ()) if position else []
        for offset in ledger.missing():
            while completed and completed[0].end <= offset:
                del completed[0]
            if offset < committed or (completed and completed[0].start <= offset):
                detail = "committed as resolved, and nowhere"
            else:
                detail = "not committed yet"
                report.not_committed += 1
            report.missing.add(Example(*partition, offset, detail), self._most)

    def _look_at_commit(self, partition: TopicPartition, position: Position, log: Range) -> None:
        completed = decode_completed(position.offset, position.metadata)
        within = f"the log, {log.start} to {log.end}"
        if not log.start <= position.offset <= log.end:
            detail = f"the committed offset is outside {within}"
        elif completed and completed[-1].end > log.end:
            detail = (
                f"the commit's metadata calls offsets up to {completed[-1].end} resolved, which is outside {within}"
            )
        else:
            return
        self._report.commits.add(Example(*partition, position.offset, detail), self._most)


def _place(record: Record) -> str:
    return f"{record.topic}[{record.partition}]@{record.offset}"
