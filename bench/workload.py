"""One measurement: a workload, a worker, and what it needed for it."""

import json
import time
from typing import NamedTuple

from confluent_kafka import Consumer
from confluent_kafka import TopicPartition as KafkaPartition

from enricher.testing.contacts import contacts
from tests.harness.clients import Sent, create_topic, produce, unique_name
from tests.harness.program import Program
from tests.harness.waiting import wait_until

PARTITIONS = 6
DEADLINE = 600.0


class Workload(NamedTuple):
    """What the worker is given.

    Attributes:
        name: as it is called.
        events: how many contact events stand in the topic when it starts.
        customers: of how many customers.
        broken: share of events that are broken.
        in_flight: look-ups at a time.
        service: options of the history service.
    """

    name: str
    events: int
    customers: int
    broken: float
    in_flight: int
    service: tuple[str, ...]


WORKLOADS = (
    Workload("catch-up", 20_000, 5_000, 0.01, 64, ("--latency", "20ms", "--status", "503=0.01")),
    Workload("cpu-bound", 40_000, 20_000, 0.0, 128, ()),
)


class Setting(NamedTuple):
    """Where the worker runs, and how it is set."""

    brokers: str
    overrides: tuple[str, ...] = ()


class Result(NamedTuple):
    """What was measured; times in seconds, memory in MiB."""

    events: int
    missing: int
    seconds: float
    start_seconds: float
    events_per_second: float
    cpu_us_per_event: float
    peak_mib: float

    def line(self) -> str:
        """For a person."""
        return (
            f"{self.events_per_second:,.0f} events/s, {self.cpu_us_per_event:,.0f} us CPU per event, "
            f"first output after {self.start_seconds:.1f} s, peak {self.peak_mib:.0f} MiB, "
            f"{self.missing} of {self.events:,} missing"
        )


def measure(workload: Workload, events: int, setting: Setting) -> Result:
    """Fill a topic, start service and worker, wait until every event is in the output or the dead letters."""
    topic, output = unique_name("bench"), unique_name("bench-out")
    for name in (topic, output, f"{topic}.dlq"):
        create_topic(setting.brokers, name, partitions=PARTITIONS)
    written = contacts(events, customers=workload.customers, broken_rate=workload.broken)
    produce(
        setting.brokers,
        topic,
        (Sent(c.key, c.value, [(name, bytes(str(v), "utf-8")) for name, v in c.headers]) for c in written),
    )
    service = Program("history-service", "--port", "0", "--admin-port", "0", "--json", *workload.service)
    try:
        ready = wait_until(lambda: next(iter(service.out), ""), "the history service", 30)
        worker_sets = (
            f"kafka.bootstrap_servers={setting.brokers}",
            f"kafka.group_id={topic}",
            f"input.topics={topic}",
            f"output.topic={output}",
            f"service.url={json.loads(ready)['url']}",
            f"service.max_in_flight={workload.in_flight}",
            *setting.overrides,
        )
        return _run(setting.brokers, (output, f"{topic}.dlq"), events, worker_sets)
    finally:
        service.stop()


def _run(brokers: str, outputs: tuple[str, ...], events: int, sets: tuple[str, ...]) -> Result:
    started = time.monotonic()
    worker = Program("run", *(word for pair in sets for word in ("--set", pair)))
    watcher = Consumer({"bootstrap.servers": brokers, "group.id": "bench-watcher", "enable.auto.commit": False})
    watcher.assign([KafkaPartition(topic, p, 0) for topic in outputs for p in range(PARTITIONS)])
    first = last = started
    done = peak = 0
    try:
        while done < events and time.monotonic() - started < DEADLINE:
            assert worker.running, worker.tail()
            # By reading, since the ends of the logs count the markers of transactions too.
            seen = sum(message.error() is None for message in watcher.consume(1_000, 0.05))
            if seen:
                last = time.monotonic()
                first = first if done else last
                done += seen
            peak = max(peak, worker.rss())
        code = worker.terminate()
        assert code == 0, worker.tail()
    finally:
        watcher.close()
        worker.stop()
    return Result(
        events, events - done, last - first, first - started, done / (last - first) if last > first else 0.0,
        worker.cpu_seconds() / events * 1e6, peak / (1 << 20),
    )  # fmt: skip
