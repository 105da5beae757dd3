"""Drives the worker: records in, look-ups, outputs and dead letters out, offsets committed.

Everything here runs on one event loop. What is decided (which event is next, what may be committed, what is paused,
whether a look-up is tried again) is decided by the pure core; this file and its parts (``lookups``, ``delivery``)
carry it out.

Invariants:

- A result that comes after its partition went is dropped: its assignment is no longer current.
- Any fault, an unexpected one in a callback included, ends ``run`` with that error; nothing hangs quietly.
- ``run`` leaves no task behind, however it ends.
"""

import asyncio
import random
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import structlog

from enricher.delivery import Delivery
from enricher.holdings import Holdings, names
from enricher.intake import Decoder, Intake, SchemaFetcher
from enricher.lookups import LookupOptions, Lookups
from enricher.model import Headers, Outgoing, Position, Record, Rejected, TopicPartition
from enricher.outputs import Encoder, Outputs
from enricher.protocols import Answer, CommitFailed, HistoryClient, ProduceFailed, Source, Tracing
from enricher.pulse import Pulse
from enricher.state import Holding, State, take_state
from enricher.stats import Stats
from enricher.tasks import Tasks
from enricher.work import Work

log = structlog.get_logger(__name__)

COMMIT_RESERVE = 3.0
"""Seconds of a drain's deadline kept for the last commit and for leaving the group."""

COMMIT_RETRY = 0.1
"""Seconds between two tries of the last commit."""


@dataclass(frozen=True, slots=True)
class Options:
    """How the pipeline behaves; the settings say what each means. Durations in seconds, sizes in bytes."""

    output_topic: str
    dead_letter_topic: str
    lookups: LookupOptions = field(default_factory=LookupOptions)
    commit_interval: float = 1.0
    max_records: int = 10_000
    max_bytes: int = 64 << 20
    revoke_grace: float = 3.0
    revoke_floor: float = 2.0
    shutdown_deadline: float = 25.0
    added_headers: Headers = field(default_factory=list)  # of every output and dead letter, after the input's


