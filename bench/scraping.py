"""Measures what it costs to be watched: the worker with metrics on and scraped, and with all of them off.

    make scraping                            five rounds, interleaved, of the workload cpu-bound
    make scraping ARGS="--rounds 7 --interval 15"

On: the status server listens, librdkafka's statistics come each 5 s, and `/metrics` is read each second, far more often
than Prometheus does. Off: neither is there. Tells the ratio of the CPU per event, and how long scrapes took while the
worker had all the load that it can take.
"""

import argparse
import statistics
import sys
import threading
import time
import urllib.request
from contextlib import suppress
from typing import NamedTuple

from bench.contestants import WORKER, Contestant, Job
from bench.figures import Result, percentile, ratios
from bench.measure import Starts, measure
from bench.workloads import WORKLOADS
from tests.harness.broker import free_port
from tests.harness.program import SCRIPT, Program
from tests.harness.selection import KafkaOfSession

OFF = ("http.listen=off", "kafka.properties.statistics.interval.ms=0")
MOST_CPU = 1.05
MOST_SECONDS = 0.1


class Scrape(NamedTuple):
    """One answer: seconds that it took, and its bytes."""

    seconds: float
    size: int


class Scraped(NamedTuple):
    """A worker that is scraped for as long as it runs; starts as a ``Contestant`` does."""

    worker: Contestant
    interval: float
    scrapes: list[Scrape]

    def start(self, job: Job) -> Program:
        """Start it, and the thread that scrapes it."""
        port = free_port()
        sets = (*(self.worker.sets or ()), f"http.listen=127.0.0.1:{port}")
        program = self.worker._replace(sets=sets).start(job)
        url = f"http://127.0.0.1:{port}/metrics"
        threading.Thread(target=self._scrape, args=(program, url), daemon=True).start()
        return program

    def _scrape(self, program: Program, url: str) -> None:
        while program.running:
            begun = time.monotonic()
            with suppress(OSError), urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310  our own
                body = answer.read()
                # Before events flow there is no load.
                if b'enricher_events_total{outcome="ok",stage="produce"} 0.0' not in body:
                    self.scrapes.append(Scrape(time.monotonic() - begun, len(body)))
            time.sleep(self.interval)


def main() -> int:
    """Measure; 0 if both bounds hold."""
    parser = argparse.ArgumentParser(prog="bench.scraping", description="Measure what being watched costs.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--interval", type=float, default=1.0, help="seconds between scrapes")
    parser.add_argument("--events", type=int, help="in place of the workload's own number")
    chosen = parser.parse_args()
    [workload] = [w for w in WORKLOADS if w.name == "cpu-bound"]
    worker = Contestant(WORKER, (str(SCRIPT),), ())
    scrapes: list[Scrape] = []
    programs: dict[str, Starts] = {"off": worker._replace(sets=OFF), "on": Scraped(worker, chosen.interval, scrapes)}
    results: dict[tuple[str, str], list[Result]] = {(workload.name, name): [] for name in programs}
    session = KafkaOfSession()
    print(session.report(), flush=True)
    try:
        for number in range(chosen.rounds):
            # What runs second in a round finds another machine: each is first in turn.
            for name in sorted(programs, reverse=bool(number % 2)):
                brokers = session.shared().bootstrap_servers
                result = measure(workload, programs[name], brokers, chosen.events or workload.events)
                results[workload.name, name].append(result)
                print(f"metrics {name}: {result.line()}", flush=True)
    finally:
        session.close()
    return _report(results, [scrape.seconds for scrape in scrapes], scrapes[-1].size)


def _report(results: dict[tuple[str, str], list[Result]], seconds: list[float], size: int) -> int:
    print("", *ratios(results, "cpu_us_per_event", "off"), sep="\n")
    on, off = ([result.cpu_us_per_event for result in results["cpu-bound", name]] for name in ("on", "off"))
    ratio = statistics.median(one / other for one, other in zip(on, off, strict=True))
    late = percentile(seconds, 0.99)
    middle = percentile(seconds, 0.5)
    print(
        f"{len(seconds)} scrapes of {size / 1024:.0f} KiB under full load: "
        f"p50 {middle * 1e3:.1f} ms, p99 {late * 1e3:.1f} ms, longest {max(seconds) * 1e3:.1f} ms"
    )
    return 0 if ratio <= MOST_CPU and late <= MOST_SECONDS else 1


if __name__ == "__main__":
    sys.exit(main())
