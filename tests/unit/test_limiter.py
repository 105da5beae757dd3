"""The limiter against services of many kinds, simulated in virtual time; and the cap on the rate."""

import heapq
import itertools
import math
import random
from collections import deque
from collections.abc import Callable, Sequence

import pytest

from enricher.limiter import INITIAL, LAG_INTERVAL, SAMPLES, Limiter, RateLimit

Latency = Callable[[float, random.Random], float]


class Simulation:
    """A client that always wants more, and a service of some places with a queue before them.

    Args:
        maximum: of the limiter.
        capacity: calls served at a time.
        latency: seconds of service, by the time and a random generator.
        queue: calls that may wait; more of them fail at once.
        failing: share of calls that fail for a reason other than load.
    """

    TIMEOUT = 5.0

    def __init__(
        self, maximum: int, *, capacity: int = 10_000, latency: Latency, queue: float = math.inf, failing: float = 0.0
    ) -> None:
        self.limiter = Limiter(maximum)
        self.capacity = capacity
        self.stalled_until = 0.0
        self.lag = 0.0
        self.now = 0.0
        self.limits: list[tuple[float, int]] = []
        self.ended: list[tuple[float, float, bool]] = []
        self._latency = latency
        self._queue_limit = queue
        self._failing = failing
        self._rng = random.Random(7)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()
        self._queue: list[float] = []
        self._serving = 0
        self._in_flight = 0

    def at(self, when: float, what: Callable[[], None]) -> None:
        """Do something then."""
        heapq.heappush(self._events, (when, next(self._count), what))

    def run(self, until: float) -> None:
        """Let time pass."""
        self._start()
        while self._events and self._events[0][0] <= until:
            self.now, _, what = heapq.heappop(self._events)
            what()

    def resize(self, capacity: int) -> None:
        """Change the capacity."""
        self.capacity = capacity
        self._serve()

    def stall(self, seconds: float) -> None:
        """Nothing is answered for a while."""
        self.stalled_until = self.now + seconds

    def rate(self, begin: float, end: float) -> float:
        """Answers per second between these times."""
        return sum(well for at, _, well in self.ended if begin <= at < end) / (end - begin)

    def quantile(self, q: float, begin: float, end: float) -> float:
        """Of the latencies between these times."""
        ordered = sorted(latency for at, latency, well in self.ended if begin <= at < end and well)
        return ordered[int(q * (len(ordered) - 1))]

    def _start(self) -> None:
        while self._in_flight < self.limiter.limit:
            self._in_flight += 1
            began = self.now
            if self._rng.random() < self._failing or len(self._queue) > self._queue_limit:
                self.at(self.now + 0.01, lambda began=began: self._end(began, well=False))  # type: ignore[misc]
            else:
                self._queue.append(began)
                self._serve()
        self.limiter.wanted = True

    def _serve(self) -> None:
        while self._queue and self._serving < self.capacity:
            began = self._queue.pop(0)
            self._serving += 1
            done = max(self.now + self._latency(self.now, self._rng), self.stalled_until)
            self.at(done, lambda began=began: self._served(began))  # type: ignore[misc]

    def _served(self, began: float) -> None:
        self._serving -= 1
        self._serve()
        self._end(began, well=self.now - began < self.TIMEOUT)

    def _end(self, began: float, *, well: bool) -> None:
        self._in_flight -= 1
        if self.lag and self.now >= self.limiter.lag_due:
            self.limiter.lagged(self.lag, self.now)
        if well:
            self.limiter.answered(began, self.now)
        else:
            self.limiter.failed(began, self.now)
        self.limits.append((self.now, self.limiter.limit))
        self.ended.append((self.now, self.now - began, well))
        self._start()


class _Fixed(Limiter):
    """One that always lets as many begin as may."""

    def __init__(self, maximum: int) -> None:
        super().__init__(maximum)
        self.limit = maximum

    def answered(self, began: float, now: float) -> None:
        """Nothing is learned."""


