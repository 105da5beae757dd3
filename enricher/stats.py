"""Counts and latencies of one worker: plain numbers that the pipeline updates and others read.

Invariants: counters only grow; latencies are kept as a histogram with a
fixed number of buckets, so that the memory is constant; nothing here identifies a customer. Pure.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field, fields
from itertools import accumulate

_DECADE = (
    "1.0", "1.1", "1.2", "1.3", "1.4", "1.5", "1.6", "1.75", "1.9", "2.0", "2.2", "2.4", "2.5", "2.75", "3.0", "3.3",
    "3.6", "3.9", "4.2", "4.6", "5.0", "5.5", "6.0", "6.6", "7.2", "7.9", "8.6", "9.4",
)  # fmt: skip

BOUNDS: Sequence[float] = (*(float(f"{m}e{exponent}") for exponent in range(-4, 4) for m in _DECADE), 1e4)
"""Upper bounds of the histogram's buckets, seconds: 0.1 ms to 10,000 s, each at most 10 % above the one before.

1, 2.5 and 5 of each power of ten are among them, so that what is exported with these bounds is exact.
"""


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

    def __copy__(self) -> "Histogram":
        copied = Histogram()
        copied.counts, copied.count, copied.total = self.counts.copy(), self.count, self.total
        return copied

    def since(self, earlier: "Histogram") -> "Histogram":
        """What was counted after ``earlier``, a copy of this one, was taken."""
        later = Histogram()
        later.counts = [now - then for now, then in zip(self.counts, earlier.counts, strict=True)]
        later.count, later.total = self.count - earlier.count, self.total - earlier.total
        return later

    def cumulative(self, bounds: Sequence[float]) -> list[int]:
        """How many durations were at or below each of ``bounds``, which are among ``BOUNDS`` and in order."""
        sums = list(accumulate(self.counts))
        return [sums[bisect_left(BOUNDS, bound)] for bound in bounds]

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
        decoded: events that were decoded.
        answered: events whose history came.
        encoded: enriched events that were encoded.
        rejected: events that became dead letters, by stage, counted before these are written.
        enriched: enriched events acknowledged by the broker.
        dead_letters: dead letters acknowledged, by stage and cause.
        passed_through: events published without a history, as the service did not answer.
        left_out: records that a replay's range and filters leave out; resolved without an output.
        dropped: works given up because their partition went to another worker.
        failures: failed attempts, by kind.
        lookups: attempts that were answered.
        retries: attempts put off to be made again.
        retries_put_off: times that a retry was due and waited, as there are too many.
        empty_retries: times that an empty history was to be asked for again.
        coalesced: events that shared the answer to another event's look-up.
        cache_hits: events that were served from what is kept of answers.
        commits: successful commits.
        commit_failures: commits that failed and were tried again.
        rebalances: assignments, revocations and losses of partitions.
        aborted_transactions: transactions of which nothing was written, and that are written again.
        filled: times that a partition was paused because its map of completed offsets might outgrow the commit's
            metadata.
        tokens: OAuth2 tokens obtained.
        token_failures: requests for a token that failed.
        reloads: times that certificates, or the proxy's password, were read again as their files had changed.
        schemas_fetched: schemas that the registry was asked for, and gave.
        registry_failures: requests for a schema that the registry did not answer; each is made again.
        lookup_seconds: time of the attempts that were answered.
        event_seconds: time from taking a record to the acknowledgement of its output.
        event_age_seconds: time from a record's timestamp to the acknowledgement of its output.
        commit_seconds: time of the commits that succeeded; under exactly-once, of the transactions.
        loop_lag_seconds: how late the event loop was with what was due.
    """

    received: int = 0
    skipped: int = 0
    decoded: int = 0
    answered: int = 0
    encoded: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    enriched: int = 0
    dead_letters: Counter[tuple[str, str]] = field(default_factory=Counter)
    passed_through: int = 0
    left_out: int = 0
    dropped: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    lookups: int = 0
    retries: int = 0
    retries_put_off: int = 0
    empty_retries: int = 0
    coalesced: int = 0
    cache_hits: int = 0
    commits: int = 0
    commit_failures: int = 0
    rebalances: int = 0
    aborted_transactions: int = 0
    filled: int = 0
    tokens: int = 0
    token_failures: int = 0
    reloads: int = 0
    schemas_fetched: int = 0
    registry_failures: int = 0
    lookup_seconds: Histogram = field(default_factory=Histogram)
    event_seconds: Histogram = field(default_factory=Histogram)
    event_age_seconds: Histogram = field(default_factory=Histogram)
    commit_seconds: Histogram = field(default_factory=Histogram)
    loop_lag_seconds: Histogram = field(default_factory=Histogram)

    @property
    def dead_lettered(self) -> int:
        """Dead letters acknowledged, of all causes."""
        return self.dead_letters.total()

    def __copy__(self) -> "Stats":
        return Stats(**{name.name: copy(getattr(self, name.name)) for name in fields(self)})
