"""When the worker counts as alive, ready and started."""

from typing import Any

import pytest

from enricher.observability.health import Limits, live, ready, started
from enricher.observability.heartbeat import Heartbeat
from enricher.pulse import Pulse
from enricher.state import Holding
from enricher.stats import Stats

NOW = 10_000.0
LIMITS = Limits(5.0)


def pulse(**changes: Any) -> Pulse:
    """A worker that works: everything was just now."""
    well: dict[str, Any] = {
        "started": 1.0, "loop": NOW, "consuming": True, "polled": NOW, "joined": True, "delivering": True,
        "committed": NOW, "progressed": NOW, "held": 10,
    }  # fmt: skip
    return Pulse(**{**well, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"rebalancing": NOW - 100, "polled": NOW - 100},
        {"consuming": False, "polled": 0.0},
        {"progressed": NOW - 1000, "held": 0},
        {"progressed": NOW - 1000, "handed": 3},
        {"progressed": NOW - 1000, "committed": NOW - 400},
        {"progressed": NOW - 1000, "draining": True},
        {"progressed": NOW - 302},
        {"loop": 0.0, "started": NOW - 5},
    ],
    ids=["well", "rebalance", "no-consumer-yet", "idle", "broker-silent", "commits-fail", "draining", "patient", "new"],
)
def test_alive(changes: dict[str, Any]) -> None:
    """None of these is mended by a restart."""
    assert live(pulse(**changes), NOW, LIMITS).reasons == ()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"loop": NOW - 31}, "the event loop has not run for 31 s"),
        ({"loop": 0.0, "started": NOW - 31}, "the event loop has not run for 31 s"),
        ({"polled": NOW - 61}, "the consumer's thread has not polled for 61 s"),
        ({"rebalancing": NOW - 601}, "the consumer's thread has been in a rebalance for 601 s"),
        ({"progressed": NOW - 306}, "nothing has happened to 10 records for 306 s, and nothing explains it"),
    ],
    ids=["loop", "loop-never", "thread", "rebalance", "stall"],
)
def test_not_alive(changes: dict[str, Any], reason: str) -> None:
    """Each of these is, and says what it is."""
    assert live(pulse(**changes), NOW, LIMITS) == (False, (reason,))


def test_who_joins_for_ever_is_not_alive() -> None:
    """Longer than the group waits for its slowest member; not while there is no consumer, or it is in a callback."""
    reason = "the consumer has been joining its group for 601 s"
    assert live(pulse(), NOW, LIMITS, joining=601.0) == (False, (reason,))
    assert live(pulse(), NOW, LIMITS, joining=599.0).ok
    assert live(pulse(), NOW, Limits(5.0, 400.0), joining=799.0).ok
    assert not live(pulse(), NOW, Limits(5.0, 400.0), joining=801.0).ok
    assert live(pulse(consuming=False), NOW, LIMITS, joining=601.0).ok
    assert live(pulse(rebalancing=NOW - 1), NOW, LIMITS, joining=601.0).ok


def test_a_producer_that_sends_nothing_is_not_alive() -> None:
    """Though nothing happens to records that Kafka does not acknowledge; it is told once."""
    reason = "the producer has sent nothing for 301 s, though messages wait and a broker answers"
    stalled = pulse(progressed=NOW - 1000, handed=10)
    assert live(stalled, NOW, LIMITS, silent=301.0) == (False, (reason,))
    assert live(stalled, NOW, LIMITS, silent=299.0).ok


@pytest.mark.parametrize("joined", [True, False])
def test_a_rebalance_is_no_reason_for_a_restart(joined: bool) -> None:  # noqa: FBT001
    """SmallRye 866, numaflow 3355: probes failed in a rebalance, and the restart caused the next one.

    The thread is in a rebalance for as long as one may take, and neither polls nor makes progress; meanwhile the worker
    has no partitions. It is alive all the time, and ready if it was.
    """
    for seconds in range(600):
        pulse_then = pulse(rebalancing=NOW - seconds, polled=NOW - seconds, progressed=NOW - min(seconds, 300))
        assert live(pulse_then, NOW, LIMITS).ok
        assert ready(pulse_then, partitions=0, joined=joined).ok == joined


