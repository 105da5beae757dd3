"""What becomes of a look-up that failed: again later, a dead letter, or waiting for the service.

Three classes of failure decide (``classify``):

- *event*: the service calls the request bad. The event's fault: never retried.
- *contract*: the answer breaks the contract. Tried once more, then the event's fault.
- *outage*: everything else (connection, timeout, 5xx, 429, a wrong URL, missing rights). Says nothing of the event;
  retried with exponential backoff and full jitter
  (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).

Invariants: every failure of every kind has a class; a delay is never longer than ``max(backoff maximum, Retry-After)``
and Retry-After never counts for more than ``MAX_RETRY_AFTER``; while the breaker is open no two probes go out within
one ``PROBE_INTERVAL``. Pure: ``now`` (seconds) and the jitter (0 to 1) are
arguments.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

from enricher.model import FailureKind, LookupFailure

MAX_RETRY_AFTER = 60.0
CONTRACT_ATTEMPTS = 2


class FailureClass(StrEnum):
    """Whose fault a failure is, as far as one can tell."""

    EVENT = "event"
    CONTRACT = "contract"
    OUTAGE = "outage"


class OnUnavailable(StrEnum):
    """What to do when the service does not answer (setting ``failures.on_unavailable``)."""

    WAIT = "wait"
    DEAD_LETTER = "dead-letter"
    PASS_THROUGH = "pass-through"  # noqa: S105  the linter takes it for a password


_CLASSES = {
    FailureKind.BAD_REQUEST: FailureClass.EVENT,
    FailureKind.REQUEST_TOO_LARGE: FailureClass.EVENT,
    FailureKind.RESPONSE_TOO_LARGE: FailureClass.CONTRACT,
    FailureKind.NOT_JSON: FailureClass.CONTRACT,
    FailureKind.INVALID_JSON: FailureClass.CONTRACT,
    FailureKind.CONTRACT_VIOLATION: FailureClass.CONTRACT,
}


def classify(kind: FailureKind) -> FailureClass:
    """The class of a failure."""
    return _CLASSES.get(kind, FailureClass.OUTAGE)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When a failed look-up is tried again.

    Args:
        initial: upper bound of the first delay, seconds.
        maximum: upper bound of every delay, seconds.
        deadline: seconds from an event's first attempt after which it is given up, unless the service is down and
            ``on_unavailable`` says to wait; then none of that time counts. The last attempt begins later only where
            Retry-After asks for it.
        on_unavailable: what to do past the deadline while the service does not answer.
    """

    initial: float = 0.1
    maximum: float = 5.0
    deadline: float = 30.0
    on_unavailable: OnUnavailable = OnUnavailable.WAIT

    def publishes(self, failure: LookupFailure) -> bool:
        """Whether an event that is given up for this failure is published without a history."""
        return self.on_unavailable is OnUnavailable.PASS_THROUGH and classify(failure.kind) is FailureClass.OUTAGE

    def hopeless_at(self, breaker: "Breaker") -> float | None:
        """From when on events are given up unasked: the service has been down for a whole deadline. None: never."""
        waits = self.on_unavailable is OnUnavailable.WAIT or not breaker.open
        return None if waits else breaker.opened + self.deadline

    def retry_at(
        self,
        failure: LookupFailure,
        *,
        attempts: int,
        started: float,
        now: float,
        jitter: float,
        available: bool,
        down: float = 0.0,
    ) -> float | None:
        """When to try again, or None to give the event up.

        Args:
            failure: how the last attempt failed.
            attempts: how many there were, the last one included.
            started: when the first one began.
            now: the current time.
            jitter: a random number from 0 to 1.
            available: whether the service answers others.
            down: seconds since the first attempt began in which the service was taken to be down.
        """
        failed = classify(failure.kind)
        if failed is FailureClass.EVENT or (failed is FailureClass.CONTRACT and attempts >= CONTRACT_ATTEMPTS):
            return None
        ceiling = min(self.maximum, self.initial * 2.0 ** min(attempts - 1, 60))
        backoff = jitter * ceiling
        due = now + max(backoff, min(failure.retry_after or 0.0, MAX_RETRY_AFTER))
        # Retry-After may lead past the deadline, once: the service that asks for more time than the event has begins to
        # be unavailable, before the breaker or others' failures tell.
        waits = self.on_unavailable is OnUnavailable.WAIT
        if now + backoff <= started + (down if waits else 0.0) + self.deadline:
            return due
        # An event that fails while others succeed is not waiting for the service: it would wait for ever.
        return due if waits and failed is FailureClass.OUTAGE and not available else None


