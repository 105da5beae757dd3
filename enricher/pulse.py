"""Signs of life of one worker: plain values that its parts set as they go, and that health and metrics read.

Invariants: to set one costs next to nothing and never waits; each has one thread that sets it; nothing here identifies
a customer. Times are those of ``time.monotonic``, seconds; 0 is never.
"""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Pulse:
    """What one worker was last seen doing.

    Attributes:
        started: when the worker began.
        loop: when the event loop last ran its heartbeat.
        consuming: whether the consumer's thread runs.
        polled: when that thread last went round.
        rebalancing: since when that thread has been in a rebalance; 0 if it is in none.
        joined: whether the group has ever given this worker its assignment, an empty one included.
        delivering: whether the producer is connected, with its topics found.
        draining: whether the worker is about to end.
        committed: when a commit last succeeded, or there last was nothing to commit.
        progressed: when a record was last taken or resolved, or an attempt ended, however; or there was nothing to do.
        held: records held.
        handed: of those, the ones that wait for others: their output was handed to Kafka and not acknowledged yet, or
            the schema registry has not told their schema.
        schemas: whether the schemas that outputs need are known; false as long as a registry has to tell them.
        statistics: librdkafka's own, JSON, by client (``consumer``, ``producer``), as they last came.
    """

    started: float = 0.0
    loop: float = 0.0
    consuming: bool = False
    polled: float = 0.0
    rebalancing: float = 0.0
    joined: bool = False
    delivering: bool = False
    draining: bool = False
    committed: float = 0.0
    progressed: float = 0.0
    held: int = 0
    handed: int = 0
    schemas: bool = True
    statistics: dict[str, str] = field(default_factory=dict)

    def take_consumer(self, statistics: str) -> None:
        """Librdkafka's ``stats_cb`` of the consumer."""
        self.statistics["consumer"] = statistics

    def take_producer(self, statistics: str) -> None:
        """Librdkafka's ``stats_cb`` of the producer."""
        self.statistics["producer"] = statistics
