"""Delivery in transactions: a ``read_committed`` reader sees each record's output once.

Outputs and dead letters gather in memory. Each commit writes all of them in one transaction, together with the
positions that they resolve. An aborted transaction leaves them in memory for the next one, without new look-ups.

Invariants:

- The positions of a transaction resolve exactly what it, and the transactions that were committed before, have written.
- A result whose partition went is not written: it is dropped when the next transaction is put together. One that is
  under way then is refused by the broker, for the group has moved on.
- The end of a transaction is always waited for and taken note of, also when whoever asked for it was cancelled.
- After a failure nothing is committed any more: what the transaction held is resolved in the trackers, so that the
  next one would commit it without its outputs.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import structlog

from enricher.delivery import Owner, moves
from enricher.model import Outgoing, Position, Rejected, Stage, TopicPartition
from enricher.protocols import CommitFailed, ProduceFailed, Source, TransactionAborted, Transactions
from enricher.stats import Stats
from enricher.work import Assignment, Work

log = structlog.get_logger(__name__)

RETRY = 0.05
"""Seconds between an aborted transaction and the next where somebody waits for it."""


@dataclass(slots=True)
class Entry:
    """One output that waits for its transaction."""

    work: Work
    output: Outgoing
    rejected: Rejected | None
    counted: bool = False  # its offset is resolved in the tracker: only a transaction that holds it may commit that


class ExactlyOnce:
    """Outputs and offsets are written together, at intervals. Fits ``enricher.delivery.Delivery``."""

    _owner: Owner

    def __init__(self, source: Source, transactions: Transactions, stats: Stats) -> None:
        self._source = source
        self._transactions = transactions
        self._stats = stats
        self._entries: list[Entry] = []
        self._running: asyncio.Task[CommitFailed | None] | None = None
        self._failed = False

    def attach(self, owner: Owner) -> None:
        """See ``Delivery``."""
        self._owner = owner

    async def start(self) -> None:
        """See ``Delivery``."""
        await self._transactions.start()

    async def publish(self, work: Work, output: Outgoing, rejected: Rejected | None) -> None:
        """See ``Delivery``. What waits here is bounded by the caps on what the worker holds."""
        if work.assignment.current:
            work.assignment.handed += 1
            self._entries.append(Entry(work, output, rejected))
        else:
            self._owner.drop(work)

    async def commit(self, assignments: Collection[Assignment]) -> None:
        """See ``Delivery``."""
        while self._running is not None:
            await asyncio.wait([self._running])
        if self._failed:
            return  # the worker ends with the error
        running = self._running = asyncio.create_task(self._transact(list(assignments)))
        # The transaction goes on if we are cancelled: the next commit waits for it, and knows what came of it.
        await asyncio.wait([running])
        if (failed := running.result()) is not None:
            raise failed

    async def flush(self) -> None:
        """See ``Delivery``: nothing is under way but a transaction; the last commit writes what is left."""
        while self._running is not None:
            await asyncio.wait([self._running])

    async def settle(
        self, going: Collection[Assignment], assignments: Collection[Assignment], grace: float
    ) -> Mapping[TopicPartition, Position]:
        """See ``Delivery``. The transaction commits; nothing is left for the source to do."""
        del going
        with suppress(TimeoutError):
            async with asyncio.timeout(grace):
                while True:
                    try:
                        await self.commit(assignments)
                    except CommitFailed:
                        await asyncio.sleep(RETRY)
                    else:
                        break
        return {}

    async def close(self) -> None:
        """See ``Delivery``. What comes of a transaction that is still under way, the next worker will see."""
        if self._running is not None:
            self._running.cancel()
            await self.flush()
        await self._transactions.close()

    async def _transact(self, assignments: Collection[Assignment]) -> CommitFailed | None:
        """Returns what the commit is to raise, if anybody still waits for it."""
        try:
            await self._write(self._take(), assignments)
        except CommitFailed as failed:
            return failed
        except Exception as error:  # noqa: BLE001  whatever it was, the worker ends with it
            self._fail(error)
        finally:
            self._running = None
        return None

    def _fail(self, error: Exception) -> None:
        self._failed = True
        self._owner.failed(error)

    def _take(self) -> list[Entry]:
        """What the next transaction writes: all that waits, but for what is not ours any more."""
        entries, self._entries = self._entries, []
        taken: list[Entry] = []
        for entry in entries:
            assignment = entry.work.assignment
            if not assignment.current:
                self._owner.drop(entry.work)
                continue
            if not entry.counted:
                entry.counted = True
                assignment.handed -= 1
                assignment.tracker.resolve(entry.work.record.offset)
            taken.append(entry)
        return taken

    async def _write(self, entries: Sequence[Entry], assignments: Collection[Assignment]) -> None:
        moved = moves([assignment for assignment in assignments if assignment.current])
        if not entries and not moved:
            return
        positions = {assignment.partition: at for assignment, at in moved.items()}
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            await self._transactions.commit([entry.output for entry in entries], positions, self._source.group())
        except TransactionAborted as aborted:
            self._stats.aborted_transactions += 1
            self._put_back(entries, aborted)
            raise CommitFailed(f"the transaction was aborted: {aborted}") from aborted
        self._stats.commit_seconds.add(clock() - began)
        self._stats.commits += 1
        for assignment, at in moved.items():
            assignment.committed = at
        for entry in entries:
            self._owner.resolved(entry.work, entry.rejected)

    def _put_back(self, entries: Sequence[Entry], aborted: TransactionAborted) -> None:
        """Keep an aborted transaction's outputs for the next one; what is too large becomes a dead letter."""
        for index in aborted.too_large:
            entry = entries[index]
            if entry.rejected is not None:
                self._fail(ProduceFailed(f"the dead letter for topic {entry.output.topic} was not written: {aborted}"))
                continue
            entry.rejected = Rejected(Stage.PRODUCE, "OutputTooLarge", "the output is larger than the broker takes")
            entry.output = self._owner.dead_letter(entry.work, entry.rejected)
        self._entries[:0] = entries
