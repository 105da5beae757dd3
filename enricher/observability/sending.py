"""Whether the producer sends what was handed to it, judged from librdkafka's statistics. Pure: the time is an argument.

A producer with the sink's settings was seen that wrote nothing for three minutes after its broker had come back.
Whether it was its own fault is not known: a broker was seen, too, that did not serve a partition for as long after a
restart. Nothing is lost then, as such a message is never acknowledged and its event never committed; but of the former
only a new producer helps.

Brokers that are away, and a partition without a leader, are no such case. A broker that takes messages and refuses them
(too few replicas in sync) is none either: they are sent again and again.
"""

from enricher.observability.statistics import ClientStatistics

_REQUESTS = ("Produce", "InitProducerId")
"""What a producer sends that has messages waiting: them, or the question for the id that it needs before."""

_UNKNOWN = -1
"""The node of a connection by a bootstrap address, and the leader of a partition that has none."""


class Sending:
    """What the producer was last seen to do about messages that wait."""

    def __init__(self) -> None:
        self._seen = 0
        self._sent: tuple[int, ...] = ()
        self._since: float | None = None
        self._last = 0.0

    def silent(self, producer: ClientStatistics | None, consumer: ClientStatistics | None, now: float) -> float:
        """For how long the producer has sent nothing though messages wait and a broker would take them.

        To be called at least every minute or so: what happens in between is not seen.

        Args:
            producer: its last statistics.
            consumer: those of the worker's consumer, a second witness of which brokers are up.
            now: the current time, seconds.

        Returns:
            Seconds; 0 if that is not so.
        """
        if producer is not None and producer.ts != self._seen:
            self._seen, self._last = producer.ts, now  # what is not told any more is not known to go on
            sent = tuple(sum(broker.req.get(name, 0) for broker in producer.brokers.values()) for name in _REQUESTS)
            if sent != self._sent or not _could_send(producer, consumer):
                self._since = None
            elif self._since is None:
                self._since = now
            self._sent = sent
        return 0.0 if self._since is None else self._last - self._since


def _could_send(producer: ClientStatistics, consumer: ClientStatistics | None) -> bool:
    """Whether messages wait for a broker that is up, or the producer has lost all of them and the consumer has not."""
    leaders = {
        partition.leader
        for topic in producer.topics.values()
        for partition in topic.partitions.values()
        if partition.msgq_cnt or partition.xmit_msgq_cnt
    }
    own, others = _up(producer), set() if consumer is None else _up(consumer)
    known = (own | others) - {_UNKNOWN}
    return bool(leaders & known) or bool(leaders and not own and known)


def _up(client: ClientStatistics) -> set[int]:
    return {broker.nodeid for broker in client.brokers.values() if broker.state == "UP"}
