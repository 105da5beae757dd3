"""Between librdkafka's values and ours: messages, positions, errors."""

from collections.abc import Mapping

from confluent_kafka import KafkaError, Message
from confluent_kafka import TopicPartition as KafkaPartition

from enricher.model import Position, Record, TopicPartition

QUIET: dict[str, str | int | float | bool] = {
    "log.connection.close": False,
    "reconnect.backoff.ms": 500,  # the default of 100 ms logs some ten lines a second while a broker is away
}
"""Properties of every client, so that the log stays readable while brokers are away."""


def to_record(message: Message) -> Record:
    """A message that is no error, as a value of ours."""
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    if topic is None or partition is None or offset is None:
        raise ValueError("the message has no place in a log")  # only one that was never written or read
    kind, timestamp = message.timestamp()
    headers = message.headers() or []
    return Record(
        topic, partition, offset, timestamp if kind else -1, message.key(), message.value(),
        headers,  # type: ignore[arg-type]  # the binding's stub knows no more than that it is some sequence
    )  # fmt: skip


def to_kafka(positions: Mapping[TopicPartition, Position]) -> list[KafkaPartition]:
    """Positions as librdkafka wants them."""
    return [
        KafkaPartition(partition.topic, partition.partition, at.offset, metadata=at.metadata)
        for partition, at in positions.items()
    ]


def explain(error: KafkaError) -> str:
    """An error's name and text."""
    return f"{error.name()}: {error.str()}"
