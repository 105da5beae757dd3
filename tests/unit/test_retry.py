"""What becomes of failed look-ups: classes, delays, deadlines, and the breaker."""

from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from enricher.model import FailureKind, LookupFailure
from enricher.retry import (
    CONTRACT_ATTEMPTS,
    MAX_RETRY_AFTER,
    Breaker,
    FailureClass,
    OnUnavailable,
    RetryBudget,
    RetryPolicy,
    classify,
)

moderate = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])

EVENT = {FailureKind.BAD_REQUEST, FailureKind.REQUEST_TOO_LARGE}
CONTRACT = {
    FailureKind.RESPONSE_TOO_LARGE,
    FailureKind.NOT_JSON,
    FailureKind.INVALID_JSON,
    FailureKind.CONTRACT_VIOLATION,
}
OUTAGE = {
    FailureKind.CONNECTION,
    FailureKind.TIMEOUT,
    FailureKind.UNAUTHORIZED,
    FailureKind.NO_TOKEN,
    FailureKind.FORBIDDEN,
    FailureKind.NOT_FOUND,
    FailureKind.REQUEST_TIMEOUT,
    FailureKind.TOO_EARLY,
    FailureKind.TOO_MANY_REQUESTS,
    FailureKind.SERVER_ERROR,
    FailureKind.BAD_GATEWAY,
    FailureKind.UNAVAILABLE,
    FailureKind.GATEWAY_TIMEOUT,
    FailureKind.REDIRECT,
    FailureKind.UNEXPECTED_STATUS,
}

seconds = st.floats(0.0, 1e6)
fractions = st.floats(0.0, 1.0)


def failure(kind: FailureKind = FailureKind.UNAVAILABLE, retry_after: float | None = None) -> LookupFailure:
    """A failed attempt."""
    return LookupFailure(kind, "told by a test", retry_after=retry_after)


def test_every_kind_has_the_class_that_was_meant() -> None:
    """A new kind must be thought about: it appears in none of the sets here."""
    assert {kind for kind in FailureKind if classify(kind) is FailureClass.EVENT} == EVENT
    assert {kind for kind in FailureKind if classify(kind) is FailureClass.CONTRACT} == CONTRACT
    assert {kind for kind in FailureKind if classify(kind) is FailureClass.OUTAGE} == OUTAGE


def test_the_defaults_are_those_of_the_settings() -> None:
    """``service.deadline`` 30 s, ``failures.on_unavailable`` wait."""
    assert RetryPolicy() == RetryPolicy(initial=0.1, maximum=5.0, deadline=30.0, on_unavailable=OnUnavailable.WAIT)


@pytest.mark.parametrize("kind", sorted(EVENT))
@pytest.mark.parametrize("on_unavailable", OnUnavailable)
def test_a_bad_request_is_never_tried_again(kind: FailureKind, on_unavailable: OnUnavailable) -> None:
    """Not the first time, nor with Retry-After, nor while the service is down."""
    policy = RetryPolicy(on_unavailable=on_unavailable)
    for available in (False, True):
        due = policy.retry_at(failure(kind, 1.0), attempts=1, started=0.0, now=0.0, jitter=0.0, available=available)
        assert due is None


@pytest.mark.parametrize("kind", sorted(CONTRACT))
def test_a_broken_answer_is_tried_once_more(kind: FailureKind) -> None:
    """A proxy may have cut it; twice is the event's fault, whether the service answers others or not."""
    for available in (False, True):
        dues = [
            RetryPolicy().retry_at(
                failure(kind), attempts=attempts, started=0.0, now=1.0, jitter=1.0, available=available
            )
            for attempts in range(1, CONTRACT_ATTEMPTS + 2)
        ]
        assert dues == [1.1, None, None]


@pytest.mark.parametrize("available", [False, True])
def test_a_broken_answer_past_the_deadline_is_the_end(*, available: bool) -> None:
    """It is an answer: waiting for the service would be waiting for what is there."""
    due = RetryPolicy(deadline=5.0).retry_at(
        failure(FailureKind.NOT_JSON), attempts=1, started=0.0, now=6.0, jitter=0.0, available=available
    )
    assert due is None


