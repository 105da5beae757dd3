"""How the pipeline stands at one moment, as values that any thread may read: for metrics and the status page.

Invariants: taking it costs as much as there are partitions and lanes, not records; nothing in it identifies a customer.
"""

from typing import NamedTuple

from enricher.holdings import Holdings
from enricher.lookups import Lookups


class Holding(NamedTuple):
    """Records held, and how many of them wait for others: handed to Kafka, or in need of a schema from the registry."""

    records: int
    handed: int


class PartitionState(NamedTuple):
    """One partition that is ours. Offsets are those of the next record, as Kafka counts them.

    Attributes:
        topic, partition: which.
        epoch: the number of this assignment among those of the worker.
        committed: what is committed.
        resolved: the lowest offset that is not resolved: all below it are.
        seen: one past the highest record that was taken.
        unresolved: records taken and not resolved.
        held: records held.
        paused: whether it is not read at the moment, for the bounds.
        full: whether the map of completed offsets is full, so that it must not be read on.
        oldest_seconds: for how long the oldest unresolved record has been here; 0 if there is none.
        timestamp: milliseconds since the epoch, of about the oldest unresolved record, or the last one taken where all
            are resolved; None where it is not known.
    """

    topic: str
    partition: int
    epoch: int
    committed: int
    resolved: int
    seen: int
    unresolved: int
    held: int
    paused: bool
    full: bool
    oldest_seconds: float
    timestamp: int | None


class State(NamedTuple):
    """The whole pipeline.

    Attributes:
        partitions: those that are ours, in order.
        in_flight: look-ups under way, handing over included.
        limit: how many there may be.
        lanes: keys with an event that is not completed.
        waiting: events that wait for their look-up, or for that of another event which they may share.
        breaker_open: whether the service counts as down.
        records, bytes: held.
        max_records, max_bytes: that may be held.
        wall: seconds since the epoch when this was taken.
    """

    partitions: tuple[PartitionState, ...]
    in_flight: int
    limit: int
    lanes: int
    waiting: int
    breaker_open: bool
    records: int
    bytes: int
    max_records: int
    max_bytes: int
    wall: float


def take_state(held: Holdings, lookups: Lookups, now: float, wall: float) -> State:
    """Look at the parts; on their event loop."""
    buffer, scheduler = held.buffer, lookups.scheduler
    paused = buffer.paused
    partitions = []
    for assignment in held.current:
        tracker, where, oldest = assignment.tracker, assignment.partition, assignment.oldest
        mark = oldest or (assignment.marks[-1] if assignment.marks else None)
        partitions.append(
            PartitionState(
                where.topic,
                where.partition,
                assignment.epoch,
                assignment.committed.offset,
                tracker.base,
                tracker.seen,
                tracker.pending,
                buffer.held(where),
                where in paused,
                tracker.full,
                now - oldest.taken if oldest is not None else 0.0,
                mark.timestamp if mark is not None and mark.timestamp >= 0 else None,
            )
        )
    return State(
        tuple(sorted(partitions)),
        lookups.in_flight,
        lookups.limit,
        scheduler.lanes,
        scheduler.waiting + lookups.sharing,
        lookups.breaker.open,
        buffer.records,
        buffer.bytes,
        buffer.max_records,
        buffer.max_bytes,
        wall,
    )
