"""Whether the worker lives, is ready, has started: judged from signs of life alone.

The worker is alive unless a restart would help. So a history service that is down, brokers that are, and a rebalance
are no reasons; an event loop that does not run, a consumer thread that does not poll, and records that nobody works on
without any of these reasons, are. Pure: the time is an argument.
"""

from typing import NamedTuple

from enricher.pulse import Pulse

LOOP_STALLED = 30.0
"""Seconds without a beat of the event loop after which the worker counts as hung; a beat is due every 0.05 s."""

POLL_STALLED = 60.0
"""Seconds without a round of the consumer's thread, outside of a rebalance, after which it counts as hung."""

REBALANCE_STALLED = 600.0
"""Seconds in one rebalance after which the consumer's thread counts as hung: all that it waits for there is bounded."""

JOIN_STALLED = 600.0
"""Seconds on the way to an assignment, or twice ``max.poll.interval.ms`` where that is more, after which the consumer
counts as stuck: the group waits for its members for ``max.poll.interval.ms`` at the most. Seen once, after a broker was
killed: librdkafka was told that the session was over, took its partitions away, and never came back with others."""

SEND_STALLED = 300.0
"""Seconds in which the producer sends nothing, though messages wait and a broker would take them, after which it counts
as stuck. A broker that falls silent with a request before it costs ``socket.timeout.ms`` (60 s) until that is known."""

PROGRESS_STALLED = 300.0
"""Seconds, besides the time for one attempt, in which nothing happens to the records held, without a reason."""

COMMITS_STALLED = 60.0
"""Seconds without a commit after which Kafka is taken to be the reason for no progress."""


class Verdict(NamedTuple):
    """Whether it is so, and the reasons, for a person."""

    ok: bool
    reasons: tuple[str, ...]


class Limits(NamedTuple):
    """How long something may take by the settings, in seconds.

    Attributes:
        attempt: one look-up.
        poll: between two polls of a consumer of the group (``max.poll.interval.ms``).
    """

    attempt: float
    poll: float = 300.0


def live(pulse: Pulse, now: float, limits: Limits, *, joining: float = 0.0, silent: float = 0.0) -> Verdict:
    """Whether the worker is alive: a restart would not help.

    Args:
        pulse: its signs of life.
        now: the current time.
        limits: how long something may take.
        joining: for how long the consumer has been on its way to an assignment, seconds.
        silent: for how long the producer has sent nothing though it could, seconds.
    """
    wrong = []
    if (still := now - max(pulse.loop, pulse.started)) > LOOP_STALLED:
        wrong.append(f"the event loop has not run for {still:.0f} s")
    elif silent > SEND_STALLED:
        wrong.append(f"the producer has sent nothing for {silent:.0f} s, though messages wait and a broker answers")
    elif _stalled(pulse, now, limits.attempt):
        idle = now - pulse.progressed
        wrong.append(f"nothing has happened to {pulse.held} records for {idle:.0f} s, and nothing explains it")
    if pulse.rebalancing:
        if (busy := now - pulse.rebalancing) > REBALANCE_STALLED:
            wrong.append(f"the consumer's thread has been in a rebalance for {busy:.0f} s")
    elif pulse.consuming and (still := now - pulse.polled) > POLL_STALLED:
        wrong.append(f"the consumer's thread has not polled for {still:.0f} s")
    elif pulse.consuming and joining > max(JOIN_STALLED, 2 * limits.poll):
        wrong.append(f"the consumer has been joining its group for {joining:.0f} s")
    return Verdict(not wrong, tuple(wrong))


def _stalled(pulse: Pulse, now: float, attempt: float) -> bool:
    """Records are held, nothing happens to them, and neither Kafka, a schema registry nor a drain is the reason.

    A service that does not answer is none either: its attempts end, by their timeout if need be, and that counts as
    something that happens.
    """
    others = pulse.handed > 0 or now - pulse.committed > COMMITS_STALLED
    return pulse.held > 0 and now - pulse.progressed > PROGRESS_STALLED + attempt and not others and not pulse.draining


def ready(pulse: Pulse, *, partitions: int, joined: bool) -> Verdict:
    """Whether the worker does its work, or would if there was any for it.

    Args:
        pulse: its signs of life.
        partitions: how many are assigned.
        joined: whether it is a member of its group, with whatever partitions.
    """
    wrong = []
    if pulse.draining:
        wrong.append("the worker is draining")
    elif not pulse.delivering:
        wrong.append("the producer has not found its brokers and topics yet")
    elif not partitions and not joined:
        wrong.append("the consumer has not joined its group yet")
    if not pulse.schemas:
        wrong.append("the schemas of the outputs are not known yet")
    return Verdict(not wrong, tuple(wrong))


def started(pulse: Pulse) -> Verdict:
    """Whether the worker runs. Not whether Kafka answers: a restart would not help against that."""
    return Verdict(True, ()) if pulse.loop else Verdict(False, ("the event loop has not run yet",))