def test_delays_double_up_to_the_maximum() -> None:
    """The jitter is full: from nothing to the ceiling."""
    policy = RetryPolicy(initial=0.1, maximum=5.0, deadline=1e9)

    def delay(attempts: int, jitter: float) -> float | None:
        return policy.retry_at(failure(), attempts=attempts, started=0.0, now=0.0, jitter=jitter, available=True)

    assert [delay(attempts, 1.0) for attempts in range(1, 9)] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert [delay(attempts, 0.5) for attempts in range(1, 4)] == [0.05, 0.1, 0.2]
    assert [delay(attempts, 0.0) for attempts in range(1, 4)] == [0.0, 0.0, 0.0]
    assert delay(100_000, 1.0) == 5.0


@pytest.mark.parametrize(
    ("retry_after", "jitter", "delay"),
    [(None, 1.0, 0.1), (0.0, 1.0, 0.1), (0.05, 1.0, 0.1), (3.0, 1.0, 3.0), (60.0, 0.0, 60.0), (3600.0, 0.0, 60.0)],
)
def test_the_service_is_given_the_time_that_it_asks_for(retry_after: float | None, jitter: float, delay: float) -> None:
    """Not less than Retry-After, within reason; not less than the backoff either."""
    due = RetryPolicy(deadline=1e9).retry_at(
        failure(retry_after=retry_after), attempts=1, started=0.0, now=0.0, jitter=jitter, available=True
    )
    assert due == delay


def test_retry_after_leads_past_the_deadline_once() -> None:
    """A service that goes down for a minute, and says so, does not cost the events that are the first to notice."""
    policy = RetryPolicy(deadline=30.0)

    def due(now: float) -> float | None:
        failed = failure(FailureKind.UNAVAILABLE, 60.0)
        return policy.retry_at(failed, attempts=1, started=0.0, now=now, jitter=0.0, available=True)

    assert due(1.0) == 61.0
    assert due(30.0) == 90.0
    assert due(61.0) is None


def test_the_deadline_includes_its_end() -> None:
    """An attempt that would begin just then is made."""
    policy = RetryPolicy(initial=1.0, deadline=30.0)

    def due(now: float) -> float | None:
        return policy.retry_at(failure(), attempts=1, started=100.0, now=now, jitter=1.0, available=True)

    assert due(129.0) == 130.0
    assert due(129.1) is None


@pytest.mark.parametrize("on_unavailable", list(OnUnavailable))
def test_an_outage_counts_only_where_it_is_not_waited_for(on_unavailable: OnUnavailable) -> None:
    """Of 60 s, 40 in which the service was down leave 10 of 30 where one waits; else the time was over long ago."""
    policy = RetryPolicy(initial=1.0, deadline=30.0, on_unavailable=on_unavailable)

    def due(now: float) -> float | None:
        return policy.retry_at(failure(), attempts=1, started=100.0, now=now, jitter=1.0, available=True, down=40.0)

    waits = on_unavailable is OnUnavailable.WAIT
    assert due(160.0) == (161.0 if waits else None)
    assert due(169.0) == (170.0 if waits else None)
    assert due(169.1) is None


@pytest.mark.parametrize(
    ("on_unavailable", "available", "waits"),
    [
        (OnUnavailable.WAIT, False, True),
        (OnUnavailable.WAIT, True, False),
        (OnUnavailable.DEAD_LETTER, False, False),
        (OnUnavailable.DEAD_LETTER, True, False),
        (OnUnavailable.PASS_THROUGH, False, False),
        (OnUnavailable.PASS_THROUGH, True, False),
    ],
)
@pytest.mark.parametrize("kind", sorted(OUTAGE))
def test_past_the_deadline_only_an_outage_is_waited_for(
    kind: FailureKind, on_unavailable: OnUnavailable, *, available: bool, waits: bool
) -> None:
    """An event that fails while others succeed would wait for ever."""
    due = RetryPolicy(initial=1.0, on_unavailable=on_unavailable).retry_at(
        failure(kind), attempts=1, started=0.0, now=1_000.0, jitter=0.5, available=available
    )
    assert due == (1_000.5 if waits else None)