def test_a_stalled_loop_is_told_once() -> None:
    """When the loop does not run nothing is noted, so that no progress says nothing more."""
    assert len(live(pulse(loop=NOW - 400, progressed=NOW - 400), NOW, LIMITS).reasons) == 1


@pytest.mark.parametrize(
    ("changes", "partitions", "joined", "reason"),
    [
        ({}, 4, False, None),
        ({}, 0, True, None),
        ({}, 0, False, "the consumer has not joined its group yet"),
        ({"delivering": False}, 0, False, "the producer has not found its brokers and topics yet"),
        ({"draining": True}, 4, True, "the worker is draining"),
        ({"schemas": False}, 4, True, "the schemas of the outputs are not known yet"),
    ],
    ids=["working", "idle", "joining", "connecting", "draining", "schemas"],
)
def test_ready(changes: dict[str, Any], partitions: int, joined: bool, reason: str | None) -> None:  # noqa: FBT001
    """A worker is ready when it works, or would."""
    verdict = ready(pulse(**changes), partitions=partitions, joined=joined)
    assert verdict == (reason is None, () if reason is None else (reason,))


def test_started() -> None:
    """When the loop has run once; that Kafka does not answer is no reason to start again."""
    assert not started(Pulse(started=5.0)).ok
    assert started(Pulse(started=5.0, loop=6.0, delivering=False)).ok


def test_a_beat_notes_progress() -> None:
    """Whatever is counted is progress, and so is to have nothing to do."""
    stats, seen = Stats(), Pulse()
    holding = [Holding(3, 1)]
    heartbeat = Heartbeat(stats, seen, lambda: holding[0])
    heartbeat.beat(1.0)
    assert (seen.loop, seen.held, seen.handed, seen.progressed) == (1.0, 3, 1, 1.0)
    heartbeat.beat(2.0)
    assert (seen.loop, seen.progressed) == (2.0, 1.0)
    for now, count in enumerate(("received", "enriched", "lookups"), 3):
        setattr(stats, count, 1)
        heartbeat.beat(float(now))
        assert seen.progressed == float(now)
    stats.failures["Timeout"] += 1
    heartbeat.beat(6.0)
    assert seen.progressed == 6.0
    holding[0] = Holding(0, 0)
    heartbeat.beat(9.0)
    assert seen.progressed == 9.0


def test_the_last_minutes_are_remembered() -> None:
    """Counts since five minutes ago, or since the start if that was later."""
    stats = Stats()
    heartbeat = Heartbeat(stats, Pulse(), lambda: Holding(0, 0))
    assert heartbeat.recent(0.0).seconds == 0.0
    for now in range(0, 1000, 5):
        stats.enriched += 1
        stats.failures["Timeout"] += 1
        stats.lookup_seconds.add(0.02 if now < 500 else 0.2)
        heartbeat.beat(float(now))
    stats.dead_letters["decode", "InvalidJson"] += 1
    recent = heartbeat.recent(995.0)
    assert 280.0 <= recent.seconds <= 310.0
    assert recent.failures["Timeout"] == recent.lookup_seconds.count == pytest.approx(recent.seconds / 5, abs=2)
    assert recent.lookup_seconds.quantile(0.01) == 0.2
    assert recent.lookup_seconds.total == pytest.approx(0.2 * recent.lookup_seconds.count)
    assert recent.dead_letters == {("decode", "InvalidJson"): 1}


def test_the_rate_is_the_present_one() -> None:
    """Of the last half minute, so that a worker that stands still does not show what it did before."""
    stats = Stats()
    heartbeat = Heartbeat(stats, Pulse(), lambda: Holding(0, 0))
    heartbeat.beat(0.0)
    assert heartbeat.recent(0.0).rate is None
    for now in range(1, 101):
        stats.enriched += 7
        heartbeat.beat(float(now))
    assert heartbeat.recent(100.0).rate == pytest.approx(7.0)
    for now in range(101, 141):
        heartbeat.beat(float(now))
    assert heartbeat.recent(140.0).rate == 0.0
