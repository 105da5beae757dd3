"""An in-memory source: a member of a consumer group whose partitions the test gives and takes.

Invariants: everything happens on the event loop; the listener hears things in their order, and nothing while a
revocation waits for its answer; a source that is closed or killed has no timer left; nothing is committed for a
partition that went in the meantime.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

from enricher.model import Position, Record, TopicPartition
from enricher.protocols import CommitFailed, Listener, OnEnd
from enricher.testing.memory.broker import MemoryBroker

MAX_METADATA = 4096
"""Bytes of a commit's metadata that a broker refuses."""

CommitFault = Callable[[Mapping[TopicPartition, Position]], CommitFailed | None]


class Membership(NamedTuple):
    """A member of the group as it was when its listener had heard of its ``changes``-th gain or loss of partitions."""

    source: "MemorySource"
    changes: int

    @property
    def valid(self) -> bool:
        """Whether nothing has changed since, so that the broker takes what is shown with this."""
        return self.source.changes == self.changes


class MemorySource:
    """A member of a group, as ``enricher.protocols.Source`` wants it; which partitions it has is the test's decision.

    Args:
        broker: whose records it reads.
        group: whose positions it commits.
        reset: where to start without a committed offset inside the log: ``earliest`` or ``latest``.
        batch: records in one delivery, at the most.
        latency: seconds from an append to its delivery, and between deliveries.
        commit_latency: seconds from a commit to its answer; the broker takes it halfway.
        overshoot: records of a partition that were fetched already when it is paused, and still arrive.
        revoke_deadline: seconds that the listener gets to answer a revocation.
        initially: the partitions assigned at the start.

    Attributes:
        refuse_commit: asked at each commit; what it returns is the answer, and nothing is committed.
        lose_answer: likewise, but the broker did commit.
        paused: the partitions that are paused now.
        changes: how many times it has gained or lost partitions.
        on_end: see ``enricher.protocols.EndTellingSource``.
    """

    def __init__(
        self,
        broker: MemoryBroker,
        group: str,
        *,
        reset: str = "earliest",
        batch: int = 500,
        latency: float = 0.0,
        commit_latency: float = 0.0,
        overshoot: int = 0,
        revoke_deadline: float = 10.0,
        initially: Collection[TopicPartition] = (),
    ) -> None:
        self._broker = broker
        self._group = group
        self._reset = reset
        self._batch = batch
        self._latency = latency
        self._commit_latency = commit_latency
        self._overshoot = overshoot
        self._revoke_deadline = revoke_deadline
        self._initially = set(initially)
        self.refuse_commit: CommitFault = _no_fault
        self.lose_answer: CommitFault = _no_fault
        self.paused: set[TopicPartition] = set()
        self.changes = 0
        self.on_end: OnEnd | None = None
        self._ended: dict[TopicPartition, int] = {}  # the ends that were told
        self._heard = 0  # the changes that the listener knows of
        self._next: dict[TopicPartition, int] = {}  # of each assigned partition, the offset to deliver next
        self._generation: Counter[TopicPartition] = Counter()
        self._fetched: dict[TopicPartition, int] = {}  # of each paused partition, what may still arrive
        self._turn = asyncio.Lock()  # revocations, and sending commits, exclude each other as on the one thread
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._failed: Exception | None = None
        self._listener: Listener | None = None
        self._loop: asyncio.AbstractEventLoop

    @property
    def assigned(self) -> frozenset[TopicPartition]:
        """The partitions that it has."""
        return frozenset(self._next)

    # ---- what the pipeline calls -------------------------------------------------------------------------------

    async def start(self, listener: Listener) -> None:
        """Begin to deliver; see ``enricher.protocols.Source``."""
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._broker.attach(self._wake)
        self.assign(self._initially)
        if self._failed is not None:
            self.fail(self._failed)

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        """Deliver no more of these until resumed; see ``enricher.protocols.Source``."""
        for partition in self._next.keys() & set(partitions):
            self.paused.add(partition)
            self._fetched[partition] = self._overshoot

    def resume(self, partitions: Collection[TopicPartition]) -> None:
        """Deliver again; see ``enricher.protocols.Source``."""
        self._unpause(partitions)
        self._wake()

    async def commit(self, positions: Mapping[TopicPartition, Position]) -> None:
        """Commit, and return when the broker has answered; see ``enricher.protocols.Source``."""
        async with self._turn:
            mine = {partition: at for partition, at in positions.items() if partition in self._next}
            sent = {partition: self._generation[partition] for partition in mine}
        if not mine and not self._closed:
            return
        await asyncio.sleep(self._commit_latency / 2)
        if self._closed or any(sent[p] != self._generation[p] or p not in self._next for p in mine):
            raise CommitFailed("ILLEGAL_GENERATION: the partition went in the meantime")
        self._take_commit(mine)
        await asyncio.sleep(self._commit_latency / 2)
        if (error := self.lose_answer(mine)) is not None:
            raise error

    def group(self) -> object:
        """See ``enricher.protocols.Source``: the member as far as its listener knows."""
        return Membership(self, self._heard)

    async def close(self) -> None:
        """Give everything back and leave; see ``enricher.protocols.Source``."""
        if self._listener is None or self._closed:
            return
        try:
            await self.revoke(self.assigned)
        finally:
            self.kill()

    # ---- what the test calls -----------------------------------------------------------------------------------

    def assign(self, partitions: Collection[TopicPartition]) -> None:
        """Give it partitions, which it reads from where the group stands; before ``start``, from then on."""
        if self._listener is None:
            self._initially.update(partitions)
            return
        starts = {partition: self._start_of(partition) for partition in partitions}
        self._next.update({partition: start.offset for partition, start in starts.items()})
        self._generation.update(starts.keys())
        if starts:
            self._loop.call_soon(self._listener.assigned, starts)
            self._change()
        self._wake()

    async def revoke(self, partitions: Collection[TopicPartition]) -> None:
        """Take partitions back: ask the listener, commit its answer, and only then let them go."""
        self._initially.difference_update(partitions)
        async with self._turn:
            mine = self._next.keys() & set(partitions)
            if self._listener is None or self._closed or not mine:
                return
            positions: Mapping[TopicPartition, Position] = {}
            try:
                async with asyncio.timeout(self._revoke_deadline):
                    await asyncio.sleep(0)  # what was delivered before is heard before
                    positions = await self._listener.revoked(sorted(mine))
            except TimeoutError:
                self._loop.call_soon(self._listener.lost, sorted(mine))
            except Exception as error:  # noqa: BLE001  as on the real one's thread: the pipeline has to hear of it
                self.fail(error)
            if not self._closed:  # killed in the meantime
                with contextlib.suppress(CommitFailed):  # what is not committed is done again where they go
                    self._take_commit({p: at for p, at in positions.items() if p in mine & self._next.keys()})
            self._unassign(mine)
            self._change()
        self._wake()

    def lose(self, partitions: Collection[TopicPartition]) -> None:
        """Take partitions away without asking, as after a session timeout."""
        self._initially.difference_update(partitions)
        mine = self._next.keys() & set(partitions)
        self._unassign(mine)
        if self._listener is not None and mine:
            self._loop.call_soon(self._listener.lost, sorted(mine))
            self._change()

    def fail(self, error: Exception) -> None:
        """Meet an error that it cannot recover from; before ``start``, as soon as it has started."""
        self._failed = error
        if self._listener is not None:
            self._loop.call_soon(self._listener.failed, error)

    def kill(self) -> None:
        """Be gone from one moment to the next: nothing is delivered or committed any more."""
        if self._listener is not None and not self._closed:
            self._broker.detach(self._wake)
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._unassign(self.assigned)
        self.changes += 1

    # ---- inside ------------------------------------------------------------------------------------------------

    def _start_of(self, partition: TopicPartition) -> Position:
        low, high = self._broker.watermarks(partition)
        committed = self._broker.committed(self._group).get(partition)
        if committed is not None and low <= committed.offset <= high:
            return committed
        return Position(high if self._reset == "latest" else low)

    def _take_commit(self, positions: Mapping[TopicPartition, Position]) -> None:
        if not positions:
            return
        if (error := self.refuse_commit(positions)) is not None:
            raise error
        if any(len(at.metadata) >= MAX_METADATA for at in positions.values()):
            raise CommitFailed("OFFSET_METADATA_TOO_LARGE")
        self._broker.commit(self._group, positions)

    def _change(self) -> None:
        """Nothing counts that was shown before; what the listener was just told, it hears first."""
        self.changes += 1
        self._loop.call_soon(self._hear, self.changes)

    def _hear(self, changes: int) -> None:
        self._heard = changes

    def _unassign(self, partitions: Collection[TopicPartition]) -> None:
        self._unpause(partitions)
        for partition in list(partitions):
            self._next.pop(partition, None)
            self._ended.pop(partition, None)

    def _unpause(self, partitions: Collection[TopicPartition]) -> None:
        for partition in partitions:
            self.paused.discard(partition)
            self._fetched.pop(partition, None)

    def _wake(self) -> None:
        if self._timer is None and self._listener is not None and not self._closed:
            self._timer = self._loop.call_later(self._latency, self._deliver)

    def _deliver(self) -> None:
        self._timer = None
        if self._turn.locked() or self._listener is None:
            return  # a revocation wakes it when it is done; what sends a commit never waits
        batch: list[Record] = []
        for partition in sorted(self._next):
            count = self._batch - len(batch)
            if partition in self.paused:
                count = min(count, self._fetched[partition])
                self._fetched[partition] -= count
            records = self._broker.read(partition, self._next[partition], count) if count else []
            if records:
                self._next[partition] = records[-1].offset + 1
                batch += records
        if batch:
            self._wake()
            self._loop.call_soon(self._listener.records, batch)
        self._tell_ends()

    def _tell_ends(self) -> None:
        if self.on_end is None:
            return
        for partition, at in self._next.items():
            end = self._broker.watermarks(partition)[1]
            if not self._broker.read(partition, at, 1) and self._ended.get(partition) != end:
                self._ended[partition] = end
                self._loop.call_soon(self.on_end, partition, end)


def _no_fault(_positions: Mapping[TopicPartition, Position]) -> CommitFailed | None:
    return None
