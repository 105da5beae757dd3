"""Writes records to Kafka, at least once.

Invariants: the producer is idempotent and never gives a record up for time, so that records of one key stay in the
order in which they were handed over, through broker restarts and retries; every record handed over is answered exactly
once, on the event loop, unless the sink is closed first. Nothing here blocks the event loop: the producer sends on
librdkafka's own threads, and its answers are fetched without waiting.
"""

import asyncio
import logging
from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from enricher.kafka import QUIET, explain
from enricher.model import Outgoing
from enricher.protocols import Delivered, ProduceFailed
from enricher.topics import fitted, on_error

TICK = 0.01
"""Seconds between two looks for acknowledgements while some are outstanding."""

DEFAULTS: dict[str, str | int | float | bool] = {
    **QUIET,
    "linger.ms": 1,
    "compression.type": "lz4",
    "partitioner": "murmur2_random",  # as Java's producers do it: a key stays in the partition people expect
    "message.max.bytes": 8_388_608,  # the broker's limit decides; a dead letter may be as large as its input
    "queue.buffering.max.kbytes": 131_072,
    "client.id": "enricher",
}
FIXED: dict[str, str | int | float | bool] = {
    "enable.idempotence": True,
    "message.timeout.ms": 0,  # for ever: giving up would let later records of a key overtake
}


class KafkaSink:
    """An idempotent producer, as ``enricher.protocols.Sink`` wants it.

    Args:
        properties: librdkafka's; ``bootstrap.servers`` is needed, ``DEFAULTS`` may be overridden.
        topics: those that will be written to; they have to exist when it starts.
    """

    def __init__(self, properties: Mapping[str, Any], topics: Collection[str]) -> None:
        self._properties = {**DEFAULTS, **properties, **FIXED}
        self._topics = list(topics)
        self._outstanding = 0
        self._producer: Producer | None = None
        self._tick: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop

    async def start(self) -> None:
        """Connect; waits as long as no broker answers.

        Raises:
            ProduceFailed: a topic does not exist.
        """
        self._loop = asyncio.get_running_loop()
        properties = await fitted(self._properties, self._topics)
        self._producer = Producer({**properties, "error_cb": on_error}, logger=logging.getLogger("librdkafka.producer"))

    def produce(self, record: Outgoing, delivered: Delivered) -> bool:
        """Hand over one record without waiting; see ``enricher.protocols.Sink``."""
        producer = self._open()
        try:
            producer.produce(
                record.topic,
                record.value,
                record.key,
                headers=record.headers,  # type: ignore[arg-type]  # a list is invariant, and theirs may hold str too
                timestamp=max(record.timestamp, 0),  # 0 is the time of writing
                on_delivery=partial(self._delivered, delivered),
            )
        except BufferError:
            return False
        except KafkaException as error:
            # Refused before it was queued, so there will be no delivery report.
            self._outstanding += 1
            self._loop.call_soon(self._delivered, delivered, error.args[0], None)
            return True
        self._outstanding += 1
        if self._tick is None:
            self._tick = self._loop.call_later(TICK, self._look)
        return True

    async def writable(self) -> None:
        """Return when ``produce`` is worth another try."""
        self._open().poll(0)
        await asyncio.sleep(TICK)

    async def flush(self) -> None:
        """Return when everything that was produced is acknowledged or refused."""
        while self._outstanding:
            self._open().poll(0)
            await asyncio.sleep(TICK)

    async def close(self) -> None:
        """Release everything; see ``enricher.protocols.Sink``."""
        if self._tick is not None:
            self._tick.cancel()
            self._tick = None
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.purge()
            # Destroying it joins librdkafka's threads, which may take a while with a broker that does not answer.
            await asyncio.to_thread(_destroy, [producer])

    def _open(self) -> Producer:
        if self._producer is None:
            raise ProduceFailed("the sink is closed")
        return self._producer

    def _look(self) -> None:
        self._tick = None
        if self._producer is None:
            return
        self._producer.poll(0)
        if self._outstanding:
            self._tick = self._loop.call_later(TICK, self._look)

    def _delivered(self, delivered: Delivered, error: KafkaError | None, _message: Message | None) -> None:
        if self._producer is None:
            return  # purged by close()
        self._outstanding -= 1
        if error is None:
            delivered(None)
        else:
            too_large = error.code() == KafkaError.MSG_SIZE_TOO_LARGE
            delivered(ProduceFailed(explain(error), too_large=too_large))


def _destroy(holder: list[Producer]) -> None:
    holder.clear()
