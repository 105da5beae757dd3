"""Reads records from Kafka: the one thread that owns the Consumer.

librdkafka serialises the calls on a consumer, so that a commit from another thread waits until ``consume()`` returns
and can starve. Here every call is made by one thread; the event loop sends it commands and gets batches back.

Invariants:

- The listener hears everything on the event loop, in the order in which it happened: a batch is delivered before the
  revocation that follows it.
- A partition is read from the committed offset with the commit's metadata, looked up at each assignment, never from a
  position that the client remembered. An offset outside the log follows ``auto.offset.reset``; its metadata is void.
- Nothing is committed for a partition that is not assigned.
- The thread never waits for the event loop without a bound: while the loop is blocked it pauses everything and goes on
  polling, so that the group does not take the worker for dead (``max.poll.interval.ms``).
- All that happens inside a rebalance is bounded (``enricher.consumer.times``).
"""

import asyncio
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from typing import Any

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message
from confluent_kafka import TopicPartition as KafkaPartition

from enricher.consumer import commit_before_leaving, configuration, failure, incremental, times
from enricher.kafka import explain, to_kafka, to_record
from enricher.model import Position, Record, TopicPartition
from enricher.protocols import CommitFailed, Listener, OnEnd
from enricher.pulse import Pulse
from enricher.starts import patient_starts

RebalanceCallback = Callable[[Consumer, list[KafkaPartition]], None]

log = structlog.get_logger(__name__)

POLL = 0.1
BATCH = 500
BATCHES_AHEAD = 2  # what the thread may be ahead of the loop

SLICE = 64
"""Records of a batch that are handed over in one turn of the loop: about a millisecond's work."""

GROUP = 0.05
"""Seconds between two looks at the group's metadata: each waits for librdkafka's own main thread."""

PATIENCE = 1.0
"""Seconds that the loop may be behind before everything is paused: a pause throws away what was fetched ahead."""


