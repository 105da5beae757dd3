"""The heartbeat of the worker's event loop, and what it remembers of the last minutes.

Invariant: a beat costs some microseconds; how late it comes is the loop's lag.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable
from copy import copy
from typing import NamedTuple

from enricher.observability.view import NOTHING_RECENT, Recent
from enricher.pulse import Pulse
from enricher.state import Holding
from enricher.stats import Histogram, Stats

INTERVAL = 0.05
"""Seconds between two beats: so often that the lag's quantiles can be told after half a minute."""

KEEP_EVERY = 10.0
"""Seconds between two moments that are remembered."""

KEPT = 30
"""Moments that are remembered: five minutes."""

RATE_OVER = 25.0
"""Seconds, at the least, over which the present rate is told: so much that a commit or a collection does not show."""


class _Moment(NamedTuple):
    at: float
    enriched: int
    failures: Counter[str]
    dead_letters: Counter[tuple[str, str]]
    lookup_seconds: Histogram

    @classmethod
    def of(cls, stats: Stats, now: float) -> "_Moment":
        return cls(
            now, stats.enriched, Counter(stats.failures), Counter(stats.dead_letters), copy(stats.lookup_seconds)
        )


class Heartbeat:
    """Beats as long as the event loop runs.

    Args:
        stats: looked at for progress.
        pulse: told of each beat.
        holding: asked at each beat.
    """

    def __init__(self, stats: Stats, pulse: Pulse, holding: Callable[[], Holding]) -> None:
        self._stats = stats
        self._pulse = pulse
        self._holding = holding
        self._moments: deque[_Moment] = deque(maxlen=KEPT)
        self._counts: tuple[int, ...] = ()

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            due = time.monotonic() + INTERVAL
            await asyncio.sleep(INTERVAL)
            now = time.monotonic()
            self._stats.loop_lag_seconds.add(max(0.0, now - due))
            self.beat(now)

    def beat(self, now: float) -> None:
        """Note that the loop runs, and whether anything goes on."""
        pulse, stats = self._pulse, self._stats
        pulse.loop = now
        pulse.held, pulse.handed = self._holding()
        counts = (stats.received, stats.enriched, stats.lookups, stats.failures.total(), stats.dead_lettered)
        if counts != self._counts or not pulse.held:
            self._counts = counts
            pulse.progressed = now
        if not self._moments or now - self._moments[-1].at >= KEEP_EVERY:
            self._moments.append(_Moment.of(stats, now))

    def recent(self, now: float) -> Recent:
        """What has happened since the oldest moment that is remembered."""
        if not self._moments:
            return NOTHING_RECENT
        then, stats = self._moments[0], self._stats
        lately = next((moment for moment in reversed(self._moments) if now - moment.at >= RATE_OVER), then)
        return Recent(
            now - then.at,
            stats.failures - then.failures,
            stats.dead_letters - then.dead_letters,
            stats.lookup_seconds.since(then.lookup_seconds),
            (stats.enriched - lately.enriched) / (now - lately.at) if now > lately.at else None,
        )
