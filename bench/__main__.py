"""Measures the worker: real Kafka, the history service in a process of its own, the installed console script.

    make bench                      all workloads, one round each
    make bench ARGS="--rounds 3"    min, median and max of three

Prints events per second and CPU microseconds per event of the worker's process, its start included, and writes JSON to
bench/results/. Machines are noisy: compare figures of one run only.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

from bench.workload import WORKLOADS, Result, Setting, measure
from tests.harness.selection import KafkaOfSession


def main() -> int:
    """Run the workloads that were asked for; 0 if every event was accounted for."""
    parser = argparse.ArgumentParser(prog="bench", description="Measure the worker on a real Kafka.")
    parser.add_argument("--workload", action="append", choices=[w.name for w in WORKLOADS], help="default: all")
    parser.add_argument("--rounds", type=int, default=1, help="of each workload, interleaved")
    parser.add_argument("--events", type=int, help="events of each workload, in place of its own number")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the worker")
    chosen = parser.parse_args()
    workloads = [w for w in WORKLOADS if not chosen.workload or w.name in chosen.workload]
    results: dict[str, list[Result]] = {w.name: [] for w in workloads}
    session = KafkaOfSession()
    print(session.report(), flush=True)
    try:
        for _ in range(chosen.rounds):
            for workload in workloads:
                setting = Setting(session.shared().bootstrap_servers, tuple(chosen.set))
                result = measure(workload, chosen.events or workload.events, setting)
                results[workload.name].append(result)
                print(f"{workload.name}: {result.line()}", flush=True)
    finally:
        session.close()
    if chosen.rounds > 1:
        summarise(results)
    folder = Path(__file__).parent / "results"
    folder.mkdir(exist_ok=True)
    path = folder / f"{time.strftime('%Y%m%d-%H%M%S')}.json"
    path.write_text(json.dumps({name: [r._asdict() for r in rounds] for name, rounds in results.items()}, indent=1))
    print(f"written to {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path.name}")
    return 0 if all(r.missing == 0 for rounds in results.values() for r in rounds) else 1


def summarise(results: dict[str, list[Result]]) -> None:
    """Print minimum, median and maximum of each figure."""
    print(f"\n{'workload':<12} {'figure':<18} {'min':>9} {'median':>9} {'max':>9}")
    for name, rounds in results.items():
        for figure in ("events_per_second", "cpu_us_per_event", "start_seconds", "peak_mib"):
            values = [getattr(r, figure) for r in rounds]
            print(f"{name:<12} {figure:<18} {min(values):>9.1f} {statistics.median(values):>9.1f} {max(values):>9.1f}")


if __name__ == "__main__":
    sys.exit(main())