@moderate
@given(
    kind=st.sampled_from(FailureKind),
    retry_after=st.none() | st.floats(allow_nan=True),
    policy=st.builds(
        RetryPolicy,
        initial=st.floats(0.001, 10.0),
        maximum=st.floats(0.001, 100.0),
        deadline=st.floats(0.0, 1_000.0),
        on_unavailable=st.sampled_from(OnUnavailable),
    ),
    attempts=st.integers(1, 10**9),
    started=seconds,
    elapsed=st.floats(0.0, 2_000.0),
    jitter=fractions,
    available=st.booleans(),
)
def test_a_delay_is_bounded_and_an_event_ends(
    kind: FailureKind, retry_after: float | None, policy: RetryPolicy, attempts: int, started: float,
    elapsed: float, jitter: float, *, available: bool,
) -> None:  # fmt: skip
    """Never in the past, never beyond both bounds, and past the deadline never while the service answers."""
    now = started + elapsed
    due = policy.retry_at(
        failure(kind, retry_after), attempts=attempts, started=started, now=now, jitter=jitter, available=available
    )
    if due is None:
        return
    assert kind not in EVENT
    assert kind not in CONTRACT or attempts < CONTRACT_ATTEMPTS
    assert now <= due <= now + max(policy.maximum, MAX_RETRY_AFTER)
    if retry_after is None:
        assert due <= now + policy.maximum
    if available or policy.on_unavailable is not OnUnavailable.WAIT or kind in CONTRACT:
        assert now <= started + policy.deadline
        if retry_after is None:
            assert due <= started + policy.deadline


@dataclass(eq=False)
class Attempt:
    """A look-up in flight."""

    probe: bool


class BreakerLife(RuleBasedStateMachine):
    """Look-ups start whenever they may and end in any order, long after others if need be."""

    @initialize(now=st.sampled_from([0.0, 1e6]))
    def begin(self, now: float) -> None:
        """All is well."""
        self.breaker = Breaker()
        self.now = now
        self.in_flight: list[Attempt] = []
        self.failures = 0
        self.open = False
        self.opened = now
        self.down = 0.0  # seconds, of the outages that have ended
        self.probes: list[float] = []

    def start(self) -> bool:
        """Start one look-up, if it may."""
        if not self.breaker.allows(self.now):
            return False
        self.breaker.started(self.now)
        if self.open:
            self.probes.append(self.now)
        self.in_flight.append(Attempt(self.open))
        return True

    @rule(count=st.integers(1, 40))
    def start_some(self, count: int) -> None:
        """As many as may: all while it is closed, one at the most while it is open."""
        started = sum(self.start() for _ in range(count))
        assert started <= 1 if self.open else started == count

    def end(self, attempt: Attempt, *, well: bool) -> None:
        """A look-up ends."""
        self.in_flight.remove(attempt)
        if well:
            self.breaker.succeeded(self.now)
            self.down += self.now - self.opened if self.open else 0.0
            self.failures, self.open = 0, False
            return
        self.breaker.failed(self.now)
        self.failures += 1
        if not self.open and self.failures >= 16:
            self.open, self.opened = True, self.now
            assert self.breaker.opened == self.now

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data(), count=st.integers(1, 20))
    def fail(self, data: st.DataObject, count: int) -> None:
        """Some look-ups meet an outage."""
        for _ in range(min(count, len(self.in_flight))):
            self.end(data.draw(st.sampled_from(self.in_flight)), well=False)

    @precondition(lambda self: any(attempt.probe for attempt in self.in_flight))
    @rule(well=st.booleans())
    def end_probe(self, *, well: bool) -> None:
        """The probe ends before the look-ups from before."""
        self.end(next(attempt for attempt in self.in_flight if attempt.probe), well=well)

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data())
    def succeed(self, data: st.DataObject) -> None:
        """A look-up is answered."""
        self.end(data.draw(st.sampled_from(self.in_flight)), well=True)

    @rule(seconds=st.sampled_from([0.1, 0.4, 0.5, 1.0, 7.0]))
    def wait(self, seconds: float) -> None:
        """Time goes by."""
        self.now += seconds

    @precondition(lambda self: self.open)
    @rule(late=st.integers(0, 3), steps=st.integers(1, 12))
    def hammer(self, late: int, steps: int) -> None:
        """A worker that tries all the time while look-ups from before fail one by one."""
        for _ in range(steps):
            self.now += 0.25
            for attempt in self.in_flight[:late]:
                self.end(attempt, well=False)
            self.start()

    @invariant()
    def it_opens_and_closes_when_it_should(self) -> None:
        """After 16 outages in a row, until one success."""
        assert self.breaker.open is self.open
        assert self.breaker.down(self.now) == pytest.approx(self.down + (self.now - self.opened if self.open else 0.0))
        if self.open:
            assert not self.breaker.available

    @invariant()
    def probes_are_apart(self) -> None:
        """Never two within an interval, and none within one of the opening."""
        assert all(second - first >= 1.0 - 1e-9 for first, second in zip(self.probes, self.probes[1:], strict=False))

    @invariant()
    def a_probe_will_go_out(self) -> None:
        """While it is open, time alone lets the next one out."""
        at = self.breaker.next_probe
        if not self.open:
            assert at is None
            assert self.breaker.allows(self.now)
        else:
            assert at is not None
            assert at <= max([self.opened, *self.probes[-1:]]) + Breaker.PROBE_INTERVAL
            assert self.breaker.allows(at)
            assert not self.breaker.allows(at - 1e-3)
            assert at >= self.opened + Breaker.PROBE_INTERVAL - 1e-9


