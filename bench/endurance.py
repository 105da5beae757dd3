"""Looks at the worker's memory while it works at full load for minutes: it has to stay what it is.

    make endurance                               ten minutes
    make endurance ARGS="--minutes 60 --set delivery.guarantee=exactly-once"

Events are written as fast as the worker reads them, each of another customer than those before, and the resident size
is looked at every ten seconds. Tells it and the slope of the line through the sizes after the first two minutes, and
fails if that is more than 1 MiB a minute. (A cache that is filled is not flat before it is full; there is none by
default.)
"""

import argparse
import itertools
import json
import statistics
import sys
import threading
import time

from confluent_kafka import Producer

from bench.contestants import WORKER, Contestant, Job
from bench.measure import PARTITIONS
from tests.harness.broker import MEASURED
from tests.harness.clients import create_topic, end_offsets, unique_name
from tests.harness.program import SCRIPT, Program
from tests.harness.selection import KafkaOfSession
from tests.harness.waiting import wait_until

INTERVAL = 10.0
WARM_UP = 120.0
MOST_SLOPE = 1.0
AHEAD = 20_000
"""Events that are written and not enriched yet: more than the worker holds."""


def measure(brokers: str, minutes: float, sets: tuple[str, ...]) -> list[tuple[float, float]]:
    """Minutes since the start, and the resident size in MiB."""
    topic, output = unique_name("bench"), unique_name("bench-out")
    for name in (topic, output, f"{topic}.dlq"):
        # Neither the broker's disk nor its memory should be what ends this.
        create_topic(brokers, name, partitions=PARTITIONS, config={"retention.bytes": "50000000"})
    service = Program("history-service", "--port", "0", "--admin-port", "0", "--json")
    stopping = threading.Event()
    sizes: list[tuple[float, float]] = []
    try:
        url = json.loads(wait_until(lambda: next(iter(service.out), ""), "the history service", 30))["url"]
        worker = Contestant(WORKER, (str(SCRIPT),), ("http.listen=127.0.0.1:0", *sets)).start(
            Job(brokers, topic, output, url, 128)
        )
        writer = threading.Thread(target=_write, args=(brokers, topic, output, stopping))
        writer.start()
        try:
            begun = time.monotonic()
            while (now := time.monotonic() - begun) < minutes * 60.0:
                assert worker.running, worker.tail()
                done = sum(end_offsets(brokers, output).values())
                sizes.append((now / 60.0, worker.rss() / (1 << 20)))
                print(f"{now:5.0f} s: {done:>10,} events, {sizes[-1][1]:6.1f} MiB", flush=True)
                time.sleep(INTERVAL)
        finally:
            stopping.set()
            writer.join()
            worker.stop()
    finally:
        service.stop()
    return sizes


def _write(brokers: str, topic: str, output: str, stopping: threading.Event) -> None:
    """Keep the worker busy."""
    producer = Producer({"bootstrap.servers": brokers, "compression.type": "lz4", "partitioner": "murmur2_random"})
    numbers = itertools.count()
    written = 0
    while not stopping.wait(0.2):
        done = sum(end_offsets(brokers, output).values())
        for number in itertools.islice(numbers, max(0, done + AHEAD - written)):
            customer = f"CUST-{number:08d}"
            event = {"eventId": f"E-{number}", "customerId": customer, "contactTime": 1_700_000_000_000 + number}
            producer.produce(topic, json.dumps(event).encode(), customer.encode())
            producer.poll(0)
            written += 1
        producer.flush(30)


def main() -> int:
    """Measure; 0 if the memory is flat."""
    parser = argparse.ArgumentParser(prog="bench.endurance", description="Look at the worker's memory at full load.")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the worker")
    options = parser.parse_args()
    session = KafkaOfSession(options=MEASURED)
    print(session.report(), flush=True)
    try:
        sizes = measure(session.shared().bootstrap_servers, options.minutes, tuple(options.set))
    finally:
        session.close()
    late = [(at, size) for at, size in sizes if at * 60.0 >= WARM_UP]
    slope = statistics.linear_regression(*zip(*late, strict=True)).slope
    low, high = min(size for _, size in late), max(size for _, size in late)
    print(f"after {WARM_UP:.0f} s: {low:.1f} to {high:.1f} MiB, {slope:+.2f} a minute")
    return 0 if slope <= MOST_SLOPE else 1


if __name__ == "__main__":
    sys.exit(main())
