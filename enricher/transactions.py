"""Writes outputs and offsets in Kafka transactions: all of a transaction, or nothing of it.

One transaction holds the outputs of many records and the positions that they resolve
(https://cwiki.apache.org/confluence/display/KAFKA/KIP-447): a reader with ``read_committed`` sees each output once,
and a worker that lost its partitions without knowing it is fenced by the group's generation. The transactional id is
new for each producer, so that nobody has to number replicas.

Invariants: one transaction at a time, on a thread of its own, so that the event loop and its look-ups go on; a call
that times out is made again until the broker has answered, since until then the outcome is unknown; an error that is
neither retriable nor asks for an abort is fatal.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial
from threading import Thread
from typing import Any
from uuid import uuid4

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from enricher.kafka import explain, to_kafka
from enricher.model import Outgoing, Position, TopicPartition
from enricher.polling import Polling
from enricher.protocols import ProduceFailed, TransactionAborted
from enricher.pulse import Pulse
from enricher.sink import DEFAULTS, ONE_BY_ONE
from enricher.topics import fitted, on_error

log = structlog.get_logger(__name__)

CALL_TIMEOUT = 3.0
"""Seconds for one call to the broker, after which it is made again, or given up if we are closed."""

MAX_REPLACED = 5
"""Producers that are given up one after the other before the worker is."""

PAUSE = 0.1
"""Seconds before a call is made again."""

STUCK = 30.0
"""Seconds after which a call that should have returned after ``CALL_TIMEOUT`` never will."""

QUEUE = 16_384
"""KiB that librdkafka may hold of a transaction at a time."""

FIXED: dict[str, str | int | float | bool] = {
    "enable.idempotence": True,
    "transaction.timeout.ms": 10_000,  # a worker that dies leaves readers waiting for no longer than this
    "delivery.report.only.error": True,  # the commit answers for what was written
    **ONE_BY_ONE,
}
"""``transaction.timeout.ms`` also bounds ``message.timeout.ms``, which therefore is left to librdkafka."""


class KafkaTransactions:
    """A transactional producer, as ``enricher.protocols.Transactions`` wants it.

    Args:
        properties: librdkafka's; ``bootstrap.servers`` is needed.
        topics: those that will be written to; they have to exist when it starts.
        group_id: of the consumer; it begins the transactional id, for those who look at the broker.
        pulse: told of the producer's statistics.
    """

    def __init__(
        self, properties: Mapping[str, Any], topics: Collection[str], group_id: str, *, pulse: Pulse | None = None
    ) -> None:
        self._properties = {**DEFAULTS, **properties, **FIXED}
        self._topics = list(topics)
        self._group_id = group_id
        self._pulse = pulse or Pulse()
        self._called = 0.0  # when librdkafka was last called, seconds
        self._calling = False  # a thread is about it
        self._producer: Producer | None = None
        self._polling: Polling | None = None
        self._replaced = 0  # producers given up since the last transaction that was committed
        self._closing = False

    async def start(self) -> None:
        """Connect and get a producer id; waits as long as no broker answers.

        Raises:
            ProduceFailed: a topic does not exist, or the broker refuses for good.
        """
        self._properties = {**_narrow(self._properties), **await fitted(self._properties, self._topics)}
        self._producer = self._create()
        self._polling = Polling(self._stay)
        await self._call(self._initialise)

    async def commit(
        self, records: Sequence[Outgoing], positions: Mapping[TopicPartition, Position], group: object
    ) -> None:
        """Write the records and commit the positions, all or nothing; see ``enricher.protocols.Transactions``."""
        if positions and group is None:  # frozen in the assignment, and forgotten by the group
            raise TransactionAborted("the group has not told as which member the partitions are held")
        await self._call(partial(self._commit, records, positions, group))

    async def close(self) -> None:
        """Release everything. May be called twice."""
        self._closing = True
        if self._polling is not None:
            self._polling.stop()
        producer, self._producer = self._producer, None
        if producer is not None:
            await asyncio.to_thread(producer.purge)

    async def _call(self, function: Callable[[], None]) -> None:
        """Run a function on a thread of its own, which dies with the program: librdkafka may never return."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        done.add_done_callback(lambda future: future.exception())  # nobody may wait any more

        def run() -> None:
            try:
                function()
            except Exception as error:  # noqa: BLE001  raised again where it is waited for
                self._calling = False
                post(done.set_exception, error)
            else:
                self._calling = False
                post(done.set_result, None)

        def post(settle: Callable[[Any], None], outcome: Exception | None) -> None:
            with suppress(RuntimeError):  # the loop is gone
                loop.call_soon_threadsafe(settle, outcome)

        self._called, self._calling = time.monotonic(), True
        Thread(target=run, name="transaction", daemon=True).start()
        while not (await asyncio.wait([done], timeout=1.0))[0]:
            if time.monotonic() - self._called > STUCK:
                raise ProduceFailed("the Kafka client does not return from a call; a new worker has to take over")
        done.result()

    def _stay(self) -> None:
        if not self._calling and self._producer is not None:
            self._producer.poll(0)

    # ---- on the thread -----------------------------------------------------------------------------------------

    def _create(self) -> Producer:
        transactional_id = f"enricher-{self._group_id}-{uuid4().hex}"
        callbacks = {"error_cb": on_error, "stats_cb": self._pulse.take_producer}
        return Producer(
            {**self._properties, "transactional.id": transactional_id, **callbacks},
            logger=logging.getLogger("librdkafka.producer"),
        )

    def _initialise(self) -> None:
        producer = self._opened()
        self._again(lambda: producer.init_transactions(CALL_TIMEOUT))

    def _opened(self) -> Producer:
        if self._producer is None:
            raise ProduceFailed("the transactional producer is closed")
        return self._producer

    def _commit(self, records: Sequence[Outgoing], positions: Mapping[TopicPartition, Position], group: object) -> None:
        try:
            self._write(self._opened(), records, positions, group)
            self._replaced = 0
        except ProduceFailed as failure:
            if self._closing or self._replaced >= MAX_REPLACED:
                raise
            # Nobody else has our transactional id. So who has fenced us is the coordinator: it aborts a transaction
            # that is open for longer than its timeout, as while a broker restarts. The transaction was not committed,
            # or we would have heard of it, and never will be. A new producer may go on.
            self._replaced += 1
            log.warning("transactional_producer_replaced", reason=str(failure))
            self._opened().purge()
            self._producer = self._create()
            self._initialise()
            raise TransactionAborted(str(failure)) from None

    def _write(
        self,
        producer: Producer,
        records: Sequence[Outgoing],
        positions: Mapping[TopicPartition, Position],
        group: object,
    ) -> None:
        refused: dict[int, KafkaError] = {}
        offsets = to_kafka(positions)
        try:
            self._again(producer.begin_transaction)
            for index, record in enumerate(records):
                self._produce(producer, record, partial(_note, refused, index))
            if offsets:
                self._send_offsets(lambda: producer.send_offsets_to_transaction(offsets, group, CALL_TIMEOUT))
            self._again(lambda: producer.commit_transaction(CALL_TIMEOUT))
        except (_Abort, _TooLarge) as reason:
            producer.flush(CALL_TIMEOUT)  # to abort while the first record is on its way can be fatal (librdkafka 4849)
            self._again(lambda: producer.abort_transaction(CALL_TIMEOUT))
            too_large = [index for index, error in refused.items() if error.code() == KafkaError.MSG_SIZE_TOO_LARGE]
            if isinstance(reason, _TooLarge):
                too_large.append(reason.index)
            raise TransactionAborted(str(reason), too_large=sorted(set(too_large))) from None

    def _produce(self, producer: Producer, record: Outgoing, on_delivery: Callable[..., None]) -> None:
        while True:
            try:
                producer.produce(
                    record.topic,
                    record.value,
                    record.key,
                    headers=record.headers,  # type: ignore[arg-type]  # a list is invariant; theirs may hold str too
                    timestamp=max(record.timestamp, 0),
                    on_delivery=on_delivery,
                )
            except BufferError:
                self._called = time.monotonic()
                producer.poll(0.1)
            except KafkaException as error:
                if error.args[0].code() == KafkaError.MSG_SIZE_TOO_LARGE:
                    raise _TooLarge(on_delivery.args[1]) from None  # type: ignore[attr-defined]  # a partial
                self._judge(error)
            else:
                return

    def _send_offsets(self, call: Callable[[], object]) -> None:
        """Make a call that is not made again: with an error that asks for nothing else, the producer is given up.

        librdkafka 2.16 holds that call for unfinished then: it neither aborts ("conflicting call in progress") nor
        returns when it is called again.
        """
        self._called = time.monotonic()
        try:
            call()
        except KafkaException as error:
            self._judge(error)
            raise ProduceFailed(f"offsets were not added to the transaction: {explain(error.args[0])}") from error

    def _again(self, call: Callable[[], object]) -> None:
        """Make a call until it is answered: with a timeout nothing is known of the outcome but that one must ask."""
        while True:
            try:
                self._called = time.monotonic()
                call()
            except KafkaException as error:
                self._judge(error)
                if self._closing:
                    raise ProduceFailed("the transactional producer was closed") from error
                log.warning("transaction_call_repeated", error=explain(error.args[0]))
                time.sleep(PAUSE)
            else:
                return

    def _judge(self, error: KafkaException) -> None:
        """Return if the call is to be made again.

        Raises:
            _Abort: the transaction has to be aborted.
            ProduceFailed: the producer is of no use any more.
        """
        cause: KafkaError = error.args[0]
        if cause.fatal():
            raise ProduceFailed(f"the transactional producer cannot go on: {explain(cause)}") from error
        if cause.txn_requires_abort():
            raise _Abort(explain(cause)) from error
        if not cause.retriable() and cause.code() != KafkaError._TIMED_OUT:  # noqa: SLF001  the library's constant
            raise ProduceFailed(f"the transaction failed: {explain(cause)}") from error


def _narrow(properties: Mapping[str, Any]) -> dict[str, int]:
    """A small queue: all outputs of a transaction are in memory already, and librdkafka copies what it is given."""
    largest = int(properties.get("message.max.bytes", 1_000_000)) // 1024
    return {"queue.buffering.max.kbytes": max(QUEUE, 2 * largest)}


class _Abort(Exception):  # noqa: N818
    """The transaction has to be aborted."""


class _TooLarge(Exception):  # noqa: N818
    """A record is larger than the client takes."""

    def __init__(self, index: int) -> None:
        super().__init__("a record is too large")
        self.index = index


def _note(refused: dict[int, KafkaError], index: int, error: KafkaError | None, _message: Message) -> None:
    if error is not None:
        refused[index] = error