TestBreakerLife = BreakerLife.TestCase
TestBreakerLife.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def test_fifteen_outages_do_not_open_it() -> None:
    """The sixteenth in a row does; a success between them starts the count anew."""
    breaker = Breaker()
    for _ in range(15):
        breaker.failed(1.0)
    breaker.succeeded(1.0)
    for _ in range(15):
        breaker.failed(2.0)
    assert not breaker.open
    assert breaker.allows(2.0)
    breaker.failed(3.0)
    assert breaker.open
    assert breaker.next_probe == 4.0
    assert not breaker.allows(3.9)
    assert breaker.allows(4.0)


def test_a_probe_that_hangs_does_not_hold_up_the_next() -> None:
    """It goes out a second later; success lets all out."""
    breaker = Breaker()
    for _ in range(16):
        breaker.failed(0.0)
    breaker.started(1.0)
    assert breaker.next_probe == 2.0
    assert not breaker.allows(1.9)
    assert breaker.allows(2.0)
    breaker.started(6.0)
    breaker.failed(6.1)
    assert not breaker.allows(6.9)
    assert breaker.next_probe == 7.0
    breaker.started(7.0)
    breaker.succeeded(7.0)
    assert breaker.allows(7.0)
    assert breaker.next_probe is None


@pytest.mark.parametrize(
    ("on_unavailable", "opened", "hopeless"),
    [
        (OnUnavailable.WAIT, True, None),
        (OnUnavailable.DEAD_LETTER, False, None),
        (OnUnavailable.DEAD_LETTER, True, 40.0),
        (OnUnavailable.PASS_THROUGH, True, 40.0),
    ],
)
def test_after_a_deadline_of_outage_events_are_given_up_unasked(
    on_unavailable: OnUnavailable, hopeless: float | None, *, opened: bool
) -> None:
    """Unless they are to wait; one after the other at one probe a second, they would not be done in days."""
    breaker = Breaker()
    for _ in range(16 if opened else 15):
        breaker.failed(10.0)
    assert RetryPolicy(deadline=30.0, on_unavailable=on_unavailable).hopeless_at(breaker) == hopeless


@pytest.mark.parametrize("on_unavailable", OnUnavailable)
@pytest.mark.parametrize("kind", FailureKind)
def test_what_is_published_without_a_history(kind: FailureKind, on_unavailable: OnUnavailable) -> None:
    """Only what the service did not answer, and only where one says so: a bad event stays a dead letter."""
    expected = kind in OUTAGE and on_unavailable is OnUnavailable.PASS_THROUGH
    assert RetryPolicy(on_unavailable=on_unavailable).publishes(failure(kind)) is expected