class KafkaSource:
    """A consumer group's member, as ``enricher.protocols.Source`` wants it.

    Args:
        properties: librdkafka's; ``bootstrap.servers`` and ``group.id`` are needed, ``enricher.consumer.DEFAULTS`` may
            be overridden.
        topics: to subscribe to.
        revoke_deadline: seconds that the pipeline gets to say what is to be committed before partitions go;
            ``enricher.consumer.times`` says by default.
        pulse: told what the thread does.

    Attributes:
        on_end: see ``enricher.protocols.EndTellingSource``.
    """

    def __init__(
        self,
        properties: Mapping[str, Any],
        topics: Collection[str],
        *,
        revoke_deadline: float | None = None,
        pulse: Pulse | None = None,
    ) -> None:
        self._properties = configuration(properties)
        self._incremental = incremental(self._properties)
        self._topics = list(topics)
        self._times = times(properties)
        self._revoke_deadline = self._times.answer if revoke_deadline is None else revoke_deadline
        self._pulse = pulse or Pulse()
        self._commands: queue.SimpleQueue[Callable[[Consumer], None]] = queue.SimpleQueue()
        self._ahead = threading.Semaphore(BATCHES_AHEAD)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        # The thread's own:
        self._assigned: set[TopicPartition] = set()
        self._paused: set[TopicPartition] = set()  # by the pipeline
        # What was read while the loop is blocked; everything is paused then.
        self._backlog: deque[tuple[list[Record], dict[TopicPartition, int]]] = deque()
        self._group: object = None
        self._group_due = 0.0  # when the thread looks at it again
        self.on_end: OnEnd | None = None
        self._ends: dict[TopicPartition, int] = {}  # met in the batch that is being put together
        self._callback_error: Exception | None = None
        self._committing: asyncio.Future[CommitFailed | None] | None = None
        self._closed: asyncio.Future[None] | None = None
        self._arrived: deque[tuple[list[Record], dict[TopicPartition, int]]] = deque()  # and not handed over yet
        self._listener: Listener
        self._loop: asyncio.AbstractEventLoop

    # ---- on the event loop -------------------------------------------------------------------------------------

    async def start(self, listener: Listener) -> None:
        """Subscribe and begin to deliver; see ``enricher.protocols.Source``."""
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._closed = self._loop.create_future()
        self._thread = threading.Thread(target=self._run, name="consumer", daemon=True)
        self._thread.start()

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        """Deliver no more of these until resumed; see ``enricher.protocols.Source``."""

        def pause(consumer: Consumer) -> None:
            self._paused.update(self._assigned & set(partitions))
            consumer.pause(self._current(partitions))

        self._send(pause)

    def resume(self, partitions: Collection[TopicPartition]) -> None:
        """Deliver again; see ``enricher.protocols.Source``."""

        def resume(consumer: Consumer) -> None:
            self._paused.difference_update(partitions)
            if not self._backlog:
                consumer.resume(self._current(partitions))

        self._send(resume)

    async def commit(self, positions: Mapping[TopicPartition, Position]) -> None:
        """Commit and wait for the broker's answer; see ``enricher.protocols.Source``. One at a time."""
        while self._committing is not None:  # of one that was given up; its answer must not be taken for ours
            await asyncio.wait([self._committing])
        if self._stopping.is_set():
            raise CommitFailed("the consumer is closed")
        done: asyncio.Future[CommitFailed | None] = self._loop.create_future()
        self._committing = done

        def commit(consumer: Consumer) -> None:
            mine = {partition: at for partition, at in positions.items() if partition in self._assigned}
            if not mine:
                self._answer_commit(None)
                return
            consumer.commit(offsets=to_kafka(mine), asynchronous=True)

        self._send(commit)
        if (error := await asyncio.shield(done)) is not None:
            raise error

    def group(self) -> object:
        """The group's metadata as the thread last saw it; see ``enricher.protocols.Source``."""
        return self._group

    async def close(self) -> None:
        """Leave the group; see ``enricher.protocols.Source``."""
        self._stopping.set()
        if self._closed is not None:
            await asyncio.shield(self._closed)

    def _deliver(self, batch: list[Record], ends: dict[TopicPartition, int]) -> None:
        """Hand over a batch, a slice in each turn of the loop."""
        self._arrived.append((batch, ends))
        if len(self._arrived) == 1:
            self._hand_slice()

    def _hand_slice(self) -> None:
        if not self._arrived:
            return  # handed over by _in_order
        batch, ends = self._arrived[0]
        records, rest = batch[:SLICE], batch[SLICE:]
        if rest:
            self._arrived[0] = rest, ends
        else:
            self._arrived.popleft()
            self._ahead.release()
        if self._arrived:
            self._loop.call_soon(self._hand_slice)
        if records:
            self._listener.records(records)
        if not rest and self.on_end is not None:
            for partition, offset in ends.items():
                self.on_end(partition, offset)

    def _in_order(self, tell: Callable[..., None], *args: object) -> None:
        """Tell the listener of something else, after all that was read before it."""
        self._hand_rest()
        tell(*args)

    async def _revoked(self, partitions: list[TopicPartition]) -> Mapping[TopicPartition, Position]:
        self._hand_rest()
        return await self._listener.revoked(partitions)

    def _hand_rest(self) -> None:
        while self._arrived:
            self._hand_slice()

    def _send(self, command: Callable[[Consumer], None]) -> None:
        self._commands.put(command)

    # ---- on the thread -----------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            callbacks = {
                "on_commit": self._on_commit,
                "error_cb": self._on_error,
                "stats_cb": self._pulse.take_consumer,
            }
            consumer = Consumer(
                {**self._properties, "enable.partition.eof": self.on_end is not None, **callbacks},
                logger=logging.getLogger("librdkafka.consumer"),
            )
            try:
                consumer.subscribe(
                    self._topics,
                    on_assign=self._guarded(self._on_assign),
                    on_revoke=self._guarded(self._on_revoke),
                    on_lost=self._guarded(self._on_lost),
                )
                self._pulse.consuming = True
                while not self._stopping.is_set():
                    self._pulse.polled = now = time.monotonic()
                    if now >= self._group_due:
                        self._group_due = now + GROUP
                        self._post(self._set_group, consumer.consumer_group_metadata())
                    self._obey(consumer)
                    self._read(consumer)
                self._obey(consumer)
            finally:
                consumer.close()  # commits nothing by itself; revokes through _on_revoke, then leaves the group
        except KafkaException as error:
            self._post(self._in_order, self._listener.failed, failure(error.args[0]))
        except Exception as error:  # noqa: BLE001  whatever it was, the pipeline has to hear of it
            self._post(self._in_order, self._listener.failed, error)
        finally:
            self._pulse.consuming = False
            self._stopping.set()
            self._answer_commit(CommitFailed("the consumer was closed before the broker answered"))
            self._post(self._set_closed)

    def _obey(self, consumer: Consumer) -> None:
        while True:
            try:
                command = self._commands.get_nowait()
            except queue.Empty:
                return
            try:
                command(consumer)
            except KafkaException as error:
                # A commit that cannot even be sent; a pause of what went in the meantime is no error (_current).
                self._answer_commit(CommitFailed(explain(error.args[0])))

    def _read(self, consumer: Consumer) -> None:
        message = consumer.poll(0.0 if self._backlog else POLL)
        self._raise_callback_error()
        batch: list[Record] = []
        if message is not None:
            messages = [message, *consumer.consume(BATCH - 1, 0)]
            batch = [record for message in messages if (record := self._record(message)) is not None]
        ends, self._ends = self._ends, {}
        if batch or ends or self._backlog:
            self._hand_over(consumer, batch, ends)

    def _hand_over(self, consumer: Consumer, batch: list[Record], ends: dict[TopicPartition, int]) -> None:
        """Give the loop what was read; if it takes nothing for a while, pause everything and keep that for later."""
        behind = bool(self._backlog)
        if batch or ends:
            self._backlog.append((batch, ends))
        deadline = time.monotonic() + (POLL if behind else PATIENCE)
        while self._backlog and not self._stopping.is_set():
            if self._ahead.acquire(timeout=POLL):
                self._post(self._deliver, *self._backlog.popleft())
            elif time.monotonic() >= deadline:
                break
            else:
                self._pulse.polled = time.monotonic()
                self._obey(consumer)  # heartbeats go on in librdkafka's own thread
        if self._backlog and not behind:
            log.warning("event_loop_blocked", seconds=PATIENCE)
            consumer.pause(self._current(self._assigned))
        elif behind and not self._backlog:
            consumer.resume(self._current(self._assigned - self._paused))

    def _record(self, message: Message) -> Record | None:
        error = message.error()
        if error is not None:
            if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  a constant, named so by the library
                self._meet_end(message)
            else:
                self._on_error(error)
            return None
        record = to_record(message)
        return record if record.source in self._assigned else None

    def _meet_end(self, message: Message) -> None:
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        if topic is not None and partition is not None and offset is not None:
            self._ends[TopicPartition(topic, partition)] = offset

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal() or error.code() == KafkaError._FATAL:  # noqa: SLF001  the library's constant
            self._callback_error = failure(error)
        # Everything else is temporary for librdkafka, which goes on by itself (brokers down, a topic not there yet).
        log.warning("kafka_consumer_error", code=error.name(), error=error.str())

    def _guarded(self, callback: RebalanceCallback) -> RebalanceCallback:
        """Keep what a callback raises until ``poll()`` has returned: the binding garbles an exception on its way."""

        def guarded(consumer: Consumer, partitions: list[KafkaPartition]) -> None:
            self._pulse.rebalancing = time.monotonic()
            try:
                callback(consumer, partitions)
            except Exception as error:  # noqa: BLE001  raised again by _raise_callback_error
                self._callback_error = error
            finally:
                self._pulse.rebalancing = 0.0
                self._group_due = 0.0

        return guarded

    def _raise_callback_error(self) -> None:
        error, self._callback_error = self._callback_error, None
        if error is not None:
            raise error

    def _on_assign(self, consumer: Consumer, partitions: list[KafkaPartition]) -> None:
        starts = patient_starts(
            consumer, partitions, str(self._properties["auto.offset.reset"]),
            patience=self._times.start, given_up=self._stopping.is_set,
        )  # fmt: skip
        kafka_partitions = to_kafka(starts)
        if self._incremental:
            consumer.incremental_assign(kafka_partitions)
        else:
            consumer.assign(kafka_partitions)
        self._assigned.update(starts)
        if kafka_partitions:
            consumer.resume(kafka_partitions)  # librdkafka keeps a pause across a rebalance
            if self._backlog:
                consumer.pause(kafka_partitions)
        self._pulse.joined = True
        self._post(self._in_order, self._listener.assigned, starts)

    def _on_revoke(self, consumer: Consumer, partitions: list[KafkaPartition]) -> None:
        mine = [TopicPartition(p.topic, p.partition) for p in partitions]
        begun = time.monotonic()
        self._post(self._set_group, consumer.consumer_group_metadata())
        answer = asyncio.run_coroutine_threadsafe(self._revoked(mine), self._loop)
        try:
            positions = answer.result(self._revoke_deadline)
        except TimeoutError:
            answer.cancel()
            self._post(self._in_order, self._listener.lost, mine)
            log.warning("revoke_timed_out", partitions=len(mine), seconds=self._revoke_deadline)
            positions = {}
        if positions:
            commit_before_leaving(consumer, positions, begun + self._revoke_deadline)
        self._unassign(consumer, partitions, mine)

    def _on_lost(self, consumer: Consumer, partitions: list[KafkaPartition]) -> None:
        mine = [TopicPartition(p.topic, p.partition) for p in partitions]
        self._post(self._in_order, self._listener.lost, mine)
        self._unassign(consumer, partitions, mine)

    def _unassign(self, consumer: Consumer, partitions: list[KafkaPartition], mine: Collection[TopicPartition]) -> None:
        self._assigned.difference_update(mine)
        self._paused.difference_update(mine)
        for batch, ends in self._backlog:  # nobody has heard of these, and whoever gets the partitions reads them
            batch[:] = [record for record in batch if record.source in self._assigned]
            for partition in mine:
                ends.pop(partition, None)
        if self._incremental:
            consumer.incremental_unassign(partitions)
        else:
            consumer.unassign()

    def _on_commit(self, error: KafkaError | None, partitions: list[KafkaPartition]) -> None:
        errors = [p.error for p in partitions if p.error is not None]
        if error is not None:
            errors.insert(0, error)
        self._answer_commit(CommitFailed(explain(errors[0])) if errors else None)

    def _current(self, partitions: Collection[TopicPartition]) -> list[KafkaPartition]:
        return [KafkaPartition(*partition) for partition in partitions if partition in self._assigned]

    # ---- from the thread to the event loop ---------------------------------------------------------------------

    def _post(self, call: Callable[..., None], *args: object) -> None:
        try:
            self._loop.call_soon_threadsafe(call, *args)
        except RuntimeError:
            if not self._stopping.is_set():  # the loop is gone, and so is everybody who could care
                raise

    def _answer_commit(self, error: CommitFailed | None) -> None:
        self._post(self._set_committed, error)

    def _set_committed(self, error: CommitFailed | None) -> None:
        done, self._committing = self._committing, None
        if done is not None:
            done.set_result(error)

    def _set_group(self, group: object) -> None:
        # In order with what the listener hears: a newer generation than that which it knows of would let a transaction
        # commit for partitions that it does not know to be lost.
        self._group = group

    def _set_closed(self) -> None:
        if self._closed is not None and not self._closed.done():
            self._closed.set_result(None)
