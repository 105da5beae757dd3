"""The same job in a page: a loop over pyreqwest and fastavro, in order per key, and nothing else.

No bounds, retries, dead letters, guarantee, rebalancing, checks or metrics: what the job itself costs. Arguments:
brokers, input topic (and group), output topic, URL, look-ups at a time.
"""

import asyncio
import io
import signal
import sys
import time
from collections import deque
from datetime import datetime
from typing import Any

import fastavro
import msgspec
import uvloop
from confluent_kafka import Consumer, Message, Producer
from pyreqwest.client import Client, ClientBuilder

from enricher.codec.avro_input import without_logical_types
from enricher.schemas import ENRICHED_CONTACT

SCHEMA: Any = fastavro.parse_schema(without_logical_types(ENRICHED_CONTACT.raw))
PREFIX = b"\xc3\x01" + ENRICHED_CONTACT.fingerprint
AHEAD = 8  # records taken for each look-up at a time
decode = msgspec.json.decode
encode = msgspec.json.encode


def offer(wire: dict[str, Any]) -> dict[str, Any]:
    """One offer as the output has it."""
    at = wire.get("OutcomeTime")
    number = wire.get("InteractionID")
    return {
        "name": wire.get("Name", ""),
        "issue": wire.get("Issue", ""),
        "group": wire.get("Group", ""),
        "channel": wire.get("Channel", ""),
        "direction": wire.get("Direction", ""),
        "interactionId": int(number) if number else None,
        "externalId": wire.get("ExternalID") or None,
        "outcomeTime": int(datetime.fromisoformat(at[:19] + "+00:00").timestamp() * 1000) if at else None,
        "outcome": wire.get("Outcome", ""),
        "behaviour": wire.get("Behaviour", ""),
        "identifier": wire.get("Identifier", ""),
        "bundle": [offer(part) for part in wire.get("OfferHistory", ())],
    }


def enrich(message: Message, contact: dict[str, Any], answer: dict[str, Any]) -> bytes:
    """The output's bytes."""
    now = int(time.time() * 1000)
    customer = contact.pop("customerId")
    known = {name: contact.pop(name, None) for name in ("channel", "direction", "reason", "agentId")}
    record = {
        "contact": {
            "eventId": contact.pop("eventId"),
            "customerId": customer,
            "contactTime": contact.pop("contactTime"),
            **known,
            "attributes": {name: str(value) for name, value in contact.items()},
        },
        "offerHistory": {
            "customerId": customer,
            "lookedUpAt": now,
            "asOf": now,
            "offers": [offer(wire) for wire in answer["OfferHistory"]],
        },
        "enrichment": {
            "topic": message.topic(),
            "partition": message.partition(),
            "offset": message.offset(),
            "version": "plain",
            "attempts": 1,
            "status": "ENRICHED",
        },
    }
    stream = io.BytesIO()
    stream.write(PREFIX)
    fastavro.schemaless_writer(stream, SCHEMA, record)
    return stream.getvalue()


async def main(brokers: str, topic: str, output: str, url: str, number: str) -> None:
    """Consume, look up, produce, until the process is ended."""
    in_flight = int(number)
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": topic, "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    producer = Producer({"bootstrap.servers": brokers, "linger.ms": 1, "compression.type": "lz4"})
    client: Client = ClientBuilder().max_connections(in_flight).build()
    free = asyncio.Semaphore(in_flight)
    lanes: dict[bytes, deque[Message]] = {}
    held = 0
    stop = asyncio.Event()

    async def lane(key: bytes, message: Message) -> None:
        nonlocal held
        while True:
            contact = decode(message.value() or b"")
            async with free:
                request = client.post(url).body_bytes(encode({"CustomerID": contact["customerId"]}))
                response = await request.build().send()
                answer = decode((await response.bytes()).to_bytes())
            value = enrich(message, contact, answer)
            headers: Any = message.headers()
            producer.produce(output, value, key, headers=headers, timestamp=message.timestamp()[1])
            producer.poll(0)
            held -= 1
            if not lanes[key]:
                del lanes[key]
                return
            message = lanes[key].popleft()

    def read() -> list[Message]:
        message = consumer.poll(0.1)
        return [] if message is None else [message, *consumer.consume(499, 0)]

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    tasks: set[asyncio.Task[None]] = set()
    while not stop.is_set():
        for message in await loop.run_in_executor(None, read):
            held += 1
            key: Any = message.key() or b""
            if key in lanes:
                lanes[key].append(message)
            else:
                lanes[key] = deque()
                tasks.add(task := asyncio.create_task(lane(key, message)))
                task.add_done_callback(tasks.discard)
        while held > AHEAD * in_flight and not stop.is_set():  # noqa: ASYNC110  a plain loop does it so
            await asyncio.sleep(0.005)
    producer.flush(10)
    consumer.close()


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
