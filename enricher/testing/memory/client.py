"""An in-memory history service: answers, latencies and failures as the test scripts them.

Invariants: one call is one attempt; ``calls`` has every one of them, and nothing else is remembered.
"""

import asyncio
import math
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from enricher.model import LookupFailure, Offer
from enricher.protocols import Answer


class Call(NamedTuple):
    """One look-up that was asked for: whose, the how manieth of this customer (from 0), and when (seconds)."""

    customer_id: str
    attempt: int
    at: float


class MemoryClient:
    """The history service, as ``enricher.protocols.HistoryClient`` wants it.

    Args:
        latency: seconds until a call is answered (``math.inf``: never), or a function of the call.
        fails: tells how a call fails, None for an answer.

    Attributes:
        histories: the offers of each customer; none by default.
        calls: all calls, in their order.
        in_flight, most_in_flight: calls under way, now and at most.
    """

    def __init__(
        self,
        *,
        latency: float | Callable[[Call], float] = 0.0,
        fails: Callable[[Call], LookupFailure | None] = lambda _call: None,
    ) -> None:
        self.latency = latency
        self.fails = fails
        self.histories: dict[str, tuple[Offer, ...]] = {}
        self.calls: list[Call] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self._attempts: Counter[str] = Counter()

    async def fetch(self, customer_id: str) -> Answer:
        """One call, answered as scripted; see ``enricher.protocols.HistoryClient``."""
        loop = asyncio.get_running_loop()
        call = Call(customer_id, self._attempts[customer_id], loop.time())
        self._attempts[customer_id] += 1
        self.calls.append(call)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            latency = self.latency(call) if callable(self.latency) else self.latency
            if math.isinf(latency):
                await loop.create_future()
            await asyncio.sleep(latency)
            if (failure := self.fails(call)) is not None:
                raise failure
            return Answer(self.histories.get(customer_id, ()), int(loop.time() * 1000))
        finally:
            self.in_flight -= 1

    async def close(self) -> None:
        """Nothing to close."""
