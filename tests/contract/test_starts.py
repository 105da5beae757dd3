"""Where partitions are read from, on Apache Kafka, while it does not tell: a transaction with their offsets is open."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka import TopicPartition as KafkaPartition
from structlog.testing import capture_logs

from enricher.model import Position, TopicPartition
from enricher.protocols import Source
from enricher.pulse import Pulse
from tests.contract.backends import Heard, Kafka
from tests.harness.broker import KafkaBroker
from tests.harness.clients import unique_name
from tests.harness.waiting import wait_until_async

pytestmark = pytest.mark.kafka

OFTEN: dict[str, Any] = {"session.timeout.ms": 3_000, "max.poll.interval.ms": 3_000, "heartbeat.interval.ms": 300}


@contextmanager
def transaction(bootstrap_servers: str, source: Source, at: KafkaPartition) -> Iterator[Producer]:
    """A transaction with an offset of the source's group, which stays open until the producer ends it."""
    producer = Producer(
        {"bootstrap.servers": bootstrap_servers, "transactional.id": unique_name("open"), "log_level": 0}
    )
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.send_offsets_to_transaction([at], source.group(), 30)
    yield producer


def test_offsets_that_are_not_told_for_long_do_not_end_the_worker(kafka: KafkaBroker) -> None:
    """Longer than may pass between two polls: the member gives its place up, and joins anew until it is told."""
    backend = Kafka(kafka.bootstrap_servers)
    topic, group = backend.topic(), unique_name("g")
    backend.write(topic, *(b"%d" % number for number in range(10)))
    place = KafkaPartition(topic, 0, 4)

    async def main() -> None:
        first, second = (backend.source(topic, group, **OFTEN) for _ in range(2))
        heard = Heard()
        await first.start(heard)
        await wait_until_async(first.group, "the first has the partition")
        with transaction(kafka.bootstrap_servers, first, place) as producer, capture_logs() as logs:
            await first.close()
            heard = Heard()
            await second.start(heard)
            try:

                def given_up() -> int:
                    return [log["event"] for log in logs].count("membership_given_up")

                await wait_until_async(lambda: given_up() >= 2, "the second gives up twice")
                assert heard.calls == []
                await asyncio.to_thread(producer.commit_transaction, 30)
                await wait_until_async(lambda: len(heard.delivered) == 6, "the records from the offset on")
            finally:
                await second.close()
        assert heard.errors == []
        assert heard.positions == {TopicPartition(topic, 0): Position(4)}

    asyncio.run(main())


def test_a_stop_while_offsets_are_not_told_is_no_failure(kafka: KafkaBroker) -> None:
    """It has nothing to tell and nothing to commit; the worker ends in order."""
    backend = Kafka(kafka.bootstrap_servers)
    topic, group, pulse = backend.topic(), unique_name("g"), Pulse()
    backend.write(topic, b"x")

    async def main() -> None:
        first, second = backend.source(topic, group, **OFTEN), backend.source(topic, group, pulse=pulse, **OFTEN)
        await first.start(Heard())
        await wait_until_async(first.group, "the first has the partition")
        with transaction(kafka.bootstrap_servers, first, KafkaPartition(topic, 0, 1)) as producer:
            await first.close()
            heard = Heard()
            await second.start(heard)
            await wait_until_async(lambda: pulse.rebalancing, "the second asks")
            async with asyncio.timeout(30):
                await second.close()
            await asyncio.to_thread(producer.abort_transaction, 30)
        assert (heard.errors, heard.calls) == ([], [])

    asyncio.run(main())
