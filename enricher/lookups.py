"""Runs the look-ups: as many at a time as may be, each event's again until it is answered or given up.

Invariants:

- At most as many calls are under way as the limiter allows, and never more than ``max_in_flight``; while the breaker
  is open one probe a second begins.
- No call begins while there is no room for its output; who makes room calls ``pump``.
- The next event of a lane is looked up, or shares an answer, when the last one's result was handed over, not before.
- ``scheduler.in_flight`` is the number of works taken whose result was not handed over yet, those included that wait
  for a call of their customer's under another key.
- A work that was taken is completed or deferred, whatever its look-up ends with (cancelled ones excepted).
- Who shares an answer, ``sharing`` says; a failure concerns the work alone that asked.
"""

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from enricher.as_of import AsOf
from enricher.limiter import LAG_INTERVAL, Limiter, LimiterKind, RateLimit
from enricher.model import FailureKind, LookupFailure, Rejected, Stage, TopicPartition
from enricher.protocols import Answer, HistoryClient
from enricher.retry import Breaker, FailureClass, RetryBudget, RetryPolicy, classify
from enricher.scheduler import Order, Scheduler
from enricher.sharing import NEVER, AnswerCache, Calls, EmptyPolicy
from enricher.stats import Stats
from enricher.turn import Turn
from enricher.work import Work

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LookupOptions:
    """How look-ups are made; the settings say what each means. Durations in seconds, sizes in bytes."""

    max_in_flight: int = 64
    limiter: LimiterKind = LimiterKind.ADAPTIVE
    max_rate: float = 0.0
    order: Order = Order.KEY
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    as_of: AsOf = AsOf.NOW
    coalesce: bool = True
    cache_ttl: float = 0.0
    cache_bytes: int = 64 << 20
    on_empty: EmptyPolicy | None = None


