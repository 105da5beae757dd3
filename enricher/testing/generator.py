"""Produces contact events at a steady rate, for a development set-up that should not stand still.

``python -m enricher.testing.generator --bootstrap-servers localhost:9092 --topic contacts --rate 50``
"""

import signal
import sys
import threading
import time
from typing import Annotated

import typer
from confluent_kafka import Producer

from enricher.testing.contacts import contacts


def generate(
    bootstrap_servers: Annotated[str, typer.Option(help="Kafka brokers, host:port, separated by commas.")],
    topic: Annotated[str, typer.Option(help="Topic to produce to.")],
    rate: Annotated[float, typer.Option(help="Events per second; 0 for as fast as possible.")] = 50.0,
    count: Annotated[int, typer.Option(help="Events to produce; 0 for no end.")] = 0,
    customers: Annotated[int, typer.Option(help="Different customers.")] = 1_000,
    broken: Annotated[float, typer.Option(help="Share of broken events, 0 to 1.")] = 0.01,
    seed: Annotated[int, typer.Option(help="Same seed, same events.")] = 1,
) -> None:
    """Produce contact events until stopped, or until COUNT are written."""
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    producer = Producer({"bootstrap.servers": bootstrap_servers, "linger.ms": 5, "partitioner": "murmur2_random"})
    started = time.monotonic()
    produced = 0
    for contact in contacts(count or sys.maxsize, customers=customers, broken_rate=broken, seed=seed):
        if rate and stopped.wait(max(0.0, started + produced / rate - time.monotonic())):
            break
        if stopped.is_set():
            break
        while True:
            try:
                producer.produce(topic, contact.value, contact.key, headers=contact.headers)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
        produced += 1
    left = producer.flush(30)
    sys.stderr.write(f"produced {produced - left} events to {topic}\n")
    raise typer.Exit(1 if left else 0)


if __name__ == "__main__":
    typer.run(generate)