class RetryBudget:
    """How many retries there may be, so that they do not multiply the load of a service that fails.

    A bucket of tokens, one for each retry, as Finagle's (https://twitter.github.io/finagle/guide/Clients.html#retries):
    ``RATIO`` of the answers go into it, and ``FLOOR`` a second whatever happens. It holds ``RESERVE``; what is above
    that is lost in time (``MEMORY``), so that only recent answers count. A service that answers two look-ups of three
    gets every retry; one that answers fewer gets half as many retries as answers, and ``FLOOR`` a second. What is put
    off waits, the longer the more wait, up to ``PATIENCE``.
    """

    RATIO = 0.5
    FLOOR = 10.0
    RESERVE = 100.0
    MEMORY = 10.0
    PATIENCE = 1.0

    __slots__ = ("_answers", "_at", "_put_off", "_tokens")

    def __init__(self) -> None:
        self._tokens = self.RESERVE
        self._answers = 0
        self._at = 0.0
        self._put_off = 0

    def spend(self, now: float, answers: int) -> float:
        """Take the token for a retry: returns 0, or, if there is none, after how many seconds to try again.

        Args:
            now: the current time.
            answers: how many look-ups have been answered so far.
        """
        above = self._tokens - self.RESERVE
        if above > 0.0:
            self._tokens = self.RESERVE + above * math.exp((self._at - now) / self.MEMORY)
        else:
            self._tokens = min(self.RESERVE, self._tokens + (now - self._at) * self.FLOOR)
        self._tokens += (answers - self._answers) * self.RATIO
        self._answers, self._at = answers, now
        if self._tokens >= 1.0:
            self._tokens -= 1.0
            self._put_off = 0
            return 0.0
        self._put_off += 1
        return min(self.PATIENCE, self._put_off / self.FLOOR)

    def refill(self) -> None:
        """The service is back after an outage, in which retries were not the load."""
        self._tokens = max(self._tokens, self.RESERVE)


class Breaker:
    """A circuit breaker over all look-ups (https://martinfowler.com/bliki/CircuitBreaker.html).

    Closed, it lets everything pass. After ``THRESHOLD`` outages without a success between them it opens: nothing
    passes but one probe per ``PROBE_INTERVAL``, and the first success closes it, a late one of a look-up from before
    included. A probe does not wait for the end of the one before: at a service that hangs it would take a timeout, and
    as long to notice that the service is back.

    Attributes:
        open: whether the service is taken to be down.
        opened: since when it is, or was the last time.
    """

    THRESHOLD = 16
    PROBE_INTERVAL = 1.0
    HEALTHY = 0.5
    WEIGHT = 1 / 32

    __slots__ = ("_down", "_failures", "_next_probe", "_success_rate", "open", "opened")

    def __init__(self) -> None:
        self.open = False
        self.opened = 0.0
        self._down = 0.0  # seconds, of the outages that have ended
        self._failures = 0
        self._success_rate = 1.0
        self._next_probe = 0.0

    @property
    def available(self) -> bool:
        """Whether the service answers: most of the last few dozen look-ups were no outages."""
        return not self.open and self._success_rate >= self.HEALTHY

    def allows(self, now: float) -> bool:
        """Whether a look-up may start now."""
        return not self.open or now >= self._next_probe

    @property
    def next_probe(self) -> float | None:
        """When the next probe may go out, None while all may."""
        return self._next_probe if self.open else None

    def started(self, now: float) -> None:
        """A look-up starts; while open it is the probe."""
        if self.open:
            self._next_probe = now + self.PROBE_INTERVAL

    def down(self, now: float) -> float:
        """Seconds in which the service has been taken to be down so far, in all its outages."""
        return self._down + (now - self.opened if self.open else 0.0)

    def succeeded(self, now: float) -> None:
        """The service answered (a bad request is an answer)."""
        self._down = self.down(now)
        self._failures = 0
        self._success_rate += (1.0 - self._success_rate) * self.WEIGHT
        self.open = False

    def failed(self, now: float) -> None:
        """A look-up met an outage."""
        self._failures += 1
        self._success_rate -= self._success_rate * self.WEIGHT
        if not self.open and self._failures >= self.THRESHOLD:
            self.open = True
            self.opened = now
            self._next_probe = now + self.PROBE_INTERVAL
