"""One measurement: a topic with events, a service and a program of their own, and a look at all that it writes."""

import json
import random
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Protocol

from confluent_kafka import Consumer, Message, Producer
from confluent_kafka import TopicPartition as KafkaPartition

from bench.contestants import Job
from bench.figures import Result, Sample, percentile, speed, zipf
from bench.workloads import Workload
from enricher.testing.contacts import contacts
from tests.harness.clients import Sent, create_topic, produce, unique_name
from tests.harness.program import Program
from tests.harness.waiting import wait_until

PARTITIONS = 6
STALL = 60.0
"""Seconds without a new output after which a program is given up."""

WARM_UP = 3
"""Seconds at the workload's rate before anything is counted."""

SENT = "bench-sent"
"""Header with the time at which the event was written, nanoseconds."""


class Starts(Protocol):
    """A program that can be measured, as ``Contestant`` is one."""

    def start(self, job: Job) -> Program:
        """Start it."""
        ...


def measure(workload: Workload, contestant: Starts, brokers: str, events: int) -> Result:
    """Start service and program, wait until every event is in the output, and tell what it took."""
    topic, output = unique_name("bench"), unique_name("bench-out")
    create_topic(brokers, topic, partitions=PARTITIONS)
    create_topic(brokers, output, partitions=PARTITIONS, config={"message.timestamp.type": "LogAppendTime"})
    create_topic(brokers, f"{topic}.dlq", partitions=PARTITIONS)
    records = list(_records(workload, events))
    if not workload.rate:
        produce(brokers, topic, records)
    service = Program(
        "history-service", "--port", "0", "--admin-port", "0", "--json", "--latency", f"{workload.latency}ms"
    )
    try:
        addresses = json.loads(wait_until(lambda: next(iter(service.out), ""), "the history service", 30))
        job = Job(brokers, topic, output, addresses["url"], workload.in_flight)
        watch = _Watch(contestant, job, addresses["admin"])
        try:
            if workload.rate:
                watch.warm_up(records[: workload.rate * WARM_UP], workload.rate)
                _writing(job, records, workload.rate)
            watch.until(events)
            peak, figures = watch.end()
        finally:
            watch.close()
        served = _stats(addresses["admin"])
    finally:
        service.stop()
    rate, cpu = speed(watch.samples)
    added = [seconds * 1e3 - workload.latency for seconds in watch.latencies] if workload.rate else []
    return Result(
        events=events,
        missing=events - watch.done,
        events_per_second=rate,
        share_of_limit=rate / workload.limit if workload.limit else None,
        cpu_us_per_event=cpu * 1e6,
        start_cpu_ms=watch.start_cpu * 1e3,
        start_seconds=watch.first_output - watch.begun,
        added_p50_ms=percentile(added, 0.5) if added else None,
        added_p99_ms=percentile(added, 0.99) if added else None,
        loop_lag_p99_ms=figures.get("loop_lag_p99_ms"),
        peak_mib=peak / (1 << 20),
        calls_per_event=served["requests"] / (events + watch.before),
        connections=served["connections_opened"],
    )


def _stats(service: str) -> Mapping[str, Any]:
    with urllib.request.urlopen(f"{service}/stats", timeout=10) as answer:  # noqa: S310  our own
        counts: Mapping[str, Any] = json.load(answer)
    return counts


def _records(workload: Workload, events: int) -> Iterator[Sent]:
    """The events; customers are drawn anew where they are not all alike."""
    rng = random.Random(2)
    weights = zipf(workload.customers, workload.skew)
    names = range(workload.customers)
    for contact in contacts(events):
        customer = b"CUST-%06d" % rng.choices(names, cum_weights=weights)[0]
        assert contact.value is not None
        yield Sent(customer, contact.value.replace(contact.key, customer))


def _writing(job: Job, records: list[Sent], rate: int) -> None:
    threading.Thread(target=_write, args=(job, records, rate), daemon=True).start()


def _write(job: Job, records: list[Sent], rate: int) -> None:
    """Write the events at a steady rate, each at once and with the time."""
    producer = Producer({"bootstrap.servers": job.brokers, "linger.ms": 0, "partitioner": "murmur2_random"})
    begun = time.monotonic()
    for number, record in enumerate(records):
        time.sleep(max(0.0, begun + number / rate - time.monotonic()))
        producer.produce(job.topic, record.value, record.key, headers=[(SENT, b"%d" % time.time_ns())])
        producer.poll(0)
    producer.flush(30)


class _Watch:
    """A program while it runs, and what comes out of it."""

    def __init__(self, contestant: Starts, job: Job, service: str) -> None:
        self._job = job
        self._service = service
        self._consumer = Consumer(
            {"bootstrap.servers": job.brokers, "group.id": "bench", "enable.auto.commit": False, "check.crcs": False}
        )
        topics = (job.output, f"{job.topic}.dlq")
        self._consumer.assign([KafkaPartition(topic, p, 0) for topic in topics for p in range(PARTITIONS)])
        self.begun = time.monotonic()
        self.first_output = self.begun
        self.start_cpu = 0.0
        self.done = 0
        self.before = 0  # events that are not counted
        self.samples: list[Sample] = []
        self.latencies: list[float] = []
        self._peak = 0
        self._program = contestant.start(job)

    def warm_up(self, records: list[Sent], rate: int) -> None:
        """Wait until events went through, first a few and then at the rate, and count from there.

        A broker that has just started needs more than 100 ms for what takes it a few later.
        """
        produce(self._job.brokers, self._job.topic, records[:PARTITIONS])
        self.until(PARTITIONS)
        self.done = 0
        _writing(self._job, records, rate)
        self.until(len(records))
        self.before, self.done = PARTITIONS + len(records), 0
        self.samples[:] = [self._sample()]
        self.latencies.clear()

    def until(self, events: int) -> None:
        """Look until that many outputs and dead letters were seen, or nothing comes any more."""
        moved = time.monotonic()
        while self.done < events:
            assert self._program.running, self._program.tail()
            # By reading, since the ends of the logs count the markers of transactions too.
            seen = sum(self._take(message) for message in self._consumer.consume(500, 0.02))
            now = time.monotonic()
            if seen:
                moved = now
                if self.first_output == self.begun:
                    self.first_output, self.start_cpu = now, self._program.cpu_seconds()
            elif now - moved > STALL:
                return
            self.done += seen
            self._peak = max(self._peak, self._program.rss())
            if self.samples or self.done or _stats(self._service)["requests"]:
                self.samples.append(self._sample())

    def _sample(self) -> Sample:
        return Sample(time.monotonic(), self.done, self._program.cpu_seconds())

    def _take(self, message: Message) -> bool:
        if message.error() is not None:
            return False
        headers: Any = message.headers() or ()
        for name, value in headers:
            if name == SENT:
                _, written = message.timestamp()
                self.latencies.append((written + 0.5) / 1e3 - int(value) / 1e9)  # the broker cuts to milliseconds
        return True

    def end(self) -> tuple[int, Mapping[str, Any]]:
        """Stop the program; returns its peak of memory, and what it says of itself."""
        code = self._program.terminate()
        assert code == 0, self._program.tail()
        with suppress(ValueError, IndexError):
            figures = json.loads(self._program.out[-1])
            if isinstance(figures, dict):
                return self._peak, figures
        return self._peak, {}

    def close(self) -> None:
        """Release everything."""
        self._consumer.close()
        self._program.stop()
