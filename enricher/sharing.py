"""Which events share an answer, and for how long an answer is kept.

An event may share the answer to a call that *began* after the event was received: such an answer is as new as the
event, so nobody gets a staler history than the event deserves. The end of the call does not count, as the service may
have looked before the event took place. Under ``history.as_of: event`` what counts is the event's own time: what had
happened by then is in every answer to a later call.

Only answers are shared, never failures: an event is given up for its own attempts alone.

Invariants: of one customer at most one call is under way (``Calls``); the answers that are kept (``AnswerCache``) take
no more than so many bytes, and none is handed out when it is older than it may be. Pure: ``now`` is an argument.
"""

import sys
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

import msgspec

from enricher.model import Offer

W = TypeVar("W")

NEVER = -(1 << 63)
"""An ``asked_at`` before every event."""


class OnEmpty(StrEnum):
    """What to do with an empty history (setting ``history.on_empty``)."""

    ACCEPT = "accept"
    RETRY = "retry"


@dataclass(frozen=True, slots=True)
class EmptyPolicy:
    """How often an empty history is asked for again, and after how many seconds."""

    delay: float = 5.0
    attempts: int = 3


class Calls(Generic[W]):
    """The customers that are being asked for, and who waits for the end of such a call.

    Attributes:
        waiting: how many wait.
    """

    __slots__ = ("_waiting", "waiting")

    def __init__(self) -> None:
        self._waiting: dict[str, list[W] | None] = {}
        self.waiting = 0

    def begin(self, customer_id: str, work: W) -> bool:
        """A work wants to ask: True if it is to, False if it waits for the call that is under way."""
        waiting = self._waiting
        if customer_id not in waiting:
            waiting[customer_id] = None
            return True
        queue = waiting[customer_id]
        if queue is None:
            queue = waiting[customer_id] = []
        queue.append(work)
        self.waiting += 1
        return False

    def end(self, customer_id: str) -> Sequence[W]:
        """The call has ended, however; returns who waited for that, in their order."""
        queue = self._waiting.pop(customer_id)
        if queue is None:
            return ()
        self.waiting -= len(queue)
        return queue

    def __len__(self) -> int:
        return len(self._waiting)


class Kept(msgspec.Struct, frozen=True, gc=False):
    """An answer that is kept.

    Attributes:
        offers: what was answered.
        looked_up_at: when, in milliseconds since the epoch.
        began: when the call began, in seconds of the pipeline's clock.
        asked_at: the same in milliseconds since the epoch.
        size: bytes that it takes.
    """

    offers: tuple[Offer, ...]
    looked_up_at: int
    began: float
    asked_at: int
    size: int


class AnswerCache:
    """Keeps answers for a while; of too many, those that were not used for the longest time go.

    Args:
        ttl: seconds from the beginning of the call.
        max_bytes: of all that is kept, by estimate.
        by_event: an answer serves only events of before it was asked for.
    """

    __slots__ = ("_by_event", "_kept", "_max_bytes", "_ttl", "bytes")

    def __init__(self, ttl: float, max_bytes: int, *, by_event: bool = False) -> None:
        self._ttl = ttl
        self._max_bytes = max_bytes
        self._by_event = by_event
        self._kept: OrderedDict[str, Kept] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, customer_id: str, contact_time: int, now: float) -> Kept | None:
        """The answer for an event of this customer and time, if there is one that may serve it."""
        kept = self._kept.get(customer_id)
        if kept is None:
            return None
        if now - kept.began >= self._ttl:
            self._drop(customer_id)
            return None
        if self._by_event and contact_time > kept.asked_at:
            return None
        self._kept.move_to_end(customer_id)
        return kept

    def put(self, customer_id: str, offers: tuple[Offer, ...], looked_up_at: int, began: float, asked_at: int) -> None:
        """Keep an answer, in place of the one before."""
        self._drop(customer_id)
        size = _ENTRY + sys.getsizeof(customer_id) + size_of(offers)
        if size > self._max_bytes:
            return
        self._kept[customer_id] = Kept(offers, looked_up_at, began, asked_at, size)
        self.bytes += size
        while self.bytes > self._max_bytes:
            self._drop(next(iter(self._kept)))

    def _drop(self, customer_id: str) -> None:
        kept = self._kept.pop(customer_id, None)
        if kept is not None:
            self.bytes -= kept.size


_ENTRY = 400
"""Bytes of an entry beside the customer's id and the offers: the value, and its place in the map."""


def size_of(offers: tuple[Offer, ...]) -> int:
    """Bytes in memory of the offers, at the most: what they share is counted for each."""
    size = sys.getsizeof(offers)
    for offer in offers:
        size += sys.getsizeof(offer)
        for name in offer.__struct_fields__:
            value = getattr(offer, name)
            size += size_of(value) if isinstance(value, tuple) else sys.getsizeof(value)
    return size
