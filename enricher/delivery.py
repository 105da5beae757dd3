"""Hands outputs and dead letters over and commits what they resolve.

``Delivery`` is what the pipeline needs of a guarantee. This module has at-least-once, ``exactly_once`` the other.
Invariants of both: what is committed was resolved before, or is resolved by the same transaction; what cannot be
written ends the worker rather than being dropped.
"""

import asyncio
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Protocol

from enricher.model import Outgoing, Position, Rejected, Stage, TopicPartition
from enricher.protocols import ProduceFailed, Sink, Source
from enricher.stats import Stats
from enricher.work import Assignment, Work


class Owner(Protocol):
    """What the delivery tells the pipeline, and asks of it."""

    def resolved(self, work: Work, rejected: Rejected | None) -> None:
        """The work's output (or its dead letter, where it was rejected) is acknowledged."""
        ...

    def refused(self, work: Work, rejected: Rejected) -> None:
        """The work's output can never be written; a dead letter is to be published in its place."""
        ...

    def dead_letter(self, work: Work, rejected: Rejected) -> Outgoing:
        """The work's dead letter."""
        ...

    def drop(self, work: Work) -> None:
        """The work's partition went before its output was written."""
        ...

    def failed(self, error: Exception) -> None:
        """The worker cannot go on."""
        ...


class Delivery(Protocol):
    """One guarantee. Methods never block the event loop."""

    def attach(self, owner: Owner) -> None:
        """Tell whom to tell; called once, before anything else."""
        ...

    async def start(self) -> None:
        """Connect. Raises ``ProduceFailed``."""
        ...

    async def publish(self, work: Work, output: Outgoing, rejected: Rejected | None) -> None:
        """Take an output over, waiting for room; ``rejected`` tells that it is a dead letter, and why."""
        ...

    async def commit(self, assignments: Collection[Assignment]) -> None:
        """Commit what has become committable of all current assignments.

        Raises:
            CommitFailed: it is committed later, with what follows.
        """
        ...

    async def flush(self) -> None:
        """Return when every output that was handed over is written. Bound it with ``asyncio.timeout``."""
        ...

    async def settle(
        self, going: Collection[Assignment], assignments: Collection[Assignment], grace: float
    ) -> Mapping[TopicPartition, Position]:
        """Resolve what was handed over of assignments that are about to go, within ``grace`` seconds.

        Args:
            going: those; current still.
            assignments: all current ones.
            grace: seconds.

        Returns:
            what the source is to commit for them.
        """
        ...

    async def close(self) -> None:
        """Release everything."""
        ...


class AtLeastOnce:
    """Outputs are written as they come; offsets are committed at intervals."""

    _owner: Owner

    def __init__(self, source: Source, sink: Sink, stats: Stats) -> None:
        self._source = source
        self._sink = sink
        self._stats = stats

    def attach(self, owner: Owner) -> None:
        """See ``Delivery``."""
        self._owner = owner

    async def start(self) -> None:
        """See ``Delivery``."""
        await self._sink.start()

    async def publish(self, work: Work, output: Outgoing, rejected: Rejected | None) -> None:
        """See ``Delivery``."""
        assignment, topic = work.assignment, output.topic  # the output itself is the sink's from here on

        def delivered(error: ProduceFailed | None) -> None:
            assignment.handed -= 1
            if error is None:
                if assignment.current:
                    assignment.tracker.resolve(work.record.offset)
                self._owner.resolved(work, rejected)
            elif error.too_large and rejected is None:
                self._owner.refused(work, Rejected(Stage.PRODUCE, "OutputTooLarge", str(error)))
            else:
                what = "dead letter" if rejected else "output"
                self._owner.failed(ProduceFailed(f"the {what} for topic {topic} was not written: {error}"))

        while assignment.current:
            if self._sink.produce(output, delivered):
                assignment.handed += 1
                return
            await self._sink.writable()
        self._owner.drop(work)

    async def commit(self, assignments: Collection[Assignment]) -> None:
        """See ``Delivery``."""
        moved = moves(assignments)
        if moved:
            clock = asyncio.get_running_loop().time
            began = clock()
            await self._source.commit({assignment.partition: at for assignment, at in moved.items()})
            self._stats.commit_seconds.add(clock() - began)
            self._stats.commits += 1
            for assignment, at in moved.items():
                assignment.committed = at

    async def flush(self) -> None:
        """See ``Delivery``."""
        await self._sink.flush()

    async def settle(
        self, going: Collection[Assignment], assignments: Collection[Assignment], grace: float
    ) -> Mapping[TopicPartition, Position]:
        """See ``Delivery``."""
        del assignments
        with suppress(TimeoutError):
            async with asyncio.timeout(grace):
                while any(assignment.handed for assignment in going):  # not for those of partitions that stay
                    await self._sink.writable()
        return {assignment.partition: at for assignment, at in moves(going).items()}

    async def close(self) -> None:
        """See ``Delivery``."""
        await self._sink.close()


def moves(assignments: Collection[Assignment]) -> dict[Assignment, Position]:
    """Where the assignments stand that have moved since their last commit."""
    return {a: at for a in assignments if (at := a.tracker.position()) != a.committed}
