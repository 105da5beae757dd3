"""The usual way to do the job: read a batch, ``asyncio.gather`` over httpx, write it, commit, again.

No order per key, and the slowest look-up of a batch holds up the rest. Arguments: see ``plain_loop``.
"""

import asyncio
import json
import signal
import sys
from typing import Any

import httpx
from confluent_kafka import Consumer, Message, Producer

from bench.programs.plain_loop import enrich


async def main(brokers: str, topic: str, output: str, url: str, number: str) -> None:
    """Consume, look up, produce, until the process is ended."""
    in_flight = int(number)
    consumer = Consumer(
        {"bootstrap.servers": brokers, "group.id": topic, "auto.offset.reset": "earliest", "enable.auto.commit": False}
    )
    consumer.subscribe([topic])
    producer = Producer({"bootstrap.servers": brokers, "compression.type": "lz4"})
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    limits = httpx.Limits(max_connections=in_flight, max_keepalive_connections=in_flight)
    async with httpx.AsyncClient(limits=limits, timeout=60) as client:

        async def enriched(message: Message) -> bytes:
            contact: dict[str, Any] = json.loads(message.value() or b"")
            response = await client.post(url, json={"CustomerID": contact["customerId"]})
            return enrich(message, contact, response.json())

        while not stop.is_set():
            messages = await asyncio.to_thread(consumer.consume, in_flight, 0.01)
            for message, value in zip(messages, await asyncio.gather(*map(enriched, messages)), strict=True):
                headers: Any = message.headers()
                producer.produce(output, value, message.key(), headers=headers)
            await asyncio.to_thread(producer.flush)
            if messages:
                consumer.commit(asynchronous=True)
    consumer.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
