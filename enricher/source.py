"""Reads records from Kafka: the one thread that owns the Consumer.

librdkafka serialises the calls on a consumer, so that a commit from another thread waits until ``consume()`` returns
and can starve. Here every call is made by one thread; the event loop sends it commands and gets batches back.

Invariants:

- The listener hears everything on the event loop, in the order in which it happened: a batch is delivered before the
  revocation that follows it.
- Nothing is committed for a partition that is not held, as ``enricher.partitions`` tells.
- The thread never waits for the event loop without a bound: while the loop is blocked it pauses everything and goes on
  polling, so that the group does not take the worker for dead (``max.poll.interval.ms``).
"""

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message
from confluent_kafka import TopicPartition as KafkaPartition

from enricher.consumer import configuration, failure, times
from enricher.handover import Ends, Handover
from enricher.kafka import explain, to_kafka, to_record
from enricher.model import Position, Record, TopicPartition
from enricher.partitions import Partitions
from enricher.protocols import CommitFailed, Listener, OnEnd
from enricher.pulse import Pulse

log = structlog.get_logger(__name__)

POLL = 0.1
BATCH = 500

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
        self._topics = list(topics)
        self._times = times(properties)
        if revoke_deadline is not None:
            self._times = self._times._replace(answer=revoke_deadline)
        self._pulse = pulse or Pulse()
        self._commands: queue.SimpleQueue[Callable[[Consumer], None]] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self.on_end: OnEnd | None = None
        # The thread's own:
        self._handover = Handover(self._post, self._deliver)
        self._partitions: Partitions
        self._ends: dict[TopicPartition, int] = {}  # met in the batch that is being put together
        self._fatal: Exception | None = None
        self._unanswered = False  # a commit was sent
        # The loop's own:
        self._group: object = None
        self._committing: asyncio.Future[CommitFailed | None] | None = None
        self._closed: asyncio.Future[None] | None = None
        self._listener: Listener
        self._loop: asyncio.AbstractEventLoop

    # ---- on the event loop -------------------------------------------------------------------------------------

    async def start(self, listener: Listener) -> None:
        """Subscribe and begin to deliver; see ``enricher.protocols.Source``."""
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._closed = self._loop.create_future()
        self._partitions = Partitions(
            self._properties, self._times, listener, self._loop, post=self._post, show_group=self._set_group,
            handover=self._handover, given_up=self._stopping.is_set, pulse=self._pulse,
        )  # fmt: skip
        self._thread = threading.Thread(target=self._run, name="consumer", daemon=True)
        self._thread.start()

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        """Deliver no more of these until resumed; see ``enricher.protocols.Source``."""
        self._send(lambda consumer: self._partitions.pause(consumer, partitions))

    def resume(self, partitions: Collection[TopicPartition]) -> None:
        """Deliver again; see ``enricher.protocols.Source``."""
        self._send(lambda consumer: self._partitions.resume(consumer, partitions))

    async def commit(self, positions: Mapping[TopicPartition, Position]) -> None:
        """Commit and wait for the broker's answer; see ``enricher.protocols.Source``. One at a time."""
        while self._committing is not None:  # of one that was given up; its answer must not be taken for ours
            await asyncio.wait([self._committing])
        if self._stopping.is_set():
            raise CommitFailed("the consumer is closed")
        done: asyncio.Future[CommitFailed | None] = self._loop.create_future()
        self._committing = done

        def commit(consumer: Consumer) -> None:
            mine = {partition: at for partition, at in positions.items() if partition in self._partitions}
            if not mine:
                self._answer_commit(None)
                return
            self._unanswered = True
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

    def _send(self, command: Callable[[Consumer], None]) -> None:
        self._commands.put(command)

    # ---- on the thread -----------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._consume()
        except KafkaException as error:
            self._handover.tell(self._listener.failed, failure(error.args[0]))
        except Exception as error:  # noqa: BLE001  whatever it was, the pipeline has to hear of it
            self._handover.tell(self._listener.failed, error)
        finally:
            self._pulse.consuming = False
            self._stopping.set()
            self._answer_commit(CommitFailed("the consumer is closed"))
            self._post(self._set_closed)

    def _consume(self) -> None:
        """Be a member until we are closed, or until another consumer has to take over."""
        callbacks = {"on_commit": self._on_commit, "error_cb": self._on_error, "stats_cb": self._pulse.take_consumer}
        consumer = Consumer(
            {**self._properties, "enable.partition.eof": self.on_end is not None, **callbacks},
            logger=logging.getLogger("librdkafka.consumer"),
        )
        try:
            self._partitions.subscribe(consumer, self._topics)
            self._pulse.consuming = True
            while not (self._partitions.anew or self._stopping.is_set()):
                self._pulse.polled = now = time.monotonic()
                self._partitions.look_at_group(consumer, now)
                self._obey(consumer)
                self._read(consumer)
            self._obey(consumer)
        finally:
            self._partitions.leave(consumer)
            consumer.close()  # commits nothing by itself; revokes what is held, then leaves the group
            if self._unanswered:
                self._answer_commit(CommitFailed("the consumer was closed before the broker answered"))

    def _obey(self, consumer: Consumer) -> None:
        while True:
            try:
                command = self._commands.get_nowait()
            except queue.Empty:
                return
            try:
                command(consumer)
            except KafkaException as error:
                # A commit that cannot even be sent; a pause of what went in the meantime is no error.
                self._answer_commit(CommitFailed(explain(error.args[0])))

    def _read(self, consumer: Consumer) -> None:
        message = consumer.poll(0.0 if self._handover else POLL)
        self._partitions.raise_error()
        if self._fatal is not None:
            raise self._fatal
        batch: list[Record] = []
        if message is not None:
            messages = [message, *consumer.consume(BATCH - 1, 0)]
            batch = [record for message in messages if (record := self._record(message)) is not None]
        ends, self._ends = self._ends, {}
        self._hand_over(consumer, batch, ends)

    def _hand_over(self, consumer: Consumer, batch: list[Record], ends: Ends) -> None:
        """Give the loop what was read; if it takes nothing for a while, pause everything and keep that for later."""
        behind = bool(self._handover)
        self._handover.add(batch, ends)
        deadline = time.monotonic() + (POLL if behind else PATIENCE)
        while self._handover and not self._stopping.is_set():
            if self._handover.pass_on(POLL):
                continue
            if time.monotonic() >= deadline:
                break
            self._pulse.polled = time.monotonic()
            self._obey(consumer)  # heartbeats go on in librdkafka's own thread
        if self._handover and not behind:
            log.warning("event_loop_blocked", seconds=PATIENCE)
            self._partitions.pause_all(consumer)
        elif behind and not self._handover:
            self._partitions.resume_all(consumer)

    def _deliver(self, batch: list[Record], ends: Ends) -> None:
        if batch:
            self._listener.records(batch)
        for partition, offset in ends.items():
            if self.on_end is not None:
                self.on_end(partition, offset)

    def _record(self, message: Message) -> Record | None:
        error = message.error()
        if error is not None:
            if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  a constant, named so by the library
                self._meet_end(message)
            else:
                self._on_error(error)
            return None
        record = to_record(message)
        return record if record.source in self._partitions else None

    def _meet_end(self, message: Message) -> None:
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        if topic is not None and partition is not None and offset is not None:
            self._ends[TopicPartition(topic, partition)] = offset

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal() or error.code() == KafkaError._FATAL:  # noqa: SLF001  the library's constant
            self._fatal = failure(error)
        # Everything else is temporary for librdkafka, which goes on by itself (brokers down, a topic not there yet).
        log.warning("kafka_consumer_error", code=error.name(), error=error.str())

    def _on_commit(self, error: KafkaError | None, partitions: list[KafkaPartition]) -> None:
        errors = [p.error for p in partitions if p.error is not None]
        if error is not None:
            errors.insert(0, error)
        self._answer_commit(CommitFailed(explain(errors[0])) if errors else None)

    # ---- from the thread to the event loop ---------------------------------------------------------------------

    def _post(self, call: Callable[..., None], *args: object) -> None:
        try:
            self._loop.call_soon_threadsafe(call, *args)
        except RuntimeError:
            if not self._stopping.is_set():  # the loop is gone, and so is everybody who could care
                raise

    def _answer_commit(self, error: CommitFailed | None) -> None:
        self._unanswered = False
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