class Starved(Simulation):
    """A worker that gets a part of a CPU: for some time it runs, and for some, usually longer, it does not.

    An answer takes two turns of the event loop, of 0.1 ms. The lag is measured as ``Lookups`` does.
    """

    RUNS = 0.02
    WAITS = 0.1

    def __init__(self, maximum: int, *, latency: Latency, capacity: int = 10_000) -> None:
        super().__init__(maximum, latency=latency, capacity=capacity)
        self._stopped_until = 0.0
        self._ready: deque[Callable[[], None]] = deque()
        self._busy = False
        self._stop()

    def _stop(self) -> None:
        self._stopped_until = self.now + self._rng.expovariate(1.0 / self.WAITS)
        self.at(self._stopped_until + self._rng.expovariate(1.0 / self.RUNS), self._stop)

    def _soon(self, what: Callable[[], None]) -> None:
        self._ready.append(what)
        if not self._busy:
            self._busy = True
            self._turn()

    def _turn(self) -> None:
        if self.now < self._stopped_until:
            self.at(self._stopped_until, self._turn)
        elif self._ready:
            self._ready.popleft()()
            self.at(self.now + 0.0001, self._turn)
        else:
            self._busy = False

    def _end(self, began: float, *, well: bool) -> None:
        self._soon(lambda: self._soon(lambda: self._take(began, well=well)))

    def _take(self, began: float, *, well: bool) -> None:
        if self.now >= self.limiter.lag_due:
            self.limiter.lag_due = math.inf
            due = self.now + LAG_INTERVAL
            self.at(due, lambda: self._soon(lambda: self.limiter.lagged(self.now - due, self.now)))
        super()._end(began, well=well)


def about(seconds: float) -> Latency:
    """As good as constant: in lockstep, no queue would be shorter than one latency."""
    return lambda _now, rng: seconds * rng.uniform(0.95, 1.05)


def noisy(median: float, sigma: float) -> Latency:
    """A log-normal distribution."""
    return lambda _now, rng: median * math.exp(rng.gauss(0.0, sigma))


@pytest.mark.parametrize("latency", [0.02, 0.05, 0.2])
def test_a_knee_is_found_and_followed(latency: float) -> None:
    """Capacity 40, asked with up to 256, becomes 10 and returns.

    Within 10 s, each way, the latency is under twice that of the unloaded service at 90 % of the capacity.
    """
    world = Simulation(256, capacity=40, latency=about(latency))
    world.at(30.0, lambda: world.resize(10))
    world.at(60.0, lambda: world.resize(40))
    world.run(90.0)
    for begin, end, capacity in ((10.0, 30.0, 40), (40.0, 60.0, 10), (70.0, 90.0, 40)):
        assert world.quantile(0.99, begin, end) < 2.0 * latency
        assert world.rate(begin, end) >= 0.9 * capacity / latency


def test_noise_does_not_hide_a_knee() -> None:
    """Latencies that vary by a third: nine tenths of the capacity are used, and the median is near the unloaded one."""
    world = Simulation(256, capacity=40, latency=noisy(0.1, 0.3))
    world.at(30.0, lambda: world.resize(10))
    world.run(60.0)
    mean = 0.1 * math.exp(0.3**2 / 2)
    assert world.rate(10.0, 30.0) >= 0.9 * 40 / mean
    assert world.quantile(0.5, 10.0, 30.0) < 1.5 * 0.1
    assert world.rate(40.0, 60.0) >= 0.85 * 10 / mean
    assert world.quantile(0.5, 40.0, 60.0) < 1.5 * 0.1


@pytest.mark.parametrize("sigma", [0.0, 0.3, 0.6, 1.0])
def test_a_service_that_bears_it_is_not_held_back(sigma: float) -> None:
    """However its latency varies: 95 % of what the cap allows, from the second second on."""
    world = Simulation(64, latency=noisy(0.02, sigma))
    world.run(30.0)
    mean = 0.02 * math.exp(sigma**2 / 2)
    assert world.rate(2.0, 30.0) >= 0.93 * 64 / mean


def test_a_few_slow_answers_are_no_load() -> None:
    """One of a hundred takes two seconds."""
    world = Simulation(64, latency=lambda _now, rng: 2.0 if rng.random() < 0.01 else 0.02)
    world.run(20.0)
    assert min(limit for at, limit in world.limits if at > 2.0) == 64


