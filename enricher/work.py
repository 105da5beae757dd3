"""What the pipeline's parts hand to each other: a partition while it is ours, and a record on its way.

Invariants: an ``Assignment`` is current from the moment when its partition was assigned until it was revoked or lost,
and never again: what comes late for it is told apart from what a later assignment of the same partition does.
"""

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from enricher.model import Event, Position, Record, TopicPartition
from enricher.offsets import OffsetTracker

if TYPE_CHECKING:
    from enricher.protocols import Trace
    from enricher.sharing import Kept


RECORD = 1_700
"""Bytes that a record takes beside its own: it, its event, its work and what they are kept in (measured)."""

ATTRIBUTE = 110
"""Bytes that an attribute of an event takes beside its texts (measured)."""


class Mark(NamedTuple):
    """When a record was taken (seconds), and its own timestamp (milliseconds since the epoch, or below 0)."""

    offset: int
    timestamp: int
    taken: float


class Assignment:
    """One partition from its assignment until it is revoked or lost.

    Attributes:
        partition: which.
        tracker: its offsets.
        committed: what was committed last.
        current: whether it is still ours.
        dropped: works that will not be resolved here.
        handed: works whose output is handed over and not resolved yet.
        epoch: the number of this assignment among those of the worker.
        marks: one record of each time that some were taken, from the last one that is not above the lowest
            unresolved offset on: they tell how long that has been waiting.
    """

    __slots__ = ("_marked", "committed", "current", "dropped", "epoch", "handed", "marks", "partition", "tracker")

    def __init__(self, partition: TopicPartition, position: Position, epoch: int = 0) -> None:
        self.partition = partition
        self.tracker = OffsetTracker(position)
        self.committed = position
        self.current = True
        self.dropped = 0
        self.handed = 0
        self.epoch = epoch
        self.marks: deque[Mark] = deque()
        self._marked = float("-inf")

    def mark(self, record: Record, now: float) -> None:
        """Remember when this record was taken, if it is the first one of its time; cheap, as each one is told."""
        if now == self._marked:
            return
        self._marked = now
        marks, base = self.marks, self.tracker.base
        marks.append(Mark(record.offset, record.timestamp, now))
        while len(marks) > 1 and marks[1].offset <= base:
            marks.popleft()

    @property
    def oldest(self) -> "Mark | None":
        """About the oldest unresolved record: it was taken with, or soon after, this one. None if there is none."""
        if not self.tracker.pending:
            return None
        base, found = self.tracker.base, None
        for mark in self.marks:
            if mark.offset > base and found is not None:
                break
            found = mark
        return found

    @property
    def working(self) -> int:
        """Records of which an output will still be handed over."""
        return self.tracker.pending - self.dropped - self.handed


class Work:
    """One record on its way through the worker.

    Attributes:
        record: as it was read.
        assignment: that it belongs to.
        source, key: what the scheduler knows it by.
        received: when it was taken, seconds.
        size: bytes held for it: the record, its event once it was decoded, and its output once there is one.
        event: the decoded record; there once it was decoded.
        has_output: whether its output is there.
        attempts: look-ups made for it, failed ones included.
        started: when the first of them began, seconds.
        down: for how long the service had been down by then, in all, seconds.
        trace: where events are traced.
        last_failed: when the last of them failed (before that, as ``started``), seconds.
        empties: how often the history was empty and was asked for again.
        forgiven: attempts that do not count as tries to be answered: those up to the last empty history.
        answer: of a work that was taken, what is kept of its customer; set and read only where answers are kept.
    """

    __slots__ = (
        "answer", "assignment", "attempts", "down", "empties", "event", "forgiven", "has_output", "key", "last_failed",
        "received", "record", "size", "source", "started", "trace",
    )  # fmt: skip

    def __init__(self, record: Record, assignment: Assignment, received: float) -> None:
        self.record = record
        self.assignment = assignment
        self.source = assignment.partition
        self.key = record.key
        self.received = received
        self.size = record.size + RECORD
        self.event: Event
        self.trace: Trace | None = None
        self.has_output = False
        self.attempts = 0
        self.started = 0.0
        self.down = 0.0
        self.last_failed = 0.0
        self.empties = 0
        self.forgiven = 0
        self.answer: Kept | None

    @property
    def decoded(self) -> int:
        """Bytes that the event holds: about the record's own once more, as texts of its own."""
        return self.record.size + ATTRIBUTE * len(self.event.attributes)
