"""What the worker holds: its partitions, the records of each that are not resolved, and what is paused for them.

Invariants: a record is held from when it was taken until it is resolved or dropped; the source is told of every pause
and resume that the buffer decides, and of no other.
"""

from collections.abc import Collection, Mapping, ValuesView

import structlog

from enricher.buffer import Buffer
from enricher.model import Position, Record, TopicPartition
from enricher.protocols import Source
from enricher.stats import Stats
from enricher.work import Assignment, Work

log = structlog.get_logger(__name__)


class Holdings:
    """The partitions that are ours.

    Args:
        source: told what to pause.
        max_records: cap on records held.
        max_bytes: cap on bytes held.
        stats: where to count.
    """

    def __init__(self, source: Source, max_records: int, max_bytes: int, stats: Stats) -> None:
        self._source = source
        self._stats = stats
        self.buffer = Buffer(max_records, max_bytes)
        self.assignments: dict[tuple[str, int], Assignment] = {}
        self._outputs = 0  # works whose output is there
        self._epoch = 0
        self._full: frozenset[TopicPartition] = frozenset()

    @property
    def current(self) -> ValuesView[Assignment]:
        """All current assignments."""
        return self.assignments.values()

    def of(self, partitions: Collection[TopicPartition]) -> list[Assignment]:
        """The current assignments of these partitions."""
        return [self.assignments[partition] for partition in partitions if partition in self.assignments]

    def assign(self, partitions: Mapping[TopicPartition, Position]) -> None:
        """These partitions are ours from now on."""
        for partition, position in partitions.items():
            self._epoch += 1
            assignment = Assignment(partition, position, self._epoch)
            self.assignments[partition] = assignment
            if assignment.tracker.foreign_metadata:
                log.warning("commit_metadata_ignored", partition=names([partition]), reason="not of this program")
        self.buffer.assign(partitions)
        self.balance()

    def forget(self, partitions: Collection[TopicPartition]) -> None:
        """These partitions are ours no longer."""
        for partition in partitions:
            assignment = self.assignments.pop(partition, None)
            if assignment is not None:
                assignment.current = False
        self.buffer.revoke(partitions)
        self.balance()

    def take(self, record: Record, now: float) -> Work | None:
        """Hold a record; None if it is not ours, or resolved already."""
        assignment = self.assignments.get((record.topic, record.partition))
        if assignment is None:
            return None
        self._stats.received += 1
        if not assignment.tracker.track(record.offset):
            self._stats.skipped += 1
            return None
        assignment.mark(record, now)
        work = Work(record, assignment, now)
        self.buffer.add(work.source, work.size)
        return work

    def grow(self, work: Work, size: int) -> None:
        """A work holds so many bytes more."""
        work.size += size
        self.buffer.grow(size)

    def has_output(self, work: Work, size: int) -> None:
        """A work's output is there, and waits to be acknowledged."""
        if not work.has_output:
            work.has_output = True
            self._outputs += 1
        self.grow(work, size)

    @property
    def has_room(self) -> bool:
        """Whether another output may be made. Where no output waits one may, so that it always goes on."""
        return not self._outputs or self.buffer.bytes < self.buffer.max_bytes

    def resolved(self, work: Work) -> None:
        """A work is held no more: its partition may go on, or all may, even if the work's own one is gone."""
        self._outputs -= work.has_output
        self.buffer.remove(work.source, work.size, current=work.assignment.current)
        if self.buffer.relieved(work.source):
            self.balance()

    def left_out(self, work: Work) -> None:
        """A work needs no output: it is resolved, and held no more."""
        self._stats.left_out += 1
        work.assignment.tracker.resolve(work.record.offset)
        self.buffer.remove(work.source, work.size, current=True)

    def dropped(self, work: Work) -> None:
        """A work is held no more, and stays unresolved, so that nothing past it is committed."""
        self._stats.dropped += 1
        self._outputs -= work.has_output
        work.assignment.dropped += 1
        self.buffer.remove(work.source, work.size, current=work.assignment.current)
        # If its partition is current, that one is about to go, and the balance is struck when it has gone.
        if not work.assignment.current and self.buffer.relieved(work.source):
            self.balance()

    def close(self) -> None:
        """Pause everything, for good."""
        self.buffer.closed = True
        self.balance()

    def balance(self) -> None:
        """Pause and resume what the buffer says."""
        changes = self.buffer.changes(lambda partition: self.assignments[partition].tracker.full)
        if changes.pause:
            self._source.pause(changes.pause)
        if changes.resume:
            self._source.resume(changes.resume)
        if self.buffer.paused or self._full:
            self._tell()

    def _tell(self) -> None:
        """Tell which partitions were paused because their map of completed offsets might not fit any more."""
        full = frozenset(at for at in self.buffer.paused if self.assignments[at].tracker.full)
        added, self._full = full - self._full, full
        if added:
            self._stats.filled += len(added)
            log.warning("partitions_full", partitions=names(added), reason="many records wait for few that are slow")


def names(partitions: Collection[TopicPartition]) -> list[str]:
    """Partitions for the log."""
    return [f"{topic}[{partition}]" for topic, partition in sorted(partitions)]
