"""Drives the worker: records in, look-ups, outputs and dead letters out, offsets committed.

Everything here runs on one event loop. What is decided (which event is next, what may be committed, what is paused,
whether a look-up is tried again) is decided by the pure core; this file carries it out.

Invariants:

- A record is resolved exactly when the broker has acknowledged its output or its dead letter.
- The look-up and the output of one lane's events happen in order: the next one starts when the last one's output was
  handed to the sink.
- A result that comes after its partition went is dropped: its assignment is no longer current.
- ``run`` leaves no task behind, however it ends.
"""

import asyncio
import random
import time
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import structlog

from enricher import __version__
from enricher.buffer import Buffer
from enricher.deadletter import dead_letter
from enricher.model import (
    Enriched,
    Enrichment,
    Event,
    LookupFailure,
    OfferHistory,
    Outgoing,
    Position,
    Record,
    Rejected,
    Stage,
    Status,
    TopicPartition,
)
from enricher.offsets import OffsetTracker
from enricher.protocols import Answer, CommitFailed, HistoryClient, ProduceFailed, Sink, Source
from enricher.retry import Breaker, FailureClass, RetryPolicy, classify
from enricher.scheduler import Order, Scheduler
from enricher.stats import Stats

log = structlog.get_logger(__name__)

COMMIT_RESERVE = 3.0
"""Seconds of a drain's deadline kept for the last flush and commit."""


class Decoder(Protocol):
    """Bytes to an event."""

    def decode(self, record: Record) -> Event:
        """Raises ``Rejected``."""
        ...


class Encoder(Protocol):
    """An enriched event to bytes."""

    def encode(self, enriched: Enriched) -> bytes:
        """Raises ``Rejected``."""
        ...


@dataclass(frozen=True, slots=True)
class Options:
    """How the pipeline behaves; the settings say what each means. Durations in seconds, sizes in bytes."""

    output_topic: str
    dead_letter_topic: str
    max_in_flight: int = 64
    order: Order = Order.KEY
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    commit_interval: float = 1.0
    max_records: int = 10_000
    max_bytes: int = 64 << 20
    revoke_grace: float = 3.0
    shutdown_deadline: float = 25.0


class Assignment:
    """One partition from its assignment until it is revoked or lost."""

    __slots__ = ("committed", "current", "dropped", "partition", "tracker")

    def __init__(self, partition: TopicPartition, position: Position) -> None:
        self.dropped = 0  # works that will not be resolved here
        self.partition = partition
        self.tracker = OffsetTracker(position)
        self.committed = position
        self.current = True

    @property
    def working(self) -> int:
        """Records that are in flight, or produced and not acknowledged yet, once nothing is queued any more."""
        return self.tracker.pending - self.dropped


class Work:
    """One record on its way through the worker."""

    __slots__ = ("assignment", "attempts", "event", "key", "received", "record", "size", "source", "started")

    def __init__(self, record: Record, assignment: Assignment, received: float) -> None:
        self.record = record
        self.assignment = assignment
        self.source = assignment.partition
        self.key = record.key
        self.received = received
        self.size = record.size
        self.event: Event
        self.attempts = 0
        self.started = 0.0


