"""What librdkafka's own statistics tell of a producer that sends nothing."""

import asyncio
import time

import pytest

from enricher.model import Outgoing
from enricher.observability.sending import Sending
from enricher.observability.statistics import parse
from enricher.pulse import Pulse
from enricher.sink import KafkaSink
from enricher.transactions import KafkaTransactions
from tests.conftest import MakeTopic
from tests.harness.broker import KafkaBroker
from tests.harness.clients import create_topic
from tests.harness.waiting import wait_until

pytestmark = pytest.mark.kafka


def test_a_producer_that_waits_for_its_broker_is_silent(private_kafka: KafkaBroker) -> None:
    """The broker is frozen: its connection is up, and a message waits behind a request that nobody answers."""

    async def main() -> None:
        pulse, sending = Pulse(), Sending()
        sink = KafkaSink({"bootstrap.servers": address, "statistics.interval.ms": 100}, ["t"], pulse=pulse)
        await sink.start()

        async def produce() -> None:
            for _ in range(3):
                sink.produce(Outgoing("t", b"k", b"v", [], 0), errors.append)
                await asyncio.sleep(0.1)

        async def until(silent: bool) -> None:  # noqa: FBT001
            async with asyncio.timeout(60):
                while (sending.silent(parse(pulse.statistics.get("producer")), None, time.monotonic()) > 1) != silent:
                    await sink.writable()

        await produce()
        await sink.flush()
        await until(silent=False)
        await asyncio.to_thread(private_kafka.pause)
        await produce()
        await until(silent=True)
        await asyncio.to_thread(private_kafka.unpause)
        await sink.flush()
        await until(silent=False)
        await sink.close()

    errors: list[Exception | None] = []
    address = private_kafka.bootstrap_servers
    create_topic(address, "t")
    asyncio.run(main())
    assert errors == [None] * 6


@pytest.mark.parametrize("kind", ["sink", "transactions"])
def test_a_producer_without_work_takes_its_statistics(kafka: KafkaBroker, make_topic: MakeTopic, kind: str) -> None:
    """Untaken, they would pile up in librdkafka for as long as no event comes."""

    async def main() -> None:
        pulse = Pulse()
        properties = {"bootstrap.servers": kafka.bootstrap_servers, "statistics.interval.ms": 100}
        topics = [make_topic()]
        producer = (
            KafkaSink(properties, topics, pulse=pulse)
            if kind == "sink"
            else KafkaTransactions(properties, topics, "g", pulse=pulse)
        )
        await producer.start()
        for _ in range(3):
            pulse.statistics.clear()
            await asyncio.to_thread(wait_until, lambda: pulse.statistics, "statistics", 60)
        await producer.close()

    asyncio.run(main())
