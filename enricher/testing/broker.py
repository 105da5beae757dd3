"""An embedded broker: librdkafka's mock cluster, a real TCP listener inside this process.

It needs nothing but the confluent-kafka wheel, speaks enough of Kafka's protocol for producers, consumer groups and
commits with metadata, keeps everything in memory, and creates a topic when somebody asks for it. It is for the demo;
what is promised of Kafka is tested on the real one.
"""

from types import TracebackType
from typing import Self

from confluent_kafka import Producer


class EmbeddedBroker:
    """A mock cluster of one broker, from ``with`` to its end."""

    def __init__(self) -> None:
        self._owner: Producer | None = None
        self.bootstrap_servers = ""

    def __enter__(self) -> Self:
        """Start listening on a free port of 127.0.0.1."""
        self._owner = Producer({"bootstrap.servers": "ignored.invalid", "test.mock.num.brokers": 1, "log_level": 3})
        brokers = self._owner.list_topics(timeout=10).brokers.values()
        self.bootstrap_servers = ",".join(f"{broker.host}:{broker.port}" for broker in brokers)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it; everything in it is gone."""
        self._owner = None
