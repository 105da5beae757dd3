"""Counts and latencies of one worker: plain numbers that the pipeline updates and others read.

Invariants: counters only grow; latencies are kept as a histogram with a fixed number of buckets, so that the memory
is constant; nothing here identifies a customer. Pure.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

BOUNDS: Sequence[float] = tuple(0.0001 * 1.1**step for step in range(150))
"""Upper bounds of the histogram's buckets, seconds: 0.1 ms to about 150 s, each 10 % above the one before."""


class Histogram:
    """Durations in seconds, to within 10 %."""

    __slots__ = ("count", "counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.count = 0
        self.total = 0.0

    def add(self, seconds: float) -> None:
        """Count one duration."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.count += 1
        self.total += seconds

    def quantile(self, q: float) -> float:
        """The upper bound of the bucket that holds the ``q`` quantile (0 to 1); 0 where nothing was counted."""
        rank = q * self.count
        seen = 0
        for index, count in enumerate(self.counts):
            seen += count
            if seen >= rank and seen:
                return BOUNDS[min(index, len(BOUNDS) - 1)]
        return 0.0


@dataclass(slots=True)
class Stats:
    """What one worker has done since it started.

    Attributes:
        received: records taken from Kafka.
        skipped: of those, resolved already before a restart or a rebalance.
        enriched: enriched events acknowledged by the broker.
        dead_letters: dead letters acknowledged, by stage and cause.
        passed_through: events published without a history, as the service did not answer.
        left_out: records that a replay's range and filters leave out; resolved without an output.
        dropped: works given up because their partition went to another worker.
        failures: failed attempts, by kind.
        lookups: attempts that were answered.
        retries: attempts put off to be made again.
        commits: successful commits.
        commit_failures: commits that failed and were tried again.
        rebalances: assignments and revocations.
        lookup_seconds: time of the attempts that were answered.
        event_seconds: time from taking a record to the acknowledgement of its output.
    """

    received: int = 0
    skipped: int = 0
    enriched: int = 0
    dead_letters: Counter[tuple[str, str]] = field(default_factory=Counter)
    passed_through: int = 0
    left_out: int = 0
    dropped: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    lookups: int = 0
    retries: int = 0
    commits: int = 0
    commit_failures: int = 0
    rebalances: int = 0
    lookup_seconds: Histogram = field(default_factory=Histogram)
    event_seconds: Histogram = field(default_factory=Histogram)

    @property
    def dead_lettered(self) -> int:
        """Dead letters acknowledged, of all causes."""
        return self.dead_letters.total()
