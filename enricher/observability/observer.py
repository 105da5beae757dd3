"""Takes views of the worker from another thread.

Invariants: what changes is copied on the worker's own event loop; a loop that does not answer costs the asker a bounded
wait, and it gets the last view with the newest signs of life; many askers cost the loop no more than a few.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress

from enricher.observability.heartbeat import Heartbeat
from enricher.observability.view import NOTHING_RECENT, Taken, View, take
from enricher.pulse import Pulse
from enricher.state import State
from enricher.stats import Stats

PATIENCE = 2.0
"""Seconds that the worker's event loop gets to answer."""

FRESH = 0.1
"""Seconds for which a view is good enough for who asks next."""

_EMPTY = State((), 0, 0, 0, 0, breaker_open=False, records=0, bytes=0, max_records=0, max_bytes=0, wall=0.0)


class Observer:
    """Looks at one worker.

    Args:
        stats: its counts.
        pulse: its signs of life.
        state: tells how its pipeline stands, on its event loop.
        heartbeat: of its event loop.
        loop: its event loop.
    """

    def __init__(
        self,
        stats: Stats,
        pulse: Pulse,
        state: Callable[[], State],
        heartbeat: Heartbeat,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._stats = stats
        self.pulse = pulse
        self._state = state
        self._heartbeat = heartbeat
        self._loop = loop
        self._last = take(stats, _EMPTY, pulse, 0.0, NOTHING_RECENT)

    async def view(self) -> View:
        """A view, as new as may be had. Called on any loop but the worker's."""
        if time.monotonic() - self._last.now > FRESH:
            answer: Future[Taken] = Future()
            with suppress(RuntimeError, TimeoutError):  # the loop is closed, or does not answer
                self._loop.call_soon_threadsafe(self._take, answer)
                async with asyncio.timeout(PATIENCE):
                    self._last = await asyncio.wrap_future(answer)
        return self._last._replace(pulse=self.pulse, now=time.monotonic()).view()

    def _take(self, answer: "Future[Taken]") -> None:
        if not answer.set_running_or_notify_cancel():
            return
        now = time.monotonic()
        answer.set_result(take(self._stats, self._state(), self.pulse, now, self._heartbeat.recent(now)))
