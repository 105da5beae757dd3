"""What the pipeline's parts hand to each other: a partition while it is ours, and a record on its way.

Invariants: an ``Assignment`` is current from the moment when its partition was assigned until it was revoked or lost,
and never again: what comes late for it is told apart from what a later assignment of the same partition does.
"""

from enricher.model import Event, Position, Record, TopicPartition
from enricher.offsets import OffsetTracker


class Assignment:
    """One partition from its assignment until it is revoked or lost.

    Attributes:
        partition: which.
        tracker: its offsets.
        committed: what was committed last.
        current: whether it is still ours.
        dropped: works that will not be resolved here.
        handed: works whose output is handed over and not resolved yet.
    """

    __slots__ = ("committed", "current", "dropped", "handed", "partition", "tracker")

    def __init__(self, partition: TopicPartition, position: Position) -> None:
        self.partition = partition
        self.tracker = OffsetTracker(position)
        self.committed = position
        self.current = True
        self.dropped = 0
        self.handed = 0

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
        size: bytes held for it: the record, and its output once there is one.
        event: the decoded record; there once it was decoded.
        attempts: look-ups made for it, failed ones included.
        started: when the first of them began, seconds.
        last_failed: when the last of them failed (before that, as ``started``), seconds.
    """

    __slots__ = (
        "assignment", "attempts", "event", "key", "last_failed", "received", "record", "size", "source", "started",
    )  # fmt: skip

    def __init__(self, record: Record, assignment: Assignment, received: float) -> None:
        self.record = record
        self.assignment = assignment
        self.source = assignment.partition
        self.key = record.key
        self.received = received
        self.size = record.size
        self.event: Event
        self.attempts = 0
        self.started = 0.0
        self.last_failed = 0.0