class Pipeline:
    """The worker's main job. Fits ``enricher.protocols.Listener``.

    Args:
        source: where records come from.
        delivery: where records go, and what is promised of it.
        client: the history service.
        decoder: bytes to events.
        encoder: enriched events to bytes.
        options: how to behave.
        clock: seconds, monotonic; the event loop's by default.
        wall_clock: milliseconds since the epoch.
        rng: draws jitter.
        stats: where to count; a new one by default.
        fetcher: asks a schema registry, for a decoder that needs one.
        pulse: told what the pipeline does.
        tracing: makes traces of events; none by default.
    """

    def __init__(
        self,
        source: Source,
        delivery: Delivery,
        client: HistoryClient,
        decoder: Decoder,
        encoder: Encoder,
        *,
        options: Options,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        rng: random.Random | None = None,
        stats: Stats | None = None,
        fetcher: SchemaFetcher | None = None,
        pulse: Pulse | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self._source = source
        self._delivery = delivery
        self._options = options
        self._clock = clock
        self._wall_clock = wall_clock
        self.stats = stats or Stats()
        self._pulse = pulse or Pulse()
        self._tracing = tracing
        self._outputs = Outputs(
            encoder, options.output_topic, options.dead_letter_topic, options.lookups.as_of, options.added_headers
        )
        self._held = Holdings(source, options.max_records, options.max_bytes, self.stats)
        self._changed = asyncio.Event()  # set whenever something was resolved or dropped, for those that wait for it
        self._tasks = Tasks(self.failed, self._changed.set)
        delivery.attach(self)
        self._lookups = Lookups(
            client,
            on_answer=self._answered,
            on_reject=self._reject,
            on_unavailable=self._unavailable,
            on_drop=self.drop,
            has_room=self._has_room,
            spawn=self._tasks.spawn,
            options=options.lookups,
            clock=clock,
            rng=rng or random.Random(),  # noqa: S311  jitter needs no cryptography
            stats=self.stats,
        )
        self._intake = Intake(
            decoder,
            fetcher,
            admit=self._admit,
            refuse=self.refused,
            leave_out=self._leave_out,
            on_resumed=self._let_in,
            spawn=self._tasks.spawn,
        )
        self._worker: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()
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
        self._worker = self._tasks.spawn(self._work())
        try:
            await self._stop.wait()
        finally:
            await self._drain()
            loop.set_exception_handler(None)
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Drain and end. May be called more than once."""
        self._stop.set()

    def failed(self, error: Exception) -> None:
        """End with this error; see ``enricher.protocols.Listener``."""
        if self._error is None:
            self._error = error
            log.error("worker_failed", error=str(error), kind=type(error).__name__)
        self.stop()

    async def _work(self) -> None:
        await self._delivery.start()
        self._pulse.delivering = True
        await self._source.start(self)
        while True:
            await asyncio.sleep(self._options.commit_interval)
            try:
                await self._commit()
            except CommitFailed as error:
                self.stats.commit_failures += 1
                log.warning("commit_failed", error=str(error))

    async def _commit(self) -> None:
        if self._tracing is None:
            await self._delivery.commit(self._held.current)
        else:
            await self._commit_traced(self._tracing)
        self._pulse.committed = time.monotonic()

    async def _commit_traced(self, tracing: Tracing) -> None:
        began, before = self._clock(), self.stats.commits
        try:
            await self._delivery.commit(self._held.current)
        except CommitFailed as error:
            tracing.committed(self._clock() - began, error)
            raise
        if self.stats.commits > before:  # else there was nothing to commit
            tracing.committed(self._clock() - began, None)

    async def _commit_at_last(self) -> None:
        """Commit, again and again if need be: nobody comes after this."""
        while True:
            try:
                await self._commit()
            except CommitFailed as error:
                log.warning("commit_failed", error=str(error))
                await asyncio.sleep(COMMIT_RETRY)
            else:
                return

    async def _drain(self) -> None:
        """Finish what is in flight, commit, close, all within the deadline."""
        self._draining = self._pulse.draining = True
        deadline = self._clock() + self._options.shutdown_deadline
        reserve = min(COMMIT_RESERVE, self._options.shutdown_deadline / 3)
        log.info("draining", in_flight=self._lookups.scheduler.in_flight, held=self._held.buffer.records)
        self._held.close()
        self._lookups.stop()
        self._drop_waiting([assignment.partition for assignment in self._held.current])
        try:
            async with asyncio.timeout(max(0.0, deadline - reserve - self._clock())):
                await self._finish()
        except (TimeoutError, ProduceFailed):
            log.warning("drain_incomplete", in_flight=self._lookups.scheduler.in_flight)
        await self._tasks.cancel()
        for step in (self._commit_at_last, self._source.close, self._delivery.close):
            try:
                async with asyncio.timeout(max(1.0, deadline - self._clock())):
                    await step()
            except (TimeoutError, CommitFailed) as error:
                log.warning("drain_step_failed", step=step.__qualname__, error=str(error) or "no answer in time")
        log.info("drained", unresolved=sum(assignment.tracker.pending for assignment in self._held.current))

    async def _finish(self) -> None:
        """Return when what is under way is handed over and acknowledged; after a failure, when it is acknowledged."""
        while True:
            # Look-ups, and dead letters that wait for room; an acknowledgement may bring one more of these.
            while self._tasks.running - {self._worker} and self._error is None:
                await self._change()
            await self._delivery.flush()
            if self._error is not None or not self._tasks.running - {self._worker}:
                return

    # ---- what the source tells ---------------------------------------------------------------------------------

    def assigned(self, partitions: Mapping[TopicPartition, Position]) -> None:
        """See ``enricher.protocols.Listener``."""
        self.stats.rebalances += 1
        self._held.assign(partitions)
        log.info("partitions_assigned", partitions=names(partitions), all=len(self._held.current))

    def records(self, batch: Collection[Record]) -> None:
        """See ``enricher.protocols.Listener``."""
        if self._draining:
            return
        now, tracing = self._clock(), self._tracing
        if tracing is not None:
            tracing.received(batch)
        for record in batch:
            work = self._held.take(record, now)
            if work is None:
                continue
            if tracing is not None:
                work.trace = tracing.begin(record)
            self._intake.take(work)
        self._let_in()

    def _admit(self, work: Work) -> None:
        self.stats.decoded += 1
        self._held.grow(work, work.decoded)
        self._lookups.admit(work)

    def _leave_out(self, work: Work) -> None:
        if work.trace is not None:
            work.trace.drop("left-out")
        self._held.left_out(work)

    def _let_in(self) -> None:
        """Start what may start of what was admitted, and pause what is to be paused."""
        self._held.balance()
        self._lookups.pump()

    async def revoked(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, Position]:
        """See ``enricher.protocols.Listener``. What is in flight gets ``Options.revoke_grace``.

        All of it shares one deadline, of which ``Options.revoke_floor`` is kept for writing and committing.
        """
        self.stats.rebalances += 1
        going = self._held.of(partitions)
        deadline = self._clock() + self._options.revoke_grace + self._options.revoke_floor
        self._drop_waiting(partitions)
        if not self._draining:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._options.revoke_grace):
                    while any(assignment.working for assignment in going):
                        await self._change()
        positions = await self._delivery.settle(going, self._held.current, max(0.0, deadline - self._clock()))
        self._forget(partitions)
        log.info("partitions_revoked", partitions=names(partitions), all=len(self._held.current))
        return positions

    def lost(self, partitions: Collection[TopicPartition]) -> None:
        """See ``enricher.protocols.Listener``."""
        self.stats.rebalances += 1
        self._forget(partitions)
        log.warning("partitions_lost", partitions=names(partitions), all=len(self._held.current))

    def _forget(self, partitions: Collection[TopicPartition]) -> None:
        self._drop_waiting(partitions)
        self._held.forget(partitions)

    def _drop_waiting(self, partitions: Collection[TopicPartition]) -> None:
        """What is not in flight is left to whoever gets the partitions."""
        for work in [*self._intake.revoke(partitions), *self._lookups.revoke(partitions)]:
            self.drop(work)

    # ---- from the answer to the output -------------------------------------------------------------------------

    async def _answered(self, work: Work, answer: Answer) -> None:
        self.stats.answered += 1
        try:
            output = self._outputs.enriched(work, answer)
        except Rejected as rejected:
            await self._reject(work, rejected)
        else:
            await self._hand_over(work, output)

    async def _unavailable(self, work: Work) -> None:
        try:
            output = self._outputs.unavailable(work, self._wall_clock())
        except Rejected as rejected:
            await self._reject(work, rejected)
        else:
            self.stats.passed_through += 1
            await self._hand_over(work, output)

    async def _hand_over(self, work: Work, output: Outgoing) -> None:
        self.stats.encoded += 1
        self._held.has_output(work, len(output.value or b""))
        if work.trace is not None:
            output = work.trace.sending(output, dead=False)
        await self._delivery.publish(work, output, None)

    async def _reject(self, work: Work, rejected: Rejected) -> None:
        # A dead letter shares the record's bytes, so nothing grows.
        await self._delivery.publish(work, self.dead_letter(work, rejected), rejected)

    # ---- what the delivery tells -------------------------------------------------------------------------------

    def resolved(self, work: Work, rejected: Rejected | None) -> None:
        """See ``enricher.delivery.Owner``."""
        if rejected is None:
            self.stats.enriched += 1
            self.stats.event_seconds.add(self._clock() - work.received)
            if work.record.timestamp >= 0:
                self.stats.event_age_seconds.add((self._wall_clock() - work.record.timestamp) / 1000)
        else:
            self.stats.dead_letters[rejected.stage, rejected.cause] += 1
        if work.trace is not None:
            work.trace.end(rejected)
        self._held.resolved(work)
        self._made_room()
        self._changed.set()

    def refused(self, work: Work, rejected: Rejected) -> None:
        """See ``enricher.delivery.Owner``."""
        self._tasks.spawn(self._reject(work, rejected))

    def dead_letter(self, work: Work, rejected: Rejected) -> Outgoing:
        """See ``enricher.delivery.Owner``."""
        self.stats.rejected[rejected.stage] += 1
        letter = self._outputs.dead_letter(work, rejected)
        return letter if work.trace is None else work.trace.sending(letter, dead=True)

    def drop(self, work: Work) -> None:
        """See ``enricher.delivery.Owner``."""
        if work.trace is not None:
            work.trace.drop()
        self._held.dropped(work)
        self._made_room()
        self._changed.set()

    def _has_room(self) -> bool:
        return self._held.has_room

    def _made_room(self) -> None:
        if self._lookups.held_up and self._held.has_room:
            self._lookups.pump()

    # ---- for those who watch -----------------------------------------------------------------------------------

    def holding(self) -> Holding:
        """What it holds now; asked on the event loop."""
        records = self._held.buffer.records
        if not self._held.has_room:  # then all others wait for those that are handed over
            return Holding(records, records)
        handed = sum(assignment.handed for assignment in self._held.current)
        return Holding(records, handed + self._intake.waiting)

    def state(self) -> State:
        """How it stands now; asked on the event loop."""
        return take_state(self._held, self._lookups, self._clock(), self._wall_clock() / 1000)

    # ---- tasks -------------------------------------------------------------------------------------------------

    async def _change(self) -> None:
        """Return when something was resolved or dropped, or a task has ended."""
        self._changed.clear()
        await self._changed.wait()

    def _on_loop_error(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A callback of the loop raised: a fault of our own, which must not go unnoticed."""
        error = context.get("exception")
        self.failed(error if isinstance(error, Exception) else RuntimeError(str(context.get("message"))))