def test_late_failures_do_not_let_a_second_probe_out_within_an_interval() -> None:
    """They bring it no nearer."""
    breaker = Breaker()
    for _ in range(16):
        breaker.failed(0.0)
    breaker.started(1.0)
    for late in (1.1, 1.2, 1.9):
        breaker.failed(late)
        assert not breaker.allows(late)
        assert breaker.next_probe == 2.0


def test_a_service_that_mostly_fails_is_not_available() -> None:
    """Also while a success now and then keeps the breaker closed."""
    breaker = Breaker()
    assert breaker.available
    for _ in range(200):
        breaker.failed(0.0)
        breaker.succeeded(0.0)
        breaker.succeeded(0.0)
    assert breaker.available
    for _ in range(40):
        for _ in range(15):
            breaker.failed(0.0)
        breaker.succeeded(0.0)
    assert not breaker.open
    assert not breaker.available
    for _ in range(200):
        breaker.succeeded(0.0)
    assert breaker.available


def test_availability_takes_a_few_dozen_look_ups_to_return() -> None:
    """One answer after a long outage does not make those that still wait give up."""
    breaker = Breaker()
    for _ in range(500):
        breaker.failed(0.0)
    answers = 0
    while not breaker.available:
        breaker.succeeded(0.0)
        answers += 1
    assert not breaker.open
    assert answers == 22  # 1 - (31 / 32) ** 22 >= 0.5


def test_retries_are_a_part_of_the_answers_and_some_a_second() -> None:
    """A reserve at first; then one for two answers, and ten a second."""
    budget = RetryBudget()
    assert [budget.spend(0.0, 0) for _ in range(100)] == [0.0] * 100
    assert budget.spend(0.0, 0) > 0.0
    assert [budget.spend(0.0, 10) == 0.0 for _ in range(6)] == [True] * 5 + [False]
    assert [budget.spend(1.0, 10) == 0.0 for _ in range(11)] == [True] * 10 + [False]


def test_what_is_put_off_comes_back_the_later_the_more_there_is() -> None:
    """So that what waits is not looked at all the time; at the latest after a second."""
    budget = RetryBudget()
    waits = [budget.spend(0.0, 0) for _ in range(120)][100:]
    assert waits[:3] == pytest.approx([0.1, 0.2, 0.3])
    assert waits[10:] == [1.0] * 10
    assert budget.spend(0.1, 0) == 0.0
    assert budget.spend(0.1, 0) == pytest.approx(0.1)


def test_the_reserve_does_not_grow() -> None:
    """Not by time; by answers only for a while; after an outage it is full."""
    budget = RetryBudget()

    def granted(now: float, answers: int) -> int:
        for count in range(100_000):
            if budget.spend(now, answers) > 0.0:
                return count
        raise AssertionError

    assert granted(1e6, 0) == 100
    assert granted(1e6, 10_000) == 5_000
    assert budget.spend(1e6 + 1.0, 20_000) == 0.0
    assert 100 + 5_000 / 3 < granted(1e6 + 11.0, 20_000) < 100 + 5_000 / 2
    budget.refill()
    assert granted(1e6 + 11.0, 20_000) == 100
    assert budget.spend(1e6 + 11.0, 40_000) == 0.0
    budget.refill()
    assert granted(1e6 + 11.0, 40_000) == 10_000 - 1


@given(st.lists(st.tuples(st.floats(0.0, 10.0), st.integers(0, 50)), max_size=100))
def test_retries_never_multiply_the_load(steps: list[tuple[float, int]]) -> None:
    """However often one asks: at most half as many as answers, ten a second, and the reserve."""
    budget = RetryBudget()
    now, answers, retries = 0.0, 0, 0
    for seconds, more in steps:
        now += seconds
        answers += more
        for _ in range(200):
            retries += budget.spend(now, answers) == 0.0
        assert retries <= 100 + answers / 2 + 10 * now + 1e-6