class Lookups:
    """The look-ups of all partitions.

    Args:
        client: the history service.
        on_answer: takes each answer; the lane goes on when it returns.
        on_reject: takes each event that is given up; likewise.
        on_unavailable: takes each event that is to be published without a history; likewise.
        on_drop: takes each work whose partition is not ours any more.
        has_room: whether another output may be made; if not, some that are there will be written and go.
        spawn: starts a task that the pipeline looks after.
        options: how to behave.
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
        has_room: Callable[[], bool],
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        options: LookupOptions,
        clock: Callable[[], float],
        rng: random.Random,
        stats: Stats,
    ) -> None:
        self._client = client
        self._on_answer = on_answer
        self._on_reject = on_reject
        self._on_unavailable = on_unavailable
        self._on_drop = on_drop
        self._has_room = has_room
        self._spawn = spawn
        self._retry = options.retry
        self._on_empty = options.on_empty
        self._clock = clock
        self._rng = rng
        self._stats = stats
        self.scheduler: Scheduler[Work] = Scheduler(options.order)
        self.breaker = Breaker()
        self._budget = RetryBudget()
        # What is off is None, and costs a comparison.
        self._limiter = Limiter(options.max_in_flight) if options.limiter is LimiterKind.ADAPTIVE else None
        self._rate = RateLimit(options.max_rate) if options.max_rate else None
        self._calls: Calls[Work] | None = Calls() if options.coalesce else None
        self._by_event = options.as_of is AsOf.EVENT
        self._cache = (
            AnswerCache(options.cache_ttl, options.cache_bytes, by_event=self._by_event) if options.cache_ttl else None
        )
        self._limit = options.max_in_flight if self._limiter is None else self._limiter.limit
        self._wake: asyncio.TimerHandle | None = None
        self._stopped = False
        self._turn = Turn(clock)
        self.held_up = False  # whether a look-up was not begun for want of room
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
        return self._limit

    @property
    def in_flight(self) -> int:
        """Calls under way, and results being handed over."""
        return self.scheduler.in_flight - self.sharing

    @property
    def sharing(self) -> int:
        """Works that wait for a call of their customer's under another key."""
        return 0 if self._calls is None else self._calls.waiting

    # ---- what begins, and when ---------------------------------------------------------------------------------

    def pump(self) -> None:
        """Start as many look-ups as may start, and see to it that those that may start later are not forgotten."""
        while (work := self._next()) is not None:
            self._spawn(self._look_up(work))
        while (work := self._next_hopeless()) is not None:
            self._spawn(self._give_up_unasked(work))
        self._sleep(None if self._stopped else self._wakes_at())

    @property
    def _full(self) -> bool:
        """Whether as many calls are under way, or results being handed over, as may be."""
        return self.in_flight >= self._limit

    def _next(self) -> Work | None:
        """The next work to look up, if one may start now; it has an ``answer`` where there is one already."""
        now = self._clock()
        if not self._may_start(now):
            return None
        while (work := self.scheduler.take(now)) is not None:
            if work.attempts > work.forgiven and self._puts_off(work, now):
                continue
            event = work.event
            if self._cache is not None:
                work.answer = self._cache.get(event.customer_id, event.contact_time, now)
                if work.answer is not None:
                    return work
            if self._calls is None or self._calls.begin(event.customer_id, work):
                self._started(work, now)
                return work
        return None

    def _may_start(self, now: float) -> bool:
        if self._stopped:
            return False
        if self._full:
            if self._limiter is not None and self.scheduler.ready:
                self._limiter.wanted = True
            return False
        self.held_up = not self._has_room()
        if self.held_up:
            return False
        return self.breaker.allows(now) and (self._rate is None or now >= self._rate.free_at)

    def _started(self, work: Work, now: float) -> None:
        self.breaker.started(now)
        if self._rate is not None:
            self._rate.started(now)
        work.attempts += 1
        if work.attempts - work.forgiven == 1:
            work.started = work.last_failed = now
            work.down = self.breaker.down(now)

    def _puts_off(self, work: Work, now: float) -> bool:
        """Whether the retry is beyond what retries may add to the service's load, and waits some more."""
        if self.breaker.open:  # a probe
            return False
        wait = self._budget.spend(now, self._stats.lookups)
        if wait > 0.0:
            self._stats.retries_put_off += 1
            work.started += wait  # it is not the event's fault
            self.scheduler.defer(work, now + wait)
        return wait > 0.0

    def _next_hopeless(self) -> Work | None:
        """The next work to give up unasked, as the service has been down for too long."""
        if self._stopped or not self.breaker.open or self._full:
            return None
        now = self._clock()
        at = self._retry.hopeless_at(self.breaker)
        return None if at is None or now < at else self.scheduler.take(now)

    def _wakes_at(self) -> float | None:
        """When a look-up may start that could not now, as far as time alone decides."""
        at = float("-inf") if self.scheduler.ready else self.scheduler.due
        if at is None or self._full or self.held_up:
            return None  # in the second case, the next that ends takes what is due; in the third, the next written
        probe = self.breaker.next_probe
        if probe is not None:
            hopeless = self._retry.hopeless_at(self.breaker)
            at = max(at, probe if hopeless is None else min(probe, hopeless))
        if self._rate is not None:
            at = max(at, self._rate.free_at)
        return at

    def _sleep(self, until: float | None) -> None:
        if self._wake is not None:
            self._wake.cancel()
            self._wake = None
        if until is not None:
            delay = max(0.0, until - self._clock())
            self._wake = asyncio.get_running_loop().call_later(delay, self.pump)

    # ---- one call and what comes of it -------------------------------------------------------------------------

    async def _look_up(self, first: Work) -> None:
        """Look up one work, and then, in the same task, whatever is next."""
        work: Work | None = first
        while work is not None:
            if self._cache is not None and (kept := work.answer) is not None:
                self._stats.cache_hits += 1
                await self._begin_unasked(work)
                await self._serve(work, Answer(kept.offers, kept.looked_up_at), kept.began, kept.asked_at)
                work = self._next()
                continue
            self._enter(work)
            customer_id = work.event.customer_id
            began = self._clock()
            try:
                answer = await self._client.fetch(customer_id)
            except LookupFailure as failure:
                now = self._clock()
                if self._turn.over():
                    await self._turn.next()
                waiting = () if self._calls is None else self._calls.end(customer_id)
                await self._failed(work, failure, began, now)
                if waiting:
                    self._take_back(waiting)
            else:
                now = self._clock()
                if self._turn.over():  # failures, too, so that what is counted is counted in its order
                    await self._turn.next()
                self._stats.lookups += 1
                self._stats.lookup_seconds.add(now - began)
                self._answered(began, now)
                asked_at = answer.looked_up_at - math.ceil((now - began) * 1000) if self._by_event else NEVER
                if self._cache is not None and (answer.offers or self._on_empty is None):
                    self._cache.put(customer_id, answer.offers, answer.looked_up_at, began, asked_at)
                waiting = () if self._calls is None else self._calls.end(customer_id)
                await self._serve(work, answer, began, asked_at)
                if waiting:
                    await self._share(waiting, answer, began, asked_at)
                del answer  # it may be large, and this task would keep it through its next call
            work = self._next()
        self.pump()

    def _enter(self, work: Work) -> None:
        """What this task does from now on is done for this work."""
        if work.trace is not None:
            work.trace.enter(work.attempts)

    async def _begin_unasked(self, work: Work) -> None:
        """The answer for this work is there."""
        if self._turn.over():
            await self._turn.next()
        self._enter(work)

    async def _serve(self, work: Work, answer: Answer, began: float, asked_at: int) -> None:
        """Hand the answer over, and then to those behind in the lane that may share it."""
        while True:
            if not work.assignment.current:
                self._on_drop(work)
            elif not answer.offers and self._asks_again(work):
                return
            else:
                await self._on_answer(work, answer)
            if self._calls is None:
                self.scheduler.complete(work)
                return
            behind = self.scheduler.follow(work)
            if behind is None:
                return
            event = behind.event
            if event.customer_id != work.event.customer_id or not (
                behind.received <= began or event.contact_time <= asked_at
            ):
                self.scheduler.put_back([behind], first=False)
                return
            self._stats.coalesced += 1
            await self._begin_unasked(behind)
            work = behind

    async def _share(self, waiting: Sequence[Work], answer: Answer, began: float, asked_at: int) -> None:
        """Hand the answer to those that waited for it under other keys; who is newer asks for himself."""
        newer = []
        for work in waiting:
            if work.received <= began or work.event.contact_time <= asked_at:
                self._stats.coalesced += 1
                await self._begin_unasked(work)
                await self._serve(work, answer, began, asked_at)
            else:
                newer.append(work)
        if newer:
            self._take_back(newer)

    def _take_back(self, waiting: Sequence[Work]) -> None:
        """The call that these waited for did not serve them: they are next."""
        again = []
        for work in waiting:
            if self._stopped or not work.assignment.current:
                self._on_drop(work)
                self.scheduler.complete(work)
            else:
                again.append(work)
        self.scheduler.put_back(again, first=True)
        self.pump()  # so that they come together again

    def _asks_again(self, work: Work) -> bool:
        """Whether an empty history is asked for once more; that is no failure, and is not counted as one."""
        policy = self._on_empty
        if policy is None or work.empties >= policy.attempts or self._stopped:
            return False
        work.empties += 1
        work.forgiven = work.attempts
        self._stats.empty_retries += 1
        self.scheduler.defer(work, self._clock() + policy.delay)
        return True

    async def _failed(self, work: Work, failure: LookupFailure, began: float, now: float) -> None:
        self._stats.failures[failure.kind] += 1
        if classify(failure.kind) is FailureClass.OUTAGE:
            self._outage = failure
            was_open = self.breaker.open
            self.breaker.failed(now)
            if self._limiter is not None:
                self._limiter.failed(began, now)
                self._adopt(self._limiter)
            if self.breaker.open and not was_open:
                log.warning("service_unavailable", kind=failure.kind, reason=failure.message)
        else:
            self._answered(began, now)  # if not as one would like
        # With little traffic the breaker may not have seen enough: that others are answered takes an answer since this
        # event failed last, else a quiet worker would give events up in an outage.
        available = self.breaker.available and self._last_answer >= work.last_failed
        work.last_failed = now
        due = self._retry.retry_at(
            failure, attempts=work.attempts - work.forgiven, started=work.started, now=now,
            jitter=self._rng.random(), available=available, down=self.breaker.down(now) - work.down,
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

    # ---- what the service seems to be able to do ---------------------------------------------------------------

    def _answered(self, began: float, now: float) -> None:
        was_open = self.breaker.open
        self.breaker.succeeded(now)
        self._last_answer = now
        limiter = self._limiter
        if limiter is not None:
            limiter.answered(began, now)
            if now >= limiter.lag_due:
                limiter.lag_due = math.inf  # until it is measured
                loop = asyncio.get_running_loop()
                # As an answer: it comes while we wait, or while others have the CPU, and then its turn has to come.
                loop.call_later(LAG_INTERVAL, loop.call_soon, self._measure_lag, now + LAG_INTERVAL)
            if was_open:
                limiter.recovered(now)
            if limiter.limit != self._limit:
                self._adopt(limiter)
        if was_open:
            log.info("service_back")
            self._budget.refill()
            self.pump()  # this task alone would take one event after the other

    def _adopt(self, limiter: Limiter) -> None:
        raised = limiter.limit > self._limit
        self._limit = limiter.limit
        if raised:
            self.pump()  # as above

    def _measure_lag(self, due: float) -> None:
        now = self._clock()
        if self._limiter is not None:
            self._limiter.lagged(max(0.0, now - due), now)
