"""Hands outputs and dead letters to the sink and commits what they resolve: at least once.

Invariants: a record is resolved exactly when the broker has acknowledged its output or its dead letter; what is
committed was resolved before; what cannot be written ends the worker rather than being dropped.
"""

from collections.abc import Collection
from typing import Protocol

from enricher.model import Outgoing, Position, Rejected, Stage
from enricher.protocols import ProduceFailed, Sink, Source
from enricher.stats import Stats
from enricher.work import Assignment, Work


class Owner(Protocol):
    """What the delivery tells the pipeline."""

    def resolved(self, work: Work, rejected: Rejected | None) -> None:
        """The work's output (or its dead letter, where it was rejected) is acknowledged."""
        ...

    def refused(self, work: Work, rejected: Rejected) -> None:
        """The work's output can never be written; a dead letter may."""
        ...

    def drop(self, work: Work) -> None:
        """The work's partition went before its output was handed over."""
        ...

    def failed(self, error: Exception) -> None:
        """The worker cannot go on."""
        ...


class AtLeastOnce:
    """Outputs are written as they come; offsets are committed at intervals."""

    def __init__(self, source: Source, sink: Sink, owner: Owner, stats: Stats) -> None:
        self._source = source
        self._sink = sink
        self._owner = owner
        self._stats = stats

    async def publish(self, work: Work, output: Outgoing, rejected: Rejected | None) -> None:
        """Hand an output over, waiting for room; ``rejected`` tells that it is a dead letter, and why."""

        def delivered(error: ProduceFailed | None) -> None:
            if error is None:
                self._owner.resolved(work, rejected)
            elif error.too_large and rejected is None:
                self._owner.refused(work, Rejected(Stage.PRODUCE, "OutputTooLarge", str(error)))
            else:
                what = "dead letter" if rejected else "output"
                self._owner.failed(ProduceFailed(f"the {what} for topic {output.topic} was not written: {error}"))

        while work.assignment.current:
            if self._sink.produce(output, delivered):
                return
            await self._sink.writable()
        self._owner.drop(work)

    async def commit(self, assignments: Collection[Assignment]) -> None:
        """Commit what became committable since the last commit.

        Raises:
            CommitFailed: the offsets are committed later, with those that follow.
        """
        moved: list[tuple[Assignment, Position]] = [
            (assignment, position)
            for assignment in assignments
            if (position := assignment.tracker.position()) != assignment.committed
        ]
        if moved:
            await self._source.commit({assignment.partition: position for assignment, position in moved})
            self._stats.commits += 1
            for assignment, position in moved:
                assignment.committed = position
