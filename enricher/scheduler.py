"""Per-key lanes: which event may be looked up next.

A *lane* is the queue of one key in one partition. Its head is ready, in flight or deferred (waiting to be tried
again); the others wait behind it. Different lanes never wait for each other, not even within a partition.

Invariants:

- Of one lane at most one work is ready, in flight or deferred at any time, and works leave it in the order in which
  they were admitted.
- A revoked partition leaves no lane behind but those with a work in flight; a work that is admitted to such a lane
  after the partition came back waits until the old one has ended.
- A deferred work holds no place in flight: what keeps failing does not starve the rest.
- Ready works are taken in the order in which they became ready.

Pure: ``now`` is an argument, seconds of any one clock.
"""

import heapq
from collections import deque
from collections.abc import Collection, Hashable, Sequence
from enum import StrEnum
from typing import Generic, Protocol, TypeVar

from enricher.model import TopicPartition


class Order(StrEnum):
    """Which events keep their order (setting ``delivery.order``)."""

    KEY = "key"
    PARTITION = "partition"
    NONE = "none"


class Schedulable(Protocol):
    """What the scheduler needs to know of a work."""

    @property
    def source(self) -> TopicPartition:
        """The partition that it came from."""
        ...

    @property
    def key(self) -> bytes | None:
        """The record's key; None is a lane of its own."""
        ...


W = TypeVar("W", bound=Schedulable)


class Scheduler(Generic[W]):
    """The lanes of all assigned partitions."""

    __slots__ = ("_deferred", "_lanes", "_order", "_ready", "_sequence", "in_flight")

    def __init__(self, order: Order = Order.KEY) -> None:
        self._order = order
        self._lanes: dict[Hashable, deque[W]] = {}  # there while a work of the lane is ready, in flight or deferred
        self._ready: deque[W] = deque()
        self._deferred: list[tuple[float, int, W]] = []
        self._sequence = 0  # makes equal due times comparable
        self.in_flight = 0

    def admit(self, work: W) -> None:
        """Queue a work behind those of its lane."""
        lane = self._lane(work)
        if lane is None:
            self._ready.append(work)
            return
        waiting = self._lanes.get(lane)
        if waiting is None:
            self._lanes[lane] = deque()
            self._ready.append(work)
        else:
            waiting.append(work)

    def take(self, now: float) -> W | None:
        """The next work to look up, which is in flight from now on; None if none is ready."""
        while self._deferred and self._deferred[0][0] <= now:
            self._ready.append(heapq.heappop(self._deferred)[2])
        if not self._ready:
            return None
        self.in_flight += 1
        return self._ready.popleft()

    def defer(self, work: W, due: float) -> None:
        """A work in flight is to be tried again at ``due``; its lane waits for it."""
        self.in_flight -= 1
        self._sequence += 1
        heapq.heappush(self._deferred, (due, self._sequence, work))

    def complete(self, work: W) -> None:
        """A work in flight has ended, however: the next of its lane is ready."""
        following = self.follow(work)
        if following is not None:
            self.in_flight -= 1
            self._ready.append(following)

    def follow(self, work: W) -> W | None:
        """A work in flight has ended, however: the next of its lane, if there is one, is in flight in its place."""
        lane = self._lane(work)
        if lane is not None:
            waiting = self._lanes[lane]
            if waiting:
                return waiting.popleft()
            del self._lanes[lane]
        self.in_flight -= 1
        return None

    def put_back(self, works: Sequence[W], *, first: bool) -> None:
        """These, in flight, are ready again: before all others, in this order, or behind them."""
        self.in_flight -= len(works)
        if first:
            self._ready.extendleft(reversed(works))
        else:
            self._ready.extend(works)

    @property
    def due(self) -> float | None:
        """When the next deferred work becomes ready."""
        return self._deferred[0][0] if self._deferred else None

    @property
    def ready(self) -> int:
        """How many works could be taken, not counting deferred ones that have become due since the last ``take``."""
        return len(self._ready)

    @property
    def lanes(self) -> int:
        """How many keys have a work that is not completed (works without a lane are not counted)."""
        return len(self._lanes)

    @property
    def waiting(self) -> int:
        """How many works are admitted and not in flight: ready, deferred, or behind another of their lane."""
        return len(self._ready) + len(self._deferred) + sum(map(len, self._lanes.values()))

    def revoke(self, partitions: Collection[TopicPartition]) -> list[W]:
        """Drop what is not in flight of these partitions; returns what was dropped.

        A work in flight still has to be completed, and its lane stays until then.
        """
        gone = set(partitions)
        dropped: list[W] = [work for work in self._ready if work.source in gone]
        dropped += [work for _, _, work in self._deferred if work.source in gone]
        heads = {lane for work in dropped if (lane := self._lane(work)) is not None}
        self._ready = deque(work for work in self._ready if work.source not in gone)
        self._deferred = [entry for entry in self._deferred if entry[2].source not in gone]
        heapq.heapify(self._deferred)
        for lane, waiting in list(self._lanes.items()):
            if waiting and waiting[0].source in gone:
                dropped += waiting
                waiting.clear()
            if lane in heads:
                del self._lanes[lane]
        return dropped

    def _lane(self, work: W) -> Hashable | None:
        """The identity of the work's lane, None for one that orders nothing."""
        if self._order is Order.KEY:
            key = work.key
            return None if key is None else (work.source, key)
        return work.source if self._order is Order.PARTITION else None
