"""What happens when, and in which surroundings: a pure function of the seed and the length.

Invariants: whatever is broken is whole again at a later step; at least one worker is meant to run at any time; only one
thing at a time is wrong with each worker, with the broker, with the service, and with each topic.
"""

import random
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from enricher.testing.contacts import START

if TYPE_CHECKING:
    from collections.abc import Callable

SLOTS = 4
"""Workers that there may be at a time."""

FIRST = 4.0
"""Seconds before the first step, in which the workers start."""

LAST = 3.0
"""Seconds at the end in which nothing new begins."""

RECOVERY = 4.0
"""Seconds between two episodes of the broker."""

GROWTHS = 2
"""How often the input's partitions may be increased."""

BASE_FAULTS: dict[str, Any] = {"latency": "lognormal:15ms,0.5", "status": {"503": 0.01}}
"""What the service is like when nothing is said to be wrong."""

_FAULTS: tuple[dict[str, Any], ...] = (
    {"down": "refuse"},
    {"down": "reset"},
    {"latency": "uniform:300ms,1500ms"},
    {"latency": "20ms", "status": {"503": 0.3, "500": 0.1, "429": 0.1}, "retry_after": 1},
    {"latency": "20ms", "hang": 0.1},
    {"latency": "20ms", "reset": 0.2, "truncated_body": 0.1},
    {"latency": "20ms", "html": 0.3},
    {"latency": "100ms", "capacity": 4, "queue_limit": 8},
)


class Act(StrEnum):
    """What can happen."""

    START = "start a worker"
    KILL = "kill a worker (SIGKILL)"
    STOP = "stop a worker (SIGTERM)"
    FREEZE = "freeze a worker (SIGSTOP)"
    THAW = "let a worker go on (SIGCONT)"
    BROKER_STOP = "stop the broker"
    BROKER_KILL = "kill the broker (SIGKILL)"
    BROKER_START = "start the broker"
    BROKER_PAUSE = "freeze the broker"
    BROKER_UNPAUSE = "let the broker go on"
    GROW = "increase the input's partitions"
    DEAD_SHUT = "let the dead-letter topic take small records only"
    DEAD_OPEN = "let the dead-letter topic take large records again"
    OUTPUT_SHUT = "want two replicas in sync of the output topic, which has one"
    OUTPUT_OPEN = "want one replica in sync of the output topic"
    SERVICE = "change the service's faults"


class Step(NamedTuple):
    """One thing that happens. ``at`` is in seconds from the start."""

    at: float
    act: Act
    slot: int | None = None
    faults: dict[str, Any] | None = None

    def __str__(self) -> str:
        of = "" if self.slot is None else f" {self.slot}"
        return f"{self.at:6.2f} s  {self.act}{of}{'' if self.faults is None else f': {self.faults}'}"


class Schedule(NamedTuple):
    """A whole run.

    Attributes:
        seed: that it was drawn from; the events are drawn from it, too.
        seconds: how long events are written.
        protocol: of the group: classic or consumer (KIP-848).
        static: whether each worker has a name of its own in the group.
        rate: events each second.
        start: the first event's time, milliseconds: recent, or longer ago than brokers remember producers.
        workers: how many run at the beginning.
        steps: in order.
    """

    seed: int
    seconds: float
    protocol: str
    static: bool
    rate: int
    start: int
    workers: int
    steps: tuple[Step, ...]

    def describe(self) -> str:
        """All of it, as text."""
        member = f"{self.protocol} group protocol{', static members' if self.static else ''}"
        head = f"seed {self.seed}, {self.seconds:g} s: {self.workers} workers, {member}, {self.rate} events/s"
        return "\n".join([head, *map(str, self.steps)])


def schedule(seed: int, seconds: float) -> Schedule:
    """The schedule of a seed."""
    rng = random.Random(seed)
    protocol = rng.choices(("classic", "consumer"), (3, 1))[0]
    static = rng.random() < 0.25
    rate, start, workers = rng.randrange(60, 141), rng.choice((0, START)), rng.randrange(2, SLOTS)
    steps = _Draw(rng, seconds, workers).steps()
    return Schedule(seed, seconds, protocol, static, rate, start, workers, steps)


