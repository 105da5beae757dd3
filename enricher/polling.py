"""Polls a producer that has nothing to do.

librdkafka makes its statistics every ``statistics.interval.ms`` whether or not anybody takes them, and holds them until
``poll`` is called. A producer that is polled only while something is under way would gather them for as long as nothing
comes, tens of megabytes a day.
"""

import asyncio
from collections.abc import Callable

INTERVAL = 1.0
"""Seconds between two polls."""


class Polling:
    """A timer of the running loop, from when it is made until it is stopped.

    Args:
        poll: polls without waiting, if nobody else does.
    """

    def __init__(self, poll: Callable[[], object]) -> None:
        self._poll = poll
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(INTERVAL, self._go)

    def stop(self) -> None:
        """Poll no more."""
        self._timer.cancel()

    def _go(self) -> None:
        self._poll()
        self._timer = self._loop.call_later(INTERVAL, self._go)
