"""Writes events continuously, whatever becomes of the broker: the same ones for the same seed."""

import random
import threading
import time
from collections.abc import Iterator

from confluent_kafka import KafkaError, Message, Producer

from enricher.sink import ONE_BY_ONE
from enricher.testing.contacts import contacts
from tests.harness.clients import Sent
from tests.integration.worker_world import sent_contacts

LARGE = 3_000
"""Bytes of a broken record that the dead-letter topic does not take while it is shut."""

_FLUSH = 180.0


def events(seed: int, start: int) -> Iterator[Sent]:
    """Contacts without an end: some broken, some without a key, some large and broken."""
    rng = random.Random(seed)
    batch = 0
    while True:
        made = contacts(1_000, customers=150, broken_rate=0.03, seed=seed * 1_000 + batch)
        for sent in sent_contacts(made, start + batch * 1_000):
            drawn = rng.random()
            if drawn < 0.01:
                yield sent._replace(value=b"<" + rng.randbytes(LARGE))  # nothing compresses it
            elif drawn < 0.03:
                yield sent._replace(key=None)
            else:
                yield sent
        batch += 1


class Feed:
    """A thread that writes events at a rate.

    Attributes:
        written: events that the broker has acknowledged.
        failed: why one was not taken, if that happened.
    """

    def __init__(self, bootstrap_servers: str, topic: str, source: Iterator[Sent], rate: int) -> None:
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap_servers,
                "enable.idempotence": True,
                **ONE_BY_ONE,  # else some that are told to be written are not
                "message.timeout.ms": 0,  # for ever: the broker comes back
                "topic.metadata.refresh.interval.ms": 1_000,  # new partitions are to be used soon
                "partitioner": "murmur2_random",
                "linger.ms": 5,
                "log_level": 0,  # that the broker is away is meant to be
                "statistics.interval.ms": 5_000,
                "stats_cb": self._take,
            }
        )
        self._statistics = ""
        self._topic = topic
        self._source = source
        self._rate = rate
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)
        self.written = 0
        self.failed: str | None = None

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def finish(self) -> None:
        """Write no more, and return when all is acknowledged; the broker has to be there.

        Raises:
            AssertionError: some were not.
        """
        self._stop.set()
        self._thread.join()
        left = self._producer.flush(_FLUSH)
        assert not left, f"{left} events were not taken within {_FLUSH:g} s; the producer says {self._statistics}"
        assert self.failed is None, self.failed

    def stop(self) -> None:
        """Write no more, and forget what is not written."""
        self._stop.set()
        self._thread.join()
        self._producer.purge()

    def _run(self) -> None:
        begun = time.monotonic()
        sent = 0
        while not self._stop.wait(0.05):
            while sent < (time.monotonic() - begun) * self._rate:
                event = next(self._source)
                self._producer.produce(
                    self._topic,
                    event.value,
                    event.key,
                    headers=list(event.headers),
                    timestamp=event.timestamp or 0,
                    on_delivery=self._delivered,
                )
                sent += 1
            self._producer.poll(0)

    def _take(self, statistics: str) -> None:
        self._statistics = statistics

    def _delivered(self, error: KafkaError | None, _message: Message) -> None:
        if error is None:
            self.written += 1
        else:
            self.failed = f"an event was not taken: {error}"
