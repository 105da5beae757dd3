"""How many look-ups may be in flight, and how many may begin in a second.

``Limiter`` finds what the service bears from the latency of its answers and the share of failures, as Netflix's
Gradient2 (https://github.com/Netflix/concurrency-limits), Envoy's adaptive concurrency
(https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/adaptive_concurrency_filter) and Vector's
ARC (https://vector.dev/blog/adaptive-request-concurrency/) do. It compares what it sees with a *base*: the latency and
the share of failures of the service when we put little load on it. From Gradient2 it has the step: down in proportion
to the latency, up by a part of the limit. From Envoy it has that the base is measured, by asking less for a moment.
What is its own is that a reduction which does not help is taken back: latency that does not follow the number of
look-ups in flight is not of our making, and then it is the new base. So a service that has become slower, or fails for
another reason than load, is not starved.

Invariants: the limit is from 1 to the maximum; only look-ups that began under the present limit are judged; latency
that is the event loop's own (``lagged``) is not held against the service. ``RateLimit`` never lets more begin in any
second than the rate, but for a tenth of a second's worth at once. Pure: ``now`` is an argument, seconds of one clock.
"""

import math
from enum import StrEnum

INITIAL = 20
"""Where the limit begins, as that of Netflix; it doubles until the first sign of load."""

TOLERANCE = 1.25
"""How many times the base the latency may be."""

SLACK = 0.005
"""Seconds above the base that are never a sign of load."""

FAILING = 0.1
"""How far above the base the share of failures may be."""

GROWTH = 0.05
"""The part of the limit by which it is raised after a sign of load; twice as much each time that this is borne."""

MAX_GROWTH = 0.4
"""The end of that."""

WINDOW = 0.1
"""Seconds over which one judgement is made, at the least; a slow service's latency is another bound."""

SAMPLES = 10
"""Look-ups of which one judgement is made, at the least."""

SETTLING = 2.0
"""Seconds at the most from a change of the limit until its effect is looked at; else it is one latency."""

REBASE = 5.0
"""Seconds between two measurements of the base, while the limit is below the maximum."""

OWN = 5.0
"""How many times the event loop's lag an answer may be late before that is held against the service: on its way it
waits for the loop more than once, and more than on the average."""

LAG_INTERVAL = 0.01
"""Seconds between two measurements of the event loop's lag, at the least; each is of a timer of that length."""


class LimiterKind(StrEnum):
    """What decides how many look-ups may be in flight (setting ``service.limiter``)."""

    ADAPTIVE = "adaptive"
    FIXED = "fixed"