class Pipeline:
    """The worker's main job. Fits ``enricher.protocols.Listener``.

    Args:
        source: where records come from.
        sink: where records go.
        client: the history service.
        decoder: bytes to events.
        encoder: enriched events to bytes.
        options: how to behave.
        clock: seconds, monotonic; the event loop's by default.
        rng: draws jitter.
        stats: where to count; a new one by default.
    """

    def __init__(
        self,
        source: Source,
        sink: Sink,
        client: HistoryClient,
        decoder: Decoder,
        encoder: Encoder,
        *,
        options: Options,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
        stats: Stats | None = None,
    ) -> None:
        self._source = source
        self._sink = sink
        self._client = client
        self._decoder = decoder
        self._encoder = encoder
        self._options = options
        self._clock = clock
        self._rng = rng or random.Random()  # noqa: S311  jitter needs no cryptography
        self.stats = stats or Stats()
        self._scheduler: Scheduler[Work] = Scheduler(options.order)
        self._breaker = Breaker()
        self._buffer = Buffer(options.max_records, options.max_bytes)
        self._assignments: dict[tuple[str, int], Assignment] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake: asyncio.TimerHandle | None = None
        self._stop = asyncio.Event()
        self._changed = asyncio.Event()  # set at every resolution, for those that wait for one
        self._error: Exception | None = None
        self._draining = False

    # ---- life --------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Work until ``stop`` is called; then drain, commit, leave the group.

        Raises:
            Exception: what ended the worker: a source or sink that cannot go on, or a fault of our own. What was
                resolved by then is committed.
        """
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._on_loop_error)
        self._spawn(self._work())
        try:
            await self._stop.wait()
        finally:
            await self._end()
            loop.set_exception_handler(None)
        if self._error is not None:
            raise self._error

    async def _work(self) -> None:
        await self._sink.start()
        await self._source.start(self)
        while True:
            await asyncio.sleep(self._options.commit_interval)
            try:
                await self._commit()
            except CommitFailed as error:
                self.stats.commit_failures += 1
                log.warning("commit_failed", error=str(error))

    def _on_loop_error(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A callback of the loop raised: a fault of our own, which must not go unnoticed."""
        error = context.get("exception")
        self.failed(error if isinstance(error, Exception) else RuntimeError(str(context.get("message"))))

    def stop(self) -> None:
        """Drain and end. May be called more than once."""
        self._stop.set()

    def failed(self, error: Exception) -> None:
        """End with this error; see ``enricher.protocols.Listener``."""
        if self._error is None:
            self._error = error
            log.error("worker_failed", error=str(error), kind=type(error).__name__)
        self.stop()

    async def _end(self) -> None:
        self._draining = True
        deadline = self._clock() + self._options.shutdown_deadline
        reserve = min(COMMIT_RESERVE, self._options.shutdown_deadline / 3)
        log.info("draining", in_flight=self._scheduler.in_flight, held=self._buffer.records)
        self._buffer.closed = True
        self._apply_back_pressure()
        dropped = self._scheduler.revoke([a.partition for a in self._assignments.values()])
        if self._wake is not None:
            self._wake.cancel()
        try:
            async with asyncio.timeout(max(0.0, deadline - reserve - self._clock())):
                if self._error is None:
                    await self._finish_in_flight()
                await self._sink.flush()
        except (TimeoutError, ProduceFailed):
            log.warning("drain_incomplete", in_flight=self._scheduler.in_flight)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for step in (self._commit, self._source.close, self._sink.close):
            try:
                async with asyncio.timeout(max(1.0, deadline - self._clock())):
                    await step()
            except (TimeoutError, CommitFailed) as error:
                log.warning("drain_step_failed", step=step.__qualname__, error=str(error) or "no answer in time")
        log.info("drained", dropped=len(dropped), unresolved=self._buffer.records)

    async def _finish_in_flight(self) -> None:
        while self._scheduler.in_flight:
            self._changed.clear()
            await self._changed.wait()

    # ---- what the source tells ---------------------------------------------------------------------------------

    def assigned(self, partitions: Mapping[TopicPartition, Position]) -> None:
        """See ``enricher.protocols.Listener``."""
        self.stats.rebalances += 1
        for partition, position in partitions.items():
            assignment = Assignment(partition, position)
            self._assignments[partition] = assignment
            if assignment.tracker.foreign_metadata:
                log.warning("commit_metadata_ignored", partition=str(partition), reason="not written by this program")
        self._buffer.assign(partitions)
        log.info("partitions_assigned", partitions=_names(partitions), all=len(self._assignments))
        self._apply_back_pressure()

    def records(self, batch: Collection[Record]) -> None:
        """See ``enricher.protocols.Listener``."""
        if self._draining:
            return
        now = self._clock()
        assignments = self._assignments
        for record in batch:
            assignment = assignments.get((record.topic, record.partition))
            if assignment is None:
                continue
            self.stats.received += 1
            if not assignment.tracker.track(record.offset):
                self.stats.skipped += 1
                continue
            work = Work(record, assignment, now)
            self._buffer.add(assignment.partition, work.size)
            try:
                work.event = self._decoder.decode(record)
            except Rejected as rejected:
                self._spawn(self._reject(work, rejected))
            else:
                self._scheduler.admit(work)
        self._apply_back_pressure()
        self._pump()

    async def revoked(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, Position]:
        """See ``enricher.protocols.Listener``. What is in flight gets ``Options.revoke_grace``."""
        self.stats.rebalances += 1
        going = [self._assignments[partition] for partition in partitions if partition in self._assignments]
        for work in self._scheduler.revoke(partitions):
            self._drop(work)
        if not self._draining:
            try:
                async with asyncio.timeout(self._options.revoke_grace):
                    while any(assignment.working for assignment in going):
                        self._changed.clear()
                        await self._changed.wait()
            except TimeoutError:
                pass
        positions = {a.partition: at for a in going if (at := a.tracker.position()) != a.committed}
        self._forget(partitions)
        log.info("partitions_revoked", partitions=_names(partitions), all=len(self._assignments))
        return positions

    def lost(self, partitions: Collection[TopicPartition]) -> None:
        """See ``enricher.protocols.Listener``."""
        self.stats.rebalances += 1
        for work in self._scheduler.revoke(partitions):
            self._drop(work)
        self._forget(partitions)
        log.warning("partitions_lost", partitions=_names(partitions), all=len(self._assignments))

    def _forget(self, partitions: Collection[TopicPartition]) -> None:
        for partition in partitions:
            assignment = self._assignments.pop(partition, None)
            if assignment is not None:
                assignment.current = False
        self._buffer.revoke(partitions)
        self._apply_back_pressure()

    def _drop(self, work: Work) -> None:
        """A work that another worker will do."""
        self.stats.dropped += 1
        work.assignment.dropped += 1  # it stays unresolved, so that nothing past it is committed
        self._buffer.remove(work.source, work.size, current=work.assignment.current)
        self._changed.set()

    # ---- look-ups ----------------------------------------------------------------------------------------------

    def _next(self) -> Work | None:
        """The next work to look up, if one may start now."""
        if self._draining or self._scheduler.in_flight >= self._options.max_in_flight:
            return None
        now = self._clock()
        if not self._breaker.allows(now):
            return None
        work = self._scheduler.take(now)
        if work is not None:
            self._breaker.started(now)
            work.attempts += 1
            if work.attempts == 1:
                work.started = now
        return work

    def _pump(self) -> None:
        """Start as many look-ups as may start, and see to it that we wake up for those that may start later."""
        while (work := self._next()) is not None:
            self._spawn(self._look_up(work))
        if self._wake is not None:
            self._wake.cancel()
            self._wake = None
        if self._draining:
            return
        due = self._scheduler.due
        probe = self._breaker.next_probe
        times = [at for at in (due if self._breaker.next_probe is None else None, probe) if at is not None]
        if times and (self._scheduler.ready or due is not None):
            delay = max(0.0, min(times) - self._clock())
            self._wake = asyncio.get_running_loop().call_later(delay, self._pump)

    async def _look_up(self, first: Work) -> None:
        """Look up one work, and then, in the same task, whatever is next."""
        work: Work | None = first
        while work is not None:
            started = self._clock()
            try:
                answer = await self._client.fetch(work.event.customer_id)
            except LookupFailure as failure:
                await self._lookup_failed(work, failure)
            else:
                self.stats.lookups += 1
                self.stats.lookup_seconds.add(self._clock() - started)
                was_open = self._breaker.open
                self._breaker.succeeded()
                if was_open:
                    log.info("service_back")
                await self._lookup_succeeded(work, answer)
            self._changed.set()
            work = self._next()
        self._pump()

    async def _lookup_succeeded(self, work: Work, answer: Answer) -> None:
        if work.assignment.current:
            try:
                output = self._output(work, answer)
            except Rejected as rejected:
                await self._reject(work, rejected)
            else:
                await self._publish(work, output, None)
        else:
            self._drop(work)
        self._scheduler.complete(work)

    async def _lookup_failed(self, work: Work, failure: LookupFailure) -> None:
        now = self._clock()
        self.stats.failures[failure.kind] += 1
        failed = classify(failure.kind)
        if failed is FailureClass.OUTAGE:
            was_open = self._breaker.open
            self._breaker.failed(now)
            if self._breaker.open and not was_open:
                log.warning("service_unavailable", kind=failure.kind, reason=failure.message)
        else:
            self._breaker.succeeded()  # it answered, if not as one would like
        if not work.assignment.current or self._draining:
            self._drop(work)
            self._scheduler.complete(work)
            return
        due = self._options.retry.retry_at(
            failure, attempts=work.attempts, started=work.started, now=now,
            jitter=self._rng.random(), available=self._breaker.available,
        )  # fmt: skip
        if due is not None:
            self.stats.retries += 1
            self._scheduler.defer(work, due)
            return
        message = f"{failure.message} (attempt {work.attempts}, {now - work.started:.1f} s after the first began)"
        await self._reject(work, Rejected(Stage.LOOKUP, failure.kind, message))
        self._scheduler.complete(work)

    # ---- outputs -----------------------------------------------------------------------------------------------

    def _output(self, work: Work, answer: Answer) -> Outgoing:
        record = work.record
        enriched = Enriched(
            work.event,
            OfferHistory(work.event.customer_id, answer.looked_up_at, answer.looked_up_at, answer.offers),
            Enrichment(
                record.topic, record.partition, record.offset, __version__, work.attempts,
                Status.ENRICHED if answer.offers else Status.NO_HISTORY,
            ),
        )  # fmt: skip
        value = self._encoder.encode(enriched)
        return Outgoing(self._options.output_topic, record.key, value, record.headers, record.timestamp)

    async def _reject(self, work: Work, rejected: Rejected) -> None:
        letter = dead_letter(work.record, rejected, self._options.dead_letter_topic, attempts=work.attempts)
        await self._publish(work, letter, rejected)

    async def _publish(self, work: Work, output: Outgoing, rejected: Rejected | None) -> None:
        """Hand an output over, waiting for room; ``rejected`` tells that it is a dead letter, and why."""
        grown = len(output.value or b"")
        work.size += grown
        self._buffer.grow(grown)

        def delivered(error: ProduceFailed | None) -> None:
            if error is None:
                self._resolve(work, rejected)
            elif error.too_large and rejected is None:
                self._spawn(self._reject(work, Rejected(Stage.PRODUCE, "OutputTooLarge", str(error))))
            else:
                what = "dead letter" if rejected else "output"
                self.failed(ProduceFailed(f"{what} to topic {output.topic} was not written: {error}"))

        while work.assignment.current:
            if self._sink.produce(output, delivered):
                return
            await self._sink.writable()
        self._drop(work)

    def _resolve(self, work: Work, rejected: Rejected | None) -> None:
        assignment = work.assignment
        if rejected is None:
            self.stats.enriched += 1
            self.stats.event_seconds.add(self._clock() - work.received)
        else:
            self.stats.dead_letters[rejected.stage, rejected.cause] += 1
        self._buffer.remove(work.source, work.size, current=assignment.current)
        self._changed.set()
        if assignment.current:
            assignment.tracker.resolve(work.record.offset)
            if self._buffer.relieved(work.source):
                self._apply_back_pressure()

    # ---- the rest ----------------------------------------------------------------------------------------------

    def _apply_back_pressure(self) -> None:
        changes = self._buffer.changes(lambda partition: self._assignments[partition].tracker.full)
        if changes.pause:
            self._source.pause(changes.pause)
        if changes.resume:
            self._source.resume(changes.resume)

    async def _commit(self) -> None:
        """Commit what became committable since the last commit."""
        moved: list[tuple[Assignment, Position]] = [
            (assignment, position)
            for assignment in self._assignments.values()
            if (position := assignment.tracker.position()) != assignment.committed
        ]
        if not moved:
            return
        await self._source.commit({assignment.partition: position for assignment, position in moved})
        self.stats.commits += 1
        for assignment, position in moved:
            assignment.committed = position

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._changed.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            self.failed(error if isinstance(error, Exception) else RuntimeError(repr(error)))


def _names(partitions: Collection[TopicPartition]) -> Sequence[str]:
    return [f"{topic}[{partition}]" for topic, partition in sorted(partitions)]
