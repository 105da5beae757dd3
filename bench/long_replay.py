"""Kills a long replay again and again, resumes it, and lets ``enricher verify`` decide: real Kafka, real programs.

    make long-replay                         1,000,000 events, ten kills, both guarantees: about half an hour
    make long-replay ARGS="--events 100000 --kills 4 --guarantee exactly-once"

Prints how long it took, with the kills, and the most memory that a replay had. Fails if a replay does not end, or if
verify finds an input without its output, or under exactly-once one with two.
"""

import argparse
import json
import signal
import sys
import time
from contextlib import ExitStack, suppress
from itertools import islice
from typing import NamedTuple

import psutil

from enricher.testing.contacts import contacts
from tests.harness.clients import create_topic, end_offsets, produce, unique_name
from tests.harness.patience import patiently
from tests.harness.program import Program
from tests.harness.selection import KafkaOfSession
from tests.harness.waiting import wait_until
from tests.integration.worker_world import sent_contacts

GUARANTEES = ("at-least-once", "exactly-once")
CUSTOMERS = 100_000
PARTITIONS = 8
CHUNK = 50_000
"""Events that are written at a time."""

PATIENCE = 3_600.0
"""Seconds for one part of a replay."""


class Run(NamedTuple):
    """What one replay came to.

    Attributes:
        guarantee: under which it ran.
        seconds: from its beginning to its end, the kills and what they cost included.
        rss: the most memory, in bytes, that one of its processes had.
        verify: what ``enricher verify`` said.
    """

    guarantee: str
    seconds: float
    rss: int
    verify: dict[str, object]

    def line(self) -> str:
        """For a person."""
        found = self.verify["wrong"] or "nothing wrong"
        return f"{self.guarantee}: {self.seconds:,.0f} s, at most {self.rss >> 20} MiB, verify: {found}"


class Topics(NamedTuple):
    """Where a replay reads and writes."""

    bootstrap_servers: str
    input: str
    output: str
    dead: str

    def sets(self, guarantee: str, url: str) -> list[str]:
        """The settings of the command line."""
        return [
            f"--set={name}={value}"
            for name, value in {
                "kafka.bootstrap_servers": self.bootstrap_servers,
                "kafka.group_id": self.output,
                "input.topics": self.input,
                "output.topic": self.output,
                "output.dead_letter_topic": self.dead,
                "service.url": url,
                "service.limiter": "fixed",  # the service has the same few cores, so its latency tells nothing
                "delivery.guarantee": guarantee,
            }.items()
        ]


def main() -> int:
    """Run what was asked for; 0 if verify found nothing wrong."""
    parser = argparse.ArgumentParser(prog="long_replay", description="Kill a long replay, resume it, verify it.")
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--guarantee", action="append", choices=GUARANTEES, help="default: both")
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was started is stopped then, too
    session = KafkaOfSession()
    print(session.report(), flush=True)
    ok = True
    with ExitStack() as stack:
        stack.callback(session.close)
        service = Program("history-service", "--port", "0", "--admin-port", "0", "--offers", "3", "--json")
        stack.callback(service.stop)
        url = json.loads(wait_until(lambda: service.out[:1], "the service's address", 60)[0])["url"]
        servers = session.shared().bootstrap_servers
        topic = unique_name("long")
        create_topic(servers, topic, partitions=PARTITIONS)
        made = contacts(chosen.events, customers=CUSTOMERS, broken_rate=0.001)
        while chunk := sent_contacts(islice(made, CHUNK)):
            produce(servers, topic, chunk)
        for guarantee in chosen.guarantee or GUARANTEES:
            result = run(servers, topic, url, guarantee, chosen.events, chosen.kills)
            print(result.line(), flush=True)
            ok = ok and not result.verify["wrong"]
    return 0 if ok else 1


def run(servers: str, topic: str, url: str, guarantee: str, events: int, kills: int) -> Run:
    """One replay, killed so many times, evenly spread."""
    topics = Topics(servers, topic, unique_name("output"), unique_name("dead"))
    create_topic(servers, topics.output, partitions=PARTITIONS)
    create_topic(servers, topics.dead, partitions=1)
    sets = topics.sets(guarantee, url)
    begin, rss = time.monotonic(), 0
    arguments = ["--from=beginning", "--name=long"]
    targets = [events * number // (kills + 1) for number in range(1, kills + 1)]
    for target in (*targets, None):
        program = Program("replay", "--json", *arguments, *sets)
        try:
            rss = max(rss, _watch(program, topics, target))
        finally:
            program.stop()
        arguments = ["--resume=long"]
    seconds = time.monotonic() - begin
    audit = Program("verify", "--json", *sets)
    try:
        assert audit.wait(PATIENCE) in {0, 3}, audit.tail()
    finally:
        audit.stop()
    return Run(guarantee, seconds, rss, json.loads(audit.out[-1]))


def _watch(program: Program, topics: Topics, target: int | None) -> int:
    """Kill a replay when so many outputs are there, or let it end; returns the most memory that it had."""
    most = 0

    def done() -> bool:
        nonlocal most
        if not program.running:
            assert (program.wait(), target) == (0, None), program.tail()
            return True
        with suppress(psutil.Error):  # it may end at any moment
            most = max(most, program.rss())
        written = patiently(lambda: end_offsets(topics.bootstrap_servers, topics.output))
        return target is not None and sum(written.values()) >= target

    wait_until(done, f"{target or 'all'} outputs", PATIENCE)
    if target is not None:
        program.kill9()
    return most


if __name__ == "__main__":
    sys.exit(main())