def test_a_slow_drift_is_not_of_our_making() -> None:
    """The service becomes four times as slow in a minute; it is not asked less for that, but for moments."""
    world = Simulation(64, latency=lambda now, rng: 0.02 * (1.0 + now / 20.0) * rng.uniform(0.9, 1.1))
    world.run(60.0)
    for begin in range(5, 60, 5):
        mean = 0.02 * (1.0 + (begin + 2.5) / 20.0)
        assert world.rate(begin, begin + 5.0) >= 0.8 * 64 / mean


@pytest.mark.parametrize("maximum", [64, 256])
def test_a_jump_of_the_latency_is_not_of_our_making(maximum: int) -> None:
    """Three times as slow from one moment to the next: asked less for a moment, it is seen that it does not help."""
    world = Simulation(maximum, capacity=100, latency=lambda now, rng: about(0.06 if now > 10.0 else 0.02)(now, rng))
    world.run(30.0)
    assert world.rate(16.0, 30.0) >= 0.9 * min(maximum, 100) / 0.06


@pytest.mark.parametrize("seconds", [2.0, 8.0])
def test_a_stall_is_forgotten_quickly(seconds: float) -> None:
    """Whether what was asked comes late or not at all: three seconds later all is as before."""
    world = Simulation(64, latency=about(0.02))
    world.at(10.0, lambda: world.stall(seconds))
    world.run(10.0 + seconds + 8.0)
    assert world.rate(13.0 + seconds, 18.0 + seconds) >= 0.95 * 64 / 0.02


@pytest.mark.parametrize("seconds", [0.05, 0.1, 0.15, 0.2])
def test_a_pause_costs_no_reduction(seconds: float) -> None:
    """Of a service that bore all that may be: a garbage collection there, or a neighbour that takes the CPU."""
    world = Simulation(64, latency=about(0.02))
    for second in range(5, 25):
        world.at(float(second), lambda: world.stall(seconds))
    world.run(25.0)
    assert min(limit for at, limit in world.limits if at > 2.0) == 64


def test_load_that_begins_when_all_was_borne_is_seen() -> None:
    """Capacity 100, asked with 64, becomes 10: ten seconds later the latency is under twice the unloaded one."""
    world = Simulation(64, capacity=100, latency=about(0.02))
    world.at(10.0, lambda: world.resize(10))
    world.run(40.0)
    assert world.rate(5.0, 10.0) >= 0.95 * 64 / 0.02
    assert world.quantile(0.99, 20.0, 40.0) < 2.0 * 0.02
    assert world.rate(20.0, 40.0) >= 0.9 * 10 / 0.02


def test_a_service_that_turns_away_what_is_too_much_is_asked_less() -> None:
    """Without a queue, overload shows in failures alone."""
    world = Simulation(256, capacity=40, latency=about(0.02), queue=0)
    world.run(30.0)
    assert world.rate(10.0, 30.0) >= 0.75 * 40 / 0.02
    refused = sum(not well for at, _, well in world.ended if at > 10.0) / 20.0
    assert refused < 0.75 * 40 / 0.02  # of 256 in flight it would be twenty thousand a second


def test_failures_that_asking_less_does_not_cure_are_no_reason_to_ask_less() -> None:
    """Three of ten fail, whatever the load."""
    world = Simulation(64, latency=about(0.02), failing=0.3)
    world.run(20.0)
    assert world.rate(3.0, 20.0) >= 0.9 * 0.7 * 64 / (0.7 * 0.02 + 0.3 * 0.01)


def test_a_service_of_one_place() -> None:
    """The limit begins far above, and what it takes for the unloaded latency is not; half a minute later it is."""
    world = Simulation(64, capacity=1, latency=about(0.05))
    world.run(90.0)
    assert world.quantile(0.9, 40.0, 90.0) < 4.0 * 0.05
    assert world.rate(40.0, 90.0) >= 0.9 / 0.05


