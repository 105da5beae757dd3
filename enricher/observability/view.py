"""What is known of the worker at one moment: what metrics, health and the page are made of.

Invariant: a view is a value; it may be read on any thread while the worker goes on.
"""

from collections import Counter
from collections.abc import Mapping
from copy import copy
from typing import NamedTuple

from enricher.observability.health import Verdict, ready
from enricher.observability.statistics import ClientStatistics, parse
from enricher.pulse import Pulse
from enricher.state import PartitionState, State
from enricher.stats import Histogram, Stats


class Recent(NamedTuple):
    """What happened in the last minutes.

    Attributes:
        seconds: how long that is.
        failures: failed attempts, by kind.
        dead_letters: by stage and cause.
        lookup_seconds: of the attempts that were answered.
        rate: events enriched per second in the last half minute; None where that is not known yet.
    """

    seconds: float
    failures: Counter[str]
    dead_letters: Counter[tuple[str, str]]
    lookup_seconds: Histogram
    rate: float | None


NOTHING_RECENT = Recent(0.0, Counter(), Counter(), Histogram(), None)


class View(NamedTuple):
    """The worker at one moment.

    Attributes:
        stats: counts.
        state: how the pipeline stands.
        pulse: signs of life.
        now: of ``time.monotonic``, when this was taken.
        recent: the last minutes.
        clients: librdkafka's statistics, by client.
    """

    stats: Stats
    state: State
    pulse: Pulse
    now: float
    recent: Recent
    clients: Mapping[str, ClientStatistics]

    @property
    def joined(self) -> bool:
        """Whether the worker is a member of its group, with whatever partitions."""
        consumer = self.clients.get("consumer")
        return self.pulse.joined or (consumer is not None and consumer.steady)

    @property
    def ready(self) -> Verdict:
        """Whether the worker is ready."""
        return ready(self.pulse, partitions=len(self.state.partitions), joined=self.joined)

    def high_watermark(self, partition: PartitionState) -> int | None:
        """The end of a partition's log as of the last statistics."""
        consumer = self.clients.get("consumer")
        return None if consumer is None else consumer.high_watermark(partition.topic, partition.partition)

    def lag(self, partition: PartitionState) -> int | None:
        """Records between what is committed and the end of the log."""
        high = self.high_watermark(partition)
        return None if high is None else max(0, high - partition.committed)

    def lag_seconds(self, partition: PartitionState) -> float | None:
        """How old the oldest record is that is not resolved; None where that is not known."""
        if not partition.unresolved:
            high = self.high_watermark(partition)
            if high is None:
                return None
            if high <= partition.seen:
                return 0.0
        return None if partition.timestamp is None else max(0.0, self.state.wall - partition.timestamp / 1000)


class Taken(NamedTuple):
    """What of a view has to be taken on the event loop; cheap."""

    stats: Stats
    state: State
    pulse: Pulse
    now: float
    recent: Recent

    def view(self) -> View:
        """The view; parses statistics, on any thread."""
        parsed = {name: parse(text) for name, text in self.pulse.statistics.items()}
        return View(*self, {name: found for name, found in parsed.items() if found is not None})


def take(stats: Stats, state: State, pulse: Pulse, now: float, recent: Recent) -> Taken:
    """Copy what goes on changing."""
    copied = copy(pulse)
    copied.statistics = dict(pulse.statistics)
    return Taken(copy(stats), state, copied, now, recent)
