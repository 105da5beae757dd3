"""What the consumer's thread has read, on its way to the event loop.

Invariants: batches arrive in their order, and at most ``BATCHES_AHEAD`` of them are with the loop; what it has no time
for waits here, where it can still be taken back. No turn of the loop hands over more than ``SLICE`` records, and what
else the thread tells comes after all that was read before it.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Collection, Mapping
from typing import TypeAlias

from enricher.model import Record, TopicPartition

BATCHES_AHEAD = 2
"""What the thread may be ahead of the loop."""

SLICE = 64
"""Records of a batch that are handed over in one turn of the loop: about a millisecond's work."""

Ends: TypeAlias = Mapping[TopicPartition, int]
Deliver: TypeAlias = Callable[[list[Record], Ends], None]


class Handover:
    """The way of records, and of what is told besides.

    Args:
        post: has the event loop call something.
        deliver: called there, with records, and the ends of partitions that were met behind them.
    """

    def __init__(self, post: Callable[..., None], deliver: Deliver) -> None:
        self._post = post
        self._deliver = deliver
        self._ahead = threading.Semaphore(BATCHES_AHEAD)
        self._waiting: deque[tuple[list[Record], Ends]] = deque()  # the thread's own
        self._arrived: deque[tuple[list[Record], Ends]] = deque()  # the loop's own: not delivered yet

    # ---- on the thread -----------------------------------------------------------------------------------------

    def __bool__(self) -> bool:
        """Whether something waits."""
        return bool(self._waiting)

    def add(self, batch: list[Record], ends: Ends) -> None:
        """This was read."""
        if batch or ends:
            self._waiting.append((batch, ends))

    def pass_on(self, patience: float) -> bool:
        """Hand over what waits longest, if the loop has taken what went before, within so many seconds."""
        if not self._ahead.acquire(timeout=patience):
            return False
        self._post(self._arrive, *self._waiting.popleft())
        return True

    def forget(self, partitions: Collection[TopicPartition]) -> None:
        """Take back what waits of these: nobody has heard of it, and whoever gets the partitions reads it."""
        gone = set(partitions)
        for _ in range(len(self._waiting)):
            batch, ends = self._waiting.popleft()
            self.add(
                [record for record in batch if record.source not in gone],
                {partition: offset for partition, offset in ends.items() if partition not in gone},
            )

    def tell(self, call: Callable[..., None], *args: object) -> None:
        """Have the loop call something, after all that was handed over before."""
        self._post(self._in_order, call, *args)

    # ---- on the event loop -------------------------------------------------------------------------------------

    def catch_up(self) -> None:
        """Deliver all that has arrived."""
        while self._arrived:
            self._deliver_slice()

    def _arrive(self, batch: list[Record], ends: Ends) -> None:
        self._arrived.append((batch, ends))
        if len(self._arrived) == 1:
            self._deliver_slice()

    def _deliver_slice(self) -> None:
        if not self._arrived:
            return  # delivered by catch_up
        batch, ends = self._arrived[0]
        records, rest = batch[:SLICE], batch[SLICE:]
        if rest:
            self._arrived[0] = rest, ends
        else:
            self._arrived.popleft()
            self._ahead.release()
        if self._arrived:
            asyncio.get_running_loop().call_soon(self._deliver_slice)
        self._deliver(records, {} if rest else ends)

    def _in_order(self, call: Callable[..., None], *args: object) -> None:
        self.catch_up()
        call(*args)
