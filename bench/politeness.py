"""Measures what the limiter does to a service that bears only so much: real HTTP, real look-ups, no Kafka.

    make politeness                          capacity 40, then 10, then 40 again; asked with up to 256
    make politeness ARGS="--latency 20ms"

For each stage, after the ten seconds that the limiter has to follow: what part of the capacity was used, and the
latencies as multiples of those without load. Fails if less than 90 % was used or the p99 was twice as long.
"""

import argparse
import asyncio
import json
import random
import sys
import time
from itertools import count
from typing import NamedTuple

import httpx

from enricher.history import open_client
from enricher.limiter import LimiterKind
from enricher.lookups import LookupOptions, Lookups
from enricher.model import Event, Position, Record, Rejected, TopicPartition
from enricher.protocols import Answer, HistoryClient
from enricher.stats import Stats
from enricher.tasks import Tasks
from enricher.testing.faults import Faults
from enricher.testing.latency import parse_duration
from enricher.work import Assignment, Work
from tests.harness.program import Program
from tests.harness.waiting import wait_until

SETTLING = 10.0
STAGE = 30.0
BACKLOG = 2_000
LEAST_USED = 0.9
MOST_LATE = 2.0


class Measured(NamedTuple):
    """One call that was answered: when, and how long it took, in seconds."""

    at: float
    latency: float


class MeasuringClient:
    """A client that writes down how long calls take; fits ``enricher.protocols.HistoryClient``."""

    def __init__(self, client: HistoryClient) -> None:
        self._client = client
        self.calls: list[Measured] = []

    async def fetch(self, customer_id: str) -> Answer:
        """See ``enricher.protocols.HistoryClient``."""
        begin = time.monotonic()
        answer = await self._client.fetch(customer_id)
        now = time.monotonic()
        self.calls.append(Measured(now, now - begin))
        return answer

    async def close(self) -> None:
        """See ``enricher.protocols.HistoryClient``."""
        await self._client.close()


class Stage(NamedTuple):
    """What was seen of one capacity after the limiter had its time to follow."""

    capacity: int
    used: float
    p50: float
    p99: float
    limit: int

    def line(self) -> str:
        """For a person."""
        return (
            f"capacity {self.capacity}: {self.used:.0%} used, latency p50 {self.p50:.2f} and p99 {self.p99:.2f} "
            f"times the unloaded one, limit {self.limit}"
        )


async def measure(url: str, admin: str, options: argparse.Namespace) -> list[Stage]:
    """Run the stages."""
    client = MeasuringClient(
        open_client(url, wall_clock=lambda: time.time_ns() // 1_000_000, max_connections=options.max_in_flight)
    )
    latency = parse_duration(options.latency)
    async with httpx.AsyncClient() as control:
        await _set(control, admin, Faults(latency=options.latency))
        for number in range(100):
            await client.fetch(f"U{number}")
        unloaded = _quantile([call.latency for call in client.calls], 0.5)
        print(f"unloaded: {unloaded * 1e3:.1f} ms", flush=True)
        stages = []
        async with asyncio.TaskGroup() as group:
            tasks = Tasks(lambda error: print(f"failed: {error!r}", file=sys.stderr), lambda: None)
            lookups = _lookups(client, options, tasks)
            feeder = group.create_task(_keep_busy(lookups))
            for capacity in options.capacity:
                await _set(control, admin, Faults(latency=options.latency, capacity=capacity))
                await asyncio.sleep(SETTLING)
                client.calls.clear()
                begin = time.monotonic()
                await asyncio.sleep(options.seconds - SETTLING)
                seconds = time.monotonic() - begin
                times = [call.latency for call in client.calls]
                used = len(times) / seconds * latency / capacity
                p50, p99 = (_quantile(times, q) / unloaded for q in (0.5, 0.99))
                stages.append(Stage(capacity, used, p50, p99, lookups.limit))
                print(stages[-1].line(), flush=True)
            feeder.cancel()
            lookups.stop()
            await tasks.cancel()
    await client.close()
    return stages


def _lookups(client: HistoryClient, options: argparse.Namespace, tasks: Tasks) -> Lookups:
    """The worker's look-ups, of which nothing comes."""

    async def take(_work: Work, _what: Answer | Rejected) -> None:
        pass

    async def give_up(_work: Work) -> None:
        pass

    return Lookups(
        client, on_answer=take, on_reject=take, on_unavailable=give_up,
        on_drop=lambda _work: None, has_room=lambda: True, spawn=tasks.spawn,
        options=LookupOptions(max_in_flight=options.max_in_flight, limiter=LimiterKind(options.limiter)),
        clock=time.monotonic, rng=random.Random(), stats=Stats(),
    )  # fmt: skip


async def _keep_busy(lookups: Lookups) -> None:
    """Look up customers, each of them once, with always some waiting."""
    assignment = Assignment(TopicPartition("contacts", 0), Position(0))
    numbers = count()
    while True:
        while lookups.scheduler.waiting < BACKLOG:
            name = f"C{next(numbers)}"
            work = Work(Record("contacts", 0, 0, 0, name.encode(), b"", []), assignment, time.monotonic())
            work.event = Event(name, name, 0)
            lookups.admit(work)
        lookups.pump()
        await asyncio.sleep(0.05)


async def _set(control: httpx.AsyncClient, admin: str, faults: Faults) -> None:
    (await control.put(f"{admin}/faults", content=faults.to_json())).raise_for_status()


def _quantile(values: list[float], q: float) -> float:
    return sorted(values)[int(q * (len(values) - 1))]


def main() -> int:
    """Run what was asked for; 0 if the limiter did what it should."""
    parser = argparse.ArgumentParser(prog="bench.politeness", description="Measure the limiter on real HTTP.")
    parser.add_argument("--capacity", type=int, nargs="+", default=[40, 10, 40], help="of each stage")
    parser.add_argument("--latency", default="50ms", help="of the service")
    parser.add_argument("--max-in-flight", type=int, default=256)
    parser.add_argument("--limiter", choices=[kind.value for kind in LimiterKind], default="adaptive")
    parser.add_argument("--seconds", type=float, default=STAGE, help="of each stage")
    options = parser.parse_args()
    service = Program("history-service", "--port", "0", "--admin-port", "0", "--json")
    try:
        ready = json.loads(wait_until(lambda: next(iter(service.out), ""), "the history service", 30))
        stages = asyncio.run(measure(ready["url"], ready["admin"], options))
    finally:
        service.stop()
    return 0 if all(stage.used >= LEAST_USED and stage.p99 < MOST_LATE for stage in stages) else 1


if __name__ == "__main__":
    sys.exit(main())