class Limiter:
    """Finds how many look-ups may be in flight.

    Args:
        maximum: never more than these.

    Attributes:
        limit: how many may be in flight now.
        wanted: set by whoever would start a look-up and may not; only a limit that is in the way is raised.
        lag_due: from when on the event loop's lag is to be measured again.
    """

    __slots__ = (
        "_anchor", "_base", "_changed", "_failed", "_growth", "_lag", "_last", "_latencies", "_level", "_maximum",
        "_rebase_at", "_resume", "_since", "_suspected", "_usual", "_window", "lag_due", "limit", "wanted",
    )  # fmt: skip

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._level = float(min(maximum, INITIAL))  # the limit before it is rounded
        self.limit = int(self._level)
        self.wanted = False
        self.lag_due = 0.0
        self._growth = 1.0
        self._last = 0.0  # latency of the last window
        self._base = math.nan  # until the first window
        self._window = WINDOW
        self._usual = 0.0  # the base of the share of failures
        self._changed = float("-inf")  # look-ups that began before its effect was to be seen are not judged
        self._since: float | None = None  # when the first of the window ended
        self._latencies: list[float] = []
        self._failed = 0
        self._lag = 0.0
        self._suspected = False  # whether the last window alone was slow, under a limit that had been borne
        self._anchor: tuple[float, float, float] | None = None  # level, latency, share before a series of reductions
        self._resume = 0.0  # the level to go back to when the base is measured; 0 while it is not
        self._rebase_at = float("-inf")

    def answered(self, began: float, now: float) -> None:
        """The service answered a look-up."""
        if began >= self._changed:
            self._latencies.append(now - began)
            if self._since is None:
                self._since = now
            elif now - self._since >= self._window:
                self._judge(now)

    def failed(self, began: float, now: float) -> None:
        """A look-up met what may be overload."""
        if began >= self._changed:
            self._failed += 1
            if self._since is None:
                self._since = now
            elif now - self._since >= self._window:
                self._judge(now)

    def lagged(self, seconds: float, now: float) -> None:
        """So late the event loop was with what was due."""
        self._lag += (seconds - self._lag) * 0.2
        self.lag_due = now

    def recovered(self, now: float) -> None:
        """The service is back after an outage, which says nothing of what it bears."""
        self._anchor, self._resume = None, 0.0
        self._growth = 1.0
        self._set(max(self._level, min(self._maximum, INITIAL)), now)

    def _judge(self, now: float) -> None:
        """Close the window and draw the conclusions, if it holds enough."""
        ended = len(self._latencies) + self._failed
        if ended < SAMPLES:
            return
        share = self._failed / ended
        latency = self._middle()
        if math.isnan(self._base):
            self._base, self._rebase_at = latency, now + REBASE / 5.0
        if self._resume:
            self._measured(latency, share, now)
            return
        self._last = latency
        if latency < self._base:
            self._base += (latency - self._base) * 0.1
        self._window = max(WINDOW, self._base)  # less would be a part of a wave of answers
        target = max(self._base * TOLERANCE, self._base + SLACK)
        if share > self._usual + FAILING:
            self._loaded(latency, share, target, now)
        elif latency - self._lag * (OWN - 1.0) <= target:  # else where there is too little CPU it would never rise
            self._anchor, self._suspected = None, False
            self._calm(now)
        elif self._level >= self._maximum and self._anchor is None and not self._suspected:
            # All that may be was borne so far. One slow window is a pause of somebody's, such as a garbage
            # collection, more often than it is load, and a reduction costs a fifth of a second's work.
            self._suspected = True
            self._clear()
        else:
            self._suspected = False
            self._loaded(latency, share, target, now)

    def _calm(self, now: float) -> None:
        """The service bears it: raise the limit if it is in the way."""
        if self._level < self._maximum and now >= self._rebase_at and self._growth < 1.0:
            self._measure_base(now)
        elif self.wanted and self._level < self._maximum:
            step = max(1.0, self._level * self._growth)
            if self._growth < 1.0:
                self._growth = min(MAX_GROWTH, self._growth * 2.0)
            self._set(self._level + step, now)
        else:
            self._clear()

    def _loaded(self, latency: float, share: float, target: float, now: float) -> None:
        """There are signs of load: lower the limit, unless that has just been seen not to help."""
        self._growth = GROWTH
        if self._anchor is None:
            self._anchor = (self._level, latency, share)
        level, latency_then, share_then = self._anchor
        lowered = self._level / level
        if lowered <= 0.75:  # noqa: PLR2004  a reduction whose effect stands out from the noise
            helps = (1.0 + lowered) / 2.0
            still_rising = latency > latency_then * 1.1  # what is seen is not yet what comes of it
            if latency >= latency_then * helps and share >= share_then * helps and not still_rising:
                self._base, self._usual, self._anchor = latency, share, None
                self._set(level, now)
                return
            self._anchor = (self._level, latency, share)
        step = max(0.5, target / latency) if latency > target else 1.0
        if share > self._usual + FAILING:
            step = min(step, 0.7)
        self._set(self._level * step, now)

    def _measure_base(self, now: float) -> None:
        """Ask half as much for one window."""
        self._resume = self._level
        self._set(self._level / 2.0, now)

    def _measured(self, latency: float, share: float, now: float) -> None:
        gain = self._last - latency
        # Half the load, half the latency: it is loaded still, unless that is what the loop's lag may make of it.
        if gain > self._last * 0.4 and gain > self._lag * (OWN - 1.0) and self._level > 1.0:
            self._base = min(self._base, latency)
            self._last = latency
            self._set(self._level / 2.0, now)
            return
        self._base += (latency - self._base) * 0.5
        self._usual = min(self._usual, share)
        self._rebase_at = now + REBASE
        level, self._resume = self._resume, 0.0
        self._set(level, now)

    def _middle(self) -> float:
        """The mean of the middle half of the latencies, without the event loop's lag; the base where all failed."""
        ordered = sorted(self._latencies)
        quarter = len(ordered) // 4
        middle = ordered[quarter : len(ordered) - quarter]
        if not middle:
            return 0.0 if math.isnan(self._base) else self._base
        return max(0.0, sum(middle) / len(middle) - self._lag)

    def _set(self, level: float, now: float) -> None:
        self._level = min(float(self._maximum), max(1.0, level))
        limit = int(self._level)
        if limit != self.limit:
            self.limit, self._changed = limit, now + min(self._last, SETTLING)
        self._clear()

    def _clear(self) -> None:
        self._since = None
        self._latencies.clear()
        self._failed = 0
        self.wanted = False


class RateLimit:
    """How many look-ups may begin in a second: the generic cell rate algorithm (https://en.wikipedia.org/wiki/GCRA).

    Args:
        rate: per second, above 0.
    """

    __slots__ = ("_burst", "_full", "_interval")

    def __init__(self, rate: float) -> None:
        self._interval = 1.0 / rate
        self._burst = max(0.0, 0.1 - self._interval)
        self._full = float("-inf")

    @property
    def free_at(self) -> float:
        """From when on the next one may begin."""
        return self._full - self._burst

    def started(self, now: float) -> None:
        """One begins."""
        self._full = max(self._full, now) + self._interval
