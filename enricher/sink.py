"""Writes records to Kafka, at least once.

Invariants: the producer is idempotent and never gives a record up for time, so that records of one key stay in the
order in which they were handed over, through broker restarts and retries; every record handed over is answered exactly
once, on the event loop, unless the sink is closed first. Nothing here blocks the event loop: the producer sends on
librdkafka's own threads, and its answers are fetched without waiting.

A request to the broker costs it and us more than a record does, and librdkafka makes one for each partition as soon as
it may. So at a high rate records gather here for a ``TICK`` and are handed over together, which takes a third off the
worker's CPU per event, and more off the broker's; at a low one each is handed over at once.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from enricher.kafka import QUIET, explain
from enricher.model import Outgoing
from enricher.polling import Polling
from enricher.protocols import Delivered, ProduceFailed
from enricher.pulse import Pulse
from enricher.topics import fitted, on_error

TICK = 0.02
"""Seconds between two looks for acknowledgements while some are outstanding, and for which records may gather."""

FEW = 16
"""Records per tick that are handed over at once; where there are more, those of the next tick gather."""

MANY = 500
"""Records that gather at most; with more, the tick does not wait for its time."""

DEFAULTS: dict[str, str | int | float | bool] = {
    **QUIET,
    "linger.ms": 0.1,  # enough for what is handed over together; what comes alone should not wait
    "compression.type": "lz4",
    "partitioner": "murmur2_random",  # as Java's producers do it: a key stays in the partition people expect
    "message.max.bytes": 8_388_608,  # the broker's limit decides; a dead letter may be as large as its input
    "queue.buffering.max.kbytes": 131_072,
    "client.id": "enricher",
    "statistics.interval.ms": 5_000,
}
ONE_BY_ONE: dict[str, str | int | float | bool] = {"max.in.flight": 1}
"""One request at a time to each broker; with more, idempotence does not keep records from being lost:

1. A broker has forgotten the producer, as it does after a restart, and when it looks through its producers, where their
   last records are dated more than a day ago (a backlog); or it never knew it. It then takes any sequence number.
2. It refuses request 1, as it does not lead the partition yet, and a moment later takes request 2, sent behind it.
3. Librdkafka (2.16) concludes that 1 was written, as nobody takes 2 without it, and reports it as delivered.

Chaos found that. What gathers while a request is under way goes with the next one: the throughput is the same.
"""

FIXED: dict[str, str | int | float | bool] = {
    "enable.idempotence": True,
    "message.timeout.ms": 0,  # for ever: giving up would let later records of a key overtake
    **ONE_BY_ONE,
}


class KafkaSink:
    """An idempotent producer, as ``enricher.protocols.Sink`` wants it.

    Args:
        properties: librdkafka's; ``bootstrap.servers`` is needed, ``DEFAULTS`` may be overridden.
        topics: those that will be written to; they have to exist when it starts.
        pulse: told of the producer's statistics.
    """

    def __init__(self, properties: Mapping[str, Any], topics: Collection[str], *, pulse: Pulse | None = None) -> None:
        self._properties = {**DEFAULTS, **properties, **FIXED}
        self._topics = list(topics)
        self._pulse = pulse or Pulse()
        self._outstanding = 0
        self._at_once = FEW  # records that may still be handed over at once before the next tick
        self._gathered: deque[tuple[Outgoing, Delivered]] = deque()
        self._producer: Producer | None = None
        self._tick: asyncio.TimerHandle | None = None
        self._polling: Polling | None = None
        self._loop: asyncio.AbstractEventLoop

    async def start(self) -> None:
        """Connect; waits as long as no broker answers.

        Raises:
            ProduceFailed: a topic does not exist.
        """
        self._loop = asyncio.get_running_loop()
        properties = await fitted(self._properties, self._topics)
        self._producer = Producer(
            {**properties, "error_cb": on_error, "stats_cb": self._pulse.take_producer},
            logger=logging.getLogger("librdkafka.producer"),
        )
        self._polling = Polling(self._stay)

    def produce(self, record: Outgoing, delivered: Delivered) -> bool:
        """Hand over one record without waiting; see ``enricher.protocols.Sink``."""
        producer = self._open()
        if len(self._gathered) >= MANY and not self._hand_over(producer):
            return False
        if self._at_once and not self._gathered:
            self._at_once -= 1
            if not self._hand(producer, record, delivered):
                return False
        else:
            self._gathered.append((record, delivered))
        self._outstanding += 1
        if self._tick is None:
            self._tick = self._loop.call_later(TICK, self._look)
        return True

    def _hand_over(self, producer: Producer) -> bool:
        """Hand over what has gathered; false if there was no room for all of it."""
        while self._gathered:
            if not self._hand(producer, *self._gathered[0]):
                return False
            self._gathered.popleft()
        return True

    def _hand(self, producer: Producer, record: Outgoing, delivered: Delivered) -> bool:
        """Hand over one record; false if there is no room."""
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
            self._loop.call_soon(self._delivered, delivered, error.args[0], None)
        return True

    async def writable(self) -> None:
        """Return when ``produce`` is worth another try."""
        self._pass_on(self._open())
        await asyncio.sleep(TICK)

    async def flush(self) -> None:
        """Return when everything that was produced is acknowledged or refused."""
        while self._outstanding:
            self._pass_on(self._open())
            await asyncio.sleep(TICK)

    async def close(self) -> None:
        """Release everything; see ``enricher.protocols.Sink``."""
        if self._tick is not None:
            self._tick.cancel()
            self._tick = None
        if self._polling is not None:
            self._polling.stop()
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.purge()
            # Destroying it joins librdkafka's threads, which may take a while with a broker that does not answer.
            await asyncio.to_thread(_destroy, [producer])

    def _open(self) -> Producer:
        if self._producer is None:
            raise ProduceFailed("the sink is closed")
        return self._producer

    def _stay(self) -> None:
        if self._tick is None and self._producer is not None:
            self._producer.poll(0)

    def _look(self) -> None:
        self._tick = None
        if self._producer is None:
            return
        self._at_once = 0 if len(self._gathered) > FEW else FEW
        self._pass_on(self._producer)
        if self._outstanding:
            self._tick = self._loop.call_later(TICK, self._look)
        else:
            self._at_once = FEW

    def _pass_on(self, producer: Producer) -> None:
        """Fetch acknowledgements, and use the room that they make."""
        producer.poll(0)
        self._hand_over(producer)

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
