"""librdkafka's statistics, as far as they matter here.

https://github.com/confluentinc/librdkafka/blob/master/STATISTICS.md tells all. They come as JSON every
``statistics.interval.ms`` and are kept as text; parsing is left to who asks, off the worker's event loop.
"""

import msgspec


class Window(msgspec.Struct):
    """A rolling window of durations, microseconds (``throttle``: milliseconds)."""

    avg: int = 0
    p50: int = 0
    p99: int = 0
    cnt: int = 0


class Broker(msgspec.Struct):
    """One broker as one client sees it; ``req`` counts requests sent, by their names."""

    nodeid: int = -1
    state: str = ""
    txerrs: int = 0
    rxerrs: int = 0
    req_timeouts: int = 0
    connects: int = 0
    disconnects: int = 0
    req: dict[str, int] = {}
    rtt: Window = msgspec.field(default_factory=Window)
    throttle: Window = msgspec.field(default_factory=Window)


class Partition(msgspec.Struct):
    """One partition as one client sees it; offsets and a leader below 0 are not known.

    ``msgq_cnt`` and ``xmit_msgq_cnt`` are messages that wait to be sent, before and after they are given to a broker.
    """

    leader: int = -1
    msgq_cnt: int = 0
    xmit_msgq_cnt: int = 0
    hi_offset: int = -1
    fetchq_cnt: int = 0
    fetchq_size: int = 0


class Topic(msgspec.Struct):
    """One topic."""

    partitions: dict[str, Partition] = {}


class Group(msgspec.Struct):
    """The consumer group as the consumer sees it; ages in milliseconds, since the last change or rebalance."""

    state: str = ""
    stateage: int = 0
    join_state: str = ""
    rebalance_age: int = 0


class ClientStatistics(msgspec.Struct):
    """One client."""

    ts: int = 0
    msg_cnt: int = 0
    msg_size: int = 0
    tx_bytes: int = 0
    rx_bytes: int = 0
    txmsgs: int = 0
    rxmsgs: int = 0
    brokers: dict[str, Broker] = {}
    topics: dict[str, Topic] = {}
    cgrp: Group | None = None

    @property
    def steady(self) -> bool:
        """Whether the group's coordinator has given the consumer its assignment, be it an empty one."""
        return self.cgrp is not None and self.cgrp.state == "up" and self.cgrp.join_state == "steady"

    @property
    def joining(self) -> float:
        """For how many seconds the consumer has been on its way to an assignment, with a coordinator that answers.

        A consumer without a topic to read is on no way (``init``). A consumer that has never had an assignment has
        been on its way since the coordinator was found.
        """
        if self.cgrp is None or self.cgrp.state != "up" or self.cgrp.join_state in ("steady", "init"):
            return 0.0
        return min(self.cgrp.stateage, self.cgrp.rebalance_age or self.cgrp.stateage) / 1000

    def high_watermark(self, topic: str, partition: int) -> int | None:
        """The end of a partition's log, if it is known."""
        known = self.topics[topic].partitions.get(str(partition)) if topic in self.topics else None
        return known.hi_offset if known is not None and known.hi_offset >= 0 else None


_DECODER = msgspec.json.Decoder(ClientStatistics)


def parse(text: str | None) -> ClientStatistics | None:
    """The statistics; None where none came yet, or they cannot be read (a newer librdkafka)."""
    if text is None:
        return None
    try:
        return _DECODER.decode(text)
    except msgspec.DecodeError:
        return None