def test_the_event_loops_own_lag_is_not_held_against_the_service() -> None:
    """The more is in flight, the longer each waits for the loop: with that known, the cap is reached."""
    world = Simulation(128, latency=about(0.002))
    worlds = {}
    for known in (False, True):
        world = Simulation(128, capacity=1, latency=about(0.0003))  # one CPU, 0.3 ms each: 38 ms at 128 in flight
        if known:
            world.lag = 0.0003 * 128
        world.run(10.0)
        worlds[known] = world
    assert worlds[True].limiter.limit == 128
    assert worlds[False].limiter.limit < 64
    # And if it were not known, it would cost little.
    assert worlds[False].rate(5.0, 10.0) >= 0.95 * worlds[True].rate(5.0, 10.0)


@pytest.mark.parametrize("latency", [0.005, 0.02, 0.05, 0.2])
def test_a_worker_without_enough_cpu_does_not_blame_the_service(latency: float) -> None:
    """It waits for its CPU, not for the service, and asking less would not help: the limit does not sink to 1 or 2."""
    world = Starved(128, latency=about(latency))
    world.run(60.0)
    fixed = Starved(128, latency=about(latency))
    fixed.limiter = _Fixed(128)
    fixed.run(60.0)
    limits = [limit for at, limit in world.limits if at >= 20.0]
    assert sorted(limits)[len(limits) // 2] > INITIAL
    assert world.rate(20.0, 60.0) >= 0.4 * fixed.rate(20.0, 60.0)


def test_it_begins_with_some_and_never_with_more_than_it_may() -> None:
    """Nor does it begin at 1 and stay there."""
    assert [Limiter(maximum).limit for maximum in (1, 7, 64)] == [1, 7, INITIAL]


def test_a_limit_that_is_not_in_the_way_stays() -> None:
    """It says nothing that it could be higher."""
    limiter = Limiter(64)
    for step in range(100):
        limiter.answered(step * 0.02, step * 0.02 + 0.01)
    assert limiter.limit == INITIAL


def test_after_an_outage_it_begins_anew() -> None:
    """From where it was, or where it began if that is higher, doubling."""
    limiter = Limiter(64)
    now = 0.0
    for _ in range(400):
        now += 0.01
        limiter.failed(now - 0.005, now)
    low = limiter.limit
    limiter.recovered(now)
    assert low <= INITIAL <= limiter.limit
    for _ in range(60):
        now += 0.01
        limiter.wanted = True
        limiter.answered(now - 0.005, now)
    assert limiter.limit == 64


def test_few_look_ups_are_no_ground_for_a_judgement() -> None:
    """Nor are those that began under another limit."""
    limiter = Limiter(64)
    for now in range(SAMPLES - 1):
        limiter.wanted = True
        limiter.answered(now - 0.1, float(now))
    assert limiter.limit == INITIAL
    limiter.wanted = True
    limiter.answered(9.9, 10.0)
    assert limiter.limit == 2 * INITIAL
    for _ in range(100):
        limiter.wanted = True
        limiter.answered(9.9, 20.0)
        limiter.failed(9.9, 20.0)
    assert limiter.limit == 2 * INITIAL


def starts(rate: float, asked: Sequence[float]) -> list[float]:
    """When look-ups begin that are wanted at these times, at the earliest."""
    limit = RateLimit(rate)
    begun: list[float] = []
    for at in asked:
        now = max([at, limit.free_at, *begun[-1:]])
        limit.started(now)
        begun.append(now)
    return begun


@pytest.mark.parametrize("rate", [0.5, 5.0, 50.0, 1_000.0])
def test_a_rate_is_kept(rate: float) -> None:
    """In any second not more begin than the rate and a tenth of it, nor much fewer when all are in a hurry."""
    begun = starts(rate, [0.0] * 500)
    seconds = begun[-1]
    assert 499 <= seconds * rate + max(1.0, rate / 10) + 1e-6 <= 501 + max(1.0, rate / 10)
    for index, first in enumerate(begun):
        within = [at for at in begun[index:] if at < first + 1.0 - 1e-9]
        assert len(within) <= rate + max(1.0, rate / 10) + 1e-6


def test_what_was_not_used_of_a_rate_is_not_saved_up() -> None:
    """After an hour of nothing, no more begin at once than otherwise."""
    begun = starts(10.0, [0.0, 3_600.0, 3_600.0, 3_600.0])
    assert begun == pytest.approx([0.0, 3_600.0, 3_600.1, 3_600.2])
