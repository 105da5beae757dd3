"""Whether the producer sends what was handed to it, as its statistics tell."""

from typing import Any

import msgspec
import pytest

from enricher.observability.sending import Sending
from enricher.observability.statistics import ClientStatistics


def statistics(ts: int, *, sent: int = 0, asked: int = 0, **changes: Any) -> ClientStatistics:
    """A client of one broker; messages wait for it unless ``waiting`` is 0."""
    known: dict[str, Any] = {"leader": 1, "node": 1, "state": "UP", "waiting": 5, "queue": "xmit_msgq_cnt"}
    now = {**known, **changes}
    partition = {"leader": now["leader"], now["queue"]: now["waiting"]}
    broker = {"nodeid": now["node"], "state": now["state"], "req": {"Produce": sent, "InitProducerId": asked}}
    return msgspec.convert(
        {"ts": ts, "brokers": {"b": broker}, "topics": {"t": {"partitions": {"0": partition}}}}, ClientStatistics
    )


CONSUMER = statistics(1, waiting=0)
ELSEWHERE: dict[str, Any] = {"leader": -1, "node": -1, "state": "INIT"}


def silences(*seen: ClientStatistics | None, consumer: ClientStatistics | None = CONSUMER) -> list[float]:
    """How long the producer is silent, as told every ten seconds."""
    sending = Sending()
    return [sending.silent(each, consumer, 10.0 * turn) for turn, each in enumerate(seen)]


@pytest.mark.parametrize("queue", ["msgq_cnt", "xmit_msgq_cnt"])
def test_who_sends_nothing_to_a_broker_that_is_up_is_silent(queue: str) -> None:
    """Since the first time that this was seen; the first look knows of nothing before."""
    assert silences(*(statistics(ts, sent=3, queue=queue) for ts in range(1, 5))) == [0, 0, 10, 20]


def test_a_producer_that_has_lost_its_brokers_has_a_second_witness() -> None:
    """The consumer is connected to the broker all the time: the producer would be too, if it tried."""
    seen = [statistics(ts, **ELSEWHERE) for ts in range(1, 5)]
    assert silences(*seen) == [0, 0, 10, 20]
    assert silences(*seen, consumer=None) == [0, 0, 0, 0]
    assert silences(*seen, consumer=statistics(1, state="DOWN")) == [0, 0, 0, 0]
    led = [statistics(ts, state="DOWN") for ts in range(1, 5)]
    assert silences(*led) == [0, 0, 10, 20]
    assert silences(*led, consumer=statistics(1, node=2)) == [0, 0, 10, 20]


@pytest.mark.parametrize(
    "seen",
    [
        [statistics(ts, sent=ts) for ts in range(1, 5)],
        [statistics(ts, asked=ts) for ts in range(1, 5)],
        [statistics(ts, waiting=0) for ts in range(1, 5)],
        [statistics(ts, leader=-1) for ts in range(1, 5)],
        [statistics(ts, leader=2) for ts in range(1, 5)],
        [None] * 4,
        [statistics(1)] * 4,
        [statistics(1), *[statistics(2)] * 4],
        [statistics(ts, leader=-1, node=-1) for ts in range(1, 5)],
    ],
    ids=[
        "sends",
        "asks-for-its-id",
        "nothing-waits",
        "no-leader",
        "leader-away",
        "none-came",
        "none-since",
        "one-since",
        "bootstrap-up",
    ],
)
def test_who_cannot_send_or_does_is_not(seen: list[ClientStatistics | None]) -> None:
    """Neither what is refused again and again, nor what waits for others."""
    assert set(silences(*seen)) == {0}


def test_it_begins_again_after_each_request() -> None:
    """A request in between, or a moment in which nothing waits, and the time begins anew."""
    seen = [statistics(ts, sent=ts // 3, waiting=5 * (ts != 7)) for ts in range(1, 11)]
    assert silences(*seen) == [0, 0, 0, 0, 10, 0, 0, 0, 0, 0]
