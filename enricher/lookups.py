"""Runs the look-ups: as many at a time as may be, each event's again until it is answered or given up.

Invariants:

- At most ``max_in_flight`` calls are under way, and while the breaker is open one probe a second begins.
- The look-up of a lane's next event starts when the last one's result was handed over, not before.
- ``scheduler.in_flight`` is the number of works taken whose result was not handed over yet.
- A work that was taken is completed or deferred, whatever its look-up ends with (cancelled ones excepted).
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection, Coroutine
from typing import Any

import structlog

from enricher.model import FailureKind, LookupFailure, Rejected, Stage, TopicPartition
from enricher.protocols import Answer, HistoryClient
from enricher.retry import Breaker, FailureClass, RetryPolicy, classify
from enricher.scheduler import Order, Scheduler
from enricher.stats import Stats
from enricher.work import Work

log = structlog.get_logger(__name__)


class Lookups:
    """The look-ups of all partitions.

    Args:
        client: the history service.
        on_answer: takes each answer; the lane goes on when it returns.
        on_reject: takes each event that is given up; likewise.
        on_unavailable: takes each event that is to be published without a history; likewise.
        on_drop: takes each work whose partition is not ours any more.
        spawn: starts a task that the pipeline looks after.
        max_in_flight: how many at a time.
        order: which events keep their order.
        retry: when to try again.
        clock: seconds, monotonic.
        rng: draws jitter.
        stats: where to count.
    """

    def __init__(
        self,
        client: HistoryClient,
        *,
        on_answer: Callable[[Work, Answer], Awaitable[None]],
        on_reject: Callable[[Work, Rejected], Awaitable[None]],
        on_unavailable: Callable[[Work], Awaitable[None]],
        on_drop: Callable[[Work], None],
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        max_in_flight: int,
        order: Order,
        retry: RetryPolicy,
        clock: Callable[[], float],
        rng: random.Random,
        stats: Stats,
    ) -> None:
        self._client = client
        self._on_answer = on_answer
        self._on_reject = on_reject
        self._on_unavailable = on_unavailable
        self._on_drop = on_drop
        self._spawn = spawn
        self._max_in_flight = max_in_flight
        self._retry = retry
        self._clock = clock
        self._rng = rng
        self._stats = stats
        self.scheduler: Scheduler[Work] = Scheduler(order)
        self.breaker = Breaker()
        self._wake: asyncio.TimerHandle | None = None
        self._stopped = False
        self._last_answer = float("-inf")
        self._outage = LookupFailure(FailureKind.UNAVAILABLE, "the service does not answer")  # the latest one met

    def admit(self, work: Work) -> None:
        """Queue a work; ``pump`` starts it when its turn comes."""
        self.scheduler.admit(work)

    def revoke(self, partitions: Collection[TopicPartition]) -> list[Work]:
        """Drop what is not in flight of these partitions; returns it."""
        return self.scheduler.revoke(partitions)

    def stop(self) -> None:
        """Start no look-up any more; what is in flight goes on."""
        self._stopped = True
        self._sleep(None)

    @property
    def limit(self) -> int:
        """How many look-ups may be in flight now."""
        return self._max_in_flight

    def pump(self) -> None:
        """Start as many look-ups as may start, and see to it that those that may start later are not forgotten."""
        while (work := self._next()) is not None:
            self._spawn(self._look_up(work))
        while (work := self._next_hopeless()) is not None:
            self._spawn(self._give_up_unasked(work))
        self._sleep(None if self._stopped else self._wakes_at())

    def _next(self) -> Work | None:
        """The next work to look up, if one may start now."""
        if self._stopped or self.scheduler.in_flight >= self._max_in_flight:
            return None
        now = self._clock()
        if not self.breaker.allows(now):
            return None
        work = self.scheduler.take(now)
        if work is not None:
            self.breaker.started(now)
            work.attempts += 1
            if work.attempts == 1:
                work.started = work.last_failed = now
        return work

    def _next_hopeless(self) -> Work | None:
        """The next work to give up unasked, as the service has been down for too long."""
        if self._stopped or not self.breaker.open or self.scheduler.in_flight >= self._max_in_flight:
            return None
        now = self._clock()
        at = self._retry.hopeless_at(self.breaker)
        return None if at is None or now < at else self.scheduler.take(now)

    def _wakes_at(self) -> float | None:
        """When a look-up may start that could not now, as far as time alone decides."""
        if self.scheduler.in_flight >= self._max_in_flight:
            return None  # the next that ends takes what is due
        due, probe = self.scheduler.due, self.breaker.next_probe
        if not self.breaker.open:
            return due
        ready = float("-inf") if self.scheduler.ready else due
        if probe is None or ready is None:
            return None
        hopeless = self._retry.hopeless_at(self.breaker)
        return max(ready, probe if hopeless is None else min(probe, hopeless))

    def _sleep(self, until: float | None) -> None:
        if self._wake is not None:
            self._wake.cancel()
            self._wake = None
        if until is not None:
            delay = max(0.0, until - self._clock())
            self._wake = asyncio.get_running_loop().call_later(delay, self.pump)

    async def _look_up(self, first: Work) -> None:
        """Look up one work, and then, in the same task, whatever is next."""
        work: Work | None = first
        while work is not None:
            if work.trace is not None:
                work.trace.enter(work.attempts)
            started = self._clock()
            try:
                answer = await self._client.fetch(work.event.customer_id)
            except LookupFailure as failure:
                await self._failed(work, failure)
            else:
                self._stats.lookups += 1
                self._stats.lookup_seconds.add(self._clock() - started)
                self._answered()
                if work.assignment.current:
                    await self._on_answer(work, answer)
                else:
                    self._on_drop(work)
                self.scheduler.complete(work)
            work = self._next()
        self.pump()

    async def _failed(self, work: Work, failure: LookupFailure) -> None:
        now = self._clock()
        self._stats.failures[failure.kind] += 1
        if classify(failure.kind) is FailureClass.OUTAGE:
            self._outage = failure
            was_open = self.breaker.open
            self.breaker.failed(now)
            if self.breaker.open and not was_open:
                log.warning("service_unavailable", kind=failure.kind, reason=failure.message)
        else:
            self._answered()  # if not as one would like
        # With little traffic the breaker may not have seen enough: that others are answered takes an answer since this
        # event failed last, else a quiet worker would give events up in an outage.
        available = self.breaker.available and self._last_answer >= work.last_failed
        work.last_failed = now
        due = self._retry.retry_at(
            failure, attempts=work.attempts, started=work.started, now=now,
            jitter=self._rng.random(), available=available,
        )  # fmt: skip
        if not work.assignment.current or (due is not None and self._stopped):
            self._on_drop(work)
        elif due is not None:
            self._stats.retries += 1
            self.scheduler.defer(work, due)
            return
        else:
            await self._give_up(work, failure, f"attempt {work.attempts}, {now - work.started:.1f} s after the first")
        self.scheduler.complete(work)

    async def _give_up_unasked(self, work: Work) -> None:
        if work.assignment.current:
            down = self._clock() - self.breaker.opened
            await self._give_up(work, self._outage, f"not asked, as the service has been down for {down:.0f} s")
        else:
            self._on_drop(work)
        self.scheduler.complete(work)
        self.pump()

    async def _give_up(self, work: Work, failure: LookupFailure, spent: str) -> None:
        if self._retry.publishes(failure):
            await self._on_unavailable(work)
        else:
            await self._on_reject(work, Rejected(Stage.LOOKUP, failure.kind, f"{failure.message} ({spent})"))

    def _answered(self) -> None:
        was_open = self.breaker.open
        self.breaker.succeeded()
        self._last_answer = self._clock()
        if was_open:
            log.info("service_back")
            self.pump()  # this task alone would take one event after the other
