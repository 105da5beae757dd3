"""An in-memory sink: records appear in the broker when they are acknowledged.

Invariants: records of one key are written and acknowledged in the order in which they were handed over; each is
answered exactly once, on the event loop, unless the sink is closed first.
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable

from enricher.model import Outgoing
from enricher.protocols import Delivered, ProduceFailed
from enricher.testing.memory.broker import MemoryBroker


class MemorySink:
    """A producer, as ``enricher.protocols.Sink`` wants it: records appear in the broker when they are acknowledged.

    Args:
        broker: where records go.
        latency: seconds until a record is acknowledged; records of one key stay in order nevertheless.
        capacity: records that may be outstanding.
        max_bytes: a larger key and value are refused as too large.

    Attributes:
        refuse: asked for each record; what it returns is the answer, and nothing is written.
        connected: ``start`` waits for it; set by default.
    """

    def __init__(
        self,
        broker: MemoryBroker,
        *,
        latency: float | Callable[[], float] = 0.0,
        capacity: int = 100_000,
        max_bytes: int = 8 << 20,
    ) -> None:
        self._broker = broker
        self._latency = latency
        self._capacity = capacity
        self._max_bytes = max_bytes
        self.refuse: Callable[[Outgoing], ProduceFailed | None] = _not_refused
        self.connected = asyncio.Event()
        self.connected.set()
        self._lines: dict[tuple[str, bytes | None], deque[tuple[float, Outgoing, Delivered]]] = {}
        self._timers: deque[asyncio.TimerHandle] = deque()  # cancelled by kill(); those that fired do no harm
        self._moved = asyncio.Event()  # set at each acknowledgement
        self._closed = False
        self.outstanding = 0

    async def start(self) -> None:
        """Connect; see ``enricher.protocols.Sink``."""
        await self.connected.wait()

    def produce(self, record: Outgoing, delivered: Delivered) -> bool:
        """Hand over one record without waiting; see ``enricher.protocols.Sink``."""
        if self._closed:
            raise ProduceFailed("the sink is closed")
        if self.outstanding >= self._capacity:
            return False
        self.outstanding += 1
        latency = self._latency() if callable(self._latency) else self._latency
        line = self._lines.setdefault((record.topic, record.key), deque())
        loop = asyncio.get_running_loop()
        due = max(loop.time() + latency, line[-1][0] if line else 0.0)
        line.append((due, record, delivered))
        if math.isfinite(due):
            # Of equal times either timer may fire first, so each takes the oldest of its key rather than its own.
            self._timers.append(loop.call_at(due, self._acknowledge, record.topic, record.key))
        return True

    async def writable(self) -> None:
        """Return when ``produce`` is worth another try."""
        await asyncio.sleep(0.01)  # as late as the real one may be

    async def flush(self) -> None:
        """Return when everything that was produced is acknowledged or refused."""
        while self.outstanding:
            self._moved.clear()
            await self._moved.wait()

    async def close(self) -> None:
        """Release everything; see ``enricher.protocols.Sink``."""
        self.kill()

    def kill(self) -> None:
        """Be gone from one moment to the next: what is not acknowledged never is."""
        self._closed = True
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def _acknowledge(self, topic: str, key: bytes | None) -> None:
        line = self._lines[topic, key]
        _, record, delivered = line.popleft()
        if not line:
            del self._lines[topic, key]
        self.outstanding -= 1
        self._moved.set()
        size = len(record.key or b"") + len(record.value or b"")
        error = self.refuse(record)
        if error is None and size > self._max_bytes:
            error = ProduceFailed(f"MSG_SIZE_TOO_LARGE: {size} bytes", too_large=True)
        if error is None:
            self._broker.append(
                record.topic, record.value, key=record.key, headers=record.headers, timestamp=record.timestamp
            )
        delivered(error)


def _not_refused(_record: Outgoing) -> ProduceFailed | None:
    return None