class _Draw:
    """Draws steps; knows until when each thing is busy with what was drawn for it."""

    def __init__(self, rng: random.Random, seconds: float, workers: int) -> None:
        self._rng = rng
        self._end = seconds - LAST
        self._steps: list[Step] = []
        self._running = set(range(workers))
        self._busy: dict[str, float] = {}
        self._growths = 0

    def steps(self) -> tuple[Step, ...]:
        kinds: tuple[tuple[Callable[[float], None], int], ...] = (
            (self._kill, 5),
            (self._restart, 3),
            (self._freeze, 3),
            (self._blink, 3),
            (self._join, 3),
            (self._leave, 2),
            (self._broker_restart, 2),
            (self._broker_slow, 3),
            (self._grow, 1),
            (self._dead_letters, 1),
            (self._output, 1),
            (self._service, 5),
        )
        draws, weights = [kind for kind, _ in kinds], [weight for _, weight in kinds]
        at = FIRST
        while at < self._end:
            self._rng.choices(draws, weights)[0](at)
            at += self._rng.uniform(0.2, 2.5)
        return tuple(sorted(self._steps, key=lambda step: step.at))

    def _take(self, what: str, at: float, until: float) -> bool:
        """Whether this is free; if so, it is taken."""
        if self._busy.get(what, 0.0) > at:
            return False
        self._busy[what] = until
        return True

    def _episode(self, what: str, at: float, length: float, begin: Act, end: Act, slot: int | None = None) -> None:
        if self._take(what, at, at + length):
            self._steps += [Step(at, begin, slot), Step(at + length, end, slot)]

    def _of_worker(self, at: float, shortest: float, longest: float, begin: Act, end: Act) -> None:
        slot = self._rng.choice(sorted(self._running))
        self._episode(f"worker {slot}", at, self._rng.uniform(shortest, longest), begin, end, slot)

    def _kill(self, at: float) -> None:
        self._of_worker(at, 0.1, 3.0, Act.KILL, Act.START)

    def _restart(self, at: float) -> None:
        self._of_worker(at, 0.1, 2.0, Act.STOP, Act.START)

    def _freeze(self, at: float) -> None:
        """For longer than the session timeout: it wakes up as a zombie."""
        self._of_worker(at, 4.0, 7.0, Act.FREEZE, Act.THAW)

    def _blink(self, at: float) -> None:
        self._of_worker(at, 0.2, 2.5, Act.FREEZE, Act.THAW)

    def _join(self, at: float) -> None:
        idle = [slot for slot in range(SLOTS) if slot not in self._running]
        if idle:
            slot = self._rng.choice(idle)
            self._running.add(slot)
            self._busy[f"worker {slot}"] = at + 1.0
            self._steps.append(Step(at, Act.START, slot))

    def _leave(self, at: float) -> None:
        free = [slot for slot in sorted(self._running) if self._busy.get(f"worker {slot}", 0.0) <= at]
        if free and len(self._running) > 1:
            slot = self._rng.choice(free)
            self._running.remove(slot)
            self._steps.append(Step(at, Act.STOP, slot))

    def _broker_restart(self, at: float) -> None:
        down = self._rng.uniform(0.2, 4.0)
        if self._take("broker", at, at + down + RECOVERY):
            begin = self._rng.choice((Act.BROKER_STOP, Act.BROKER_KILL))
            self._steps += [Step(at, begin), Step(at + down, Act.BROKER_START)]

    def _broker_slow(self, at: float) -> None:
        slow = self._rng.uniform(0.2, 4.0)
        if self._take("broker", at, at + slow + RECOVERY):
            self._steps += [Step(at, Act.BROKER_PAUSE), Step(at + slow, Act.BROKER_UNPAUSE)]

    def _grow(self, at: float) -> None:
        if self._growths < GROWTHS:
            self._growths += 1
            self._steps.append(Step(at, Act.GROW))

    def _dead_letters(self, at: float) -> None:
        self._episode("dead letters", at, self._rng.uniform(2.0, 6.0), Act.DEAD_SHUT, Act.DEAD_OPEN)

    def _output(self, at: float) -> None:
        self._episode("output", at, self._rng.uniform(1.0, 5.0), Act.OUTPUT_SHUT, Act.OUTPUT_OPEN)

    def _service(self, at: float) -> None:
        length = self._rng.uniform(1.0, 6.0)
        if self._take("service", at, at + length):
            faults = {**self._rng.choice(_FAULTS), "seed": self._rng.randrange(1_000)}
            self._steps += [Step(at, Act.SERVICE, faults=faults), Step(at + length, Act.SERVICE, faults=BASE_FAULTS)]
