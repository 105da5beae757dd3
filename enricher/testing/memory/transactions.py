"""An in-memory transactional producer: records and positions appear in the broker together, or not at all.

Invariants: the broker decides at one moment, after which the outcome does not change, whether or not anybody still
waits for it; what a member shows that is none any more, or whose group has moved on, is aborted. As with Kafka nobody
looks which partitions the member has: to name others is the caller's fault, and counts.
"""

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence

from enricher.model import Outgoing, Position, TopicPartition
from enricher.protocols import ProduceFailed, TransactionAborted
from enricher.testing.memory.broker import MemoryBroker
from enricher.testing.memory.source import MAX_METADATA, Membership

Fault = Callable[[Sequence[Outgoing], Mapping[TopicPartition, Position]], TransactionAborted | ProduceFailed | None]


class MemoryTransactions:
    """Transactions, as ``enricher.protocols.Transactions`` wants them.

    Args:
        broker: where records and positions go.
        group: whose positions they are.
        latency: seconds until the broker decides (``math.inf``: never), or a function that gives them.
        late: seconds from the decision to the answer, likewise.
        max_bytes: a larger key and value abort the transaction as too large.

    Attributes:
        fault: asked when the broker decides; what it returns is the answer, and nothing is written.
        connected: ``start`` waits for it; set by default.
        under_way: whether a transaction was begun and not answered yet.
    """

    def __init__(
        self,
        broker: MemoryBroker,
        group: str,
        *,
        latency: float | Callable[[], float] = 0.0,
        late: float | Callable[[], float] = 0.0,
        max_bytes: int = 8 << 20,
    ) -> None:
        self._broker = broker
        self._group = group
        self._latency = latency
        self._late = late
        self._max_bytes = max_bytes
        self.fault: Fault = _no_fault
        self.connected = asyncio.Event()
        self.connected.set()
        self._answer: asyncio.Future[None] | None = None  # of the transaction that is under way
        self._decided: list[Exception | None] = []  # its outcome, once the broker has decided
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def under_way(self) -> bool:
        """Whether a transaction was begun and not answered yet."""
        return self._answer is not None

    async def start(self) -> None:
        """Connect; see ``enricher.protocols.Transactions``."""
        await self.connected.wait()

    async def commit(
        self, records: Sequence[Outgoing], positions: Mapping[TopicPartition, Position], group: object
    ) -> None:
        """Write the records and commit the positions, all or nothing; see ``enricher.protocols.Transactions``."""
        if self._closed:
            raise ProduceFailed("the transactional producer is closed")
        if self._answer is not None:
            raise RuntimeError("a transaction is under way")
        if positions and group is None:
            raise TransactionAborted("the group has not told as which member the partitions are held")
        if not isinstance(group, Membership):
            raise TypeError(f"not of a member of the group: {group!r}")
        answer = self._answer = asyncio.get_running_loop().create_future()
        answer.add_done_callback(lambda future: future.exception())  # nobody may wait any more
        self._after(_seconds(self._latency), lambda: self._decide(list(records), dict(positions), group))
        await asyncio.wait([answer])  # which leaves it alone if we are cancelled
        answer.result()

    async def close(self) -> None:
        """Release everything; see ``enricher.protocols.Transactions``. What is decided is still told."""
        if self._decided:
            self._end(self._decided[0])
        self.kill()

    def kill(self) -> None:
        """Be gone from one moment to the next: what is not decided is aborted by its timeout."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._end(ProduceFailed("the transactional producer was closed"))

    def _decide(
        self, records: Sequence[Outgoing], positions: Mapping[TopicPartition, Position], member: Membership
    ) -> None:
        error = self._objection(records, positions, member)
        if error is None:
            for record in records:
                self._broker.append(
                    record.topic, record.value, key=record.key, headers=record.headers, timestamp=record.timestamp
                )
            self._broker.commit(self._group, positions)
        self._decided = [error]
        self._after(_seconds(self._late), lambda: self._end(error))

    def _objection(
        self, records: Sequence[Outgoing], positions: Mapping[TopicPartition, Position], member: Membership
    ) -> TransactionAborted | ProduceFailed | None:
        too_large = [
            index
            for index, record in enumerate(records)
            if len(record.key or b"") + len(record.value or b"") > self._max_bytes
        ]
        if too_large:
            return TransactionAborted(f"MSG_SIZE_TOO_LARGE: over {self._max_bytes} bytes", too_large=too_large)
        if not member.valid:
            return TransactionAborted("ILLEGAL_GENERATION: the group has moved on")
        if any(len(at.metadata) >= MAX_METADATA for at in positions.values()):
            return TransactionAborted("OFFSET_METADATA_TOO_LARGE")
        return self.fault(records, positions)

    def _after(self, seconds: float, call: Callable[[], None]) -> None:
        if math.isfinite(seconds):
            self._timer = asyncio.get_running_loop().call_later(seconds, call)

    def _end(self, error: Exception | None) -> None:
        answer, self._answer, self._decided = self._answer, None, []
        if answer is None:
            return
        if error is None:
            answer.set_result(None)
        else:
            answer.set_exception(error)


def _seconds(latency: float | Callable[[], float]) -> float:
    return latency() if callable(latency) else latency


def _no_fault(
    _records: Sequence[Outgoing], _positions: Mapping[TopicPartition, Position]
) -> TransactionAborted | ProduceFailed | None:
    return None
