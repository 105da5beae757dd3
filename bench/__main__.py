"""Measures the worker: real Kafka, the history service in a process of its own, the installed console script.

    make bench                                   everything, one round
    make bench ARGS="--rounds 5"                 minimum, median and maximum of five
    make bench ARGS="--workload cpu-bound --program worker --program plain-loop"
    make bench-compare BASE=main                 this version of the worker and another, interleaved

Writes JSON to bench/results/. Machines are noisy, and two programs at a time disturb each other: within a round the
programs run one after the other, each on all workloads' own topics; compare figures of one run only.
"""

import argparse
import json
import sys
import time
from pathlib import Path

from bench.contestants import EXACTLY_ONCE, PLAIN_LOOP, WORKER, contestants
from bench.figures import Result, ratios, table
from bench.measure import measure
from bench.versions import BASE, installed
from bench.workloads import WORKLOADS, Workload
from tests.harness.broker import MEASURED
from tests.harness.program import SCRIPT
from tests.harness.selection import KafkaOfSession

Results = dict[tuple[str, str], list[Result]]


def main() -> int:
    """Run the measurements that were asked for; 0 if every event was accounted for."""
    chosen = _arguments()
    versions = {"": SCRIPT} | ({BASE: installed(chosen.base)} if chosen.base else {})
    known = contestants(tuple(chosen.set), versions)
    workloads = [w for w in WORKLOADS if not chosen.workload or w.name in chosen.workload]
    if unknown := set(chosen.program) - set(known):
        sys.exit(f"bench: no program {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    results: Results = {(w.name, p): [] for w in workloads for p in _programs(w, chosen.program, list(versions))}
    session = KafkaOfSession(options=MEASURED)
    print(session.report(), flush=True)
    try:
        for _ in range(chosen.rounds):
            for (name, program), rounds in results.items():
                [workload] = [w for w in workloads if w.name == name]
                events = int((chosen.events or workload.events) * known[program].share)
                result = measure(workload, known[program], session.shared().bootstrap_servers, events)
                rounds.append(result)
                print(f"{name}: {program}: {result.line()}", flush=True)
    finally:
        session.close()
    report = table(results) if chosen.rounds > 1 else []
    report += ratios(results, "cpu_us_per_event", WORKER + BASE if chosen.base else PLAIN_LOOP)
    report += [line for line in ratios(results, "events_per_second", WORKER) if f"of {EXACTLY_ONCE} " in line]
    print("", *report, sep="\n")
    _write(results, chosen.set)
    return 0 if all(r.missing == 0 for rounds in results.values() for r in rounds) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description="Measure the worker on a real Kafka.")
    parser.add_argument("--workload", action="append", choices=[w.name for w in WORKLOADS], help="default: all")
    parser.add_argument("--program", action="append", default=[], metavar="NAME", help="default: all of the workload")
    parser.add_argument("--rounds", type=int, default=1, help="of each, interleaved")
    parser.add_argument("--events", type=int, help="of each workload, in place of its own number")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the worker")
    parser.add_argument("--base", metavar="REF", help="compare with the worker of this git revision")
    return parser.parse_args()


def _programs(workload: Workload, asked: list[str], versions: list[str]) -> list[str]:
    """Those of the workload that were asked for, the worker in each version; the worker alone where there are two."""
    workers = {WORKER, EXACTLY_ONCE}
    wanted = {name.removesuffix(BASE) for name in asked}
    chosen = [
        name for name in workload.programs if name in (wanted or (workers if len(versions) > 1 else workload.programs))
    ]
    return [name + suffix for name in chosen for suffix in (versions if name in workers else [""])]


def _write(results: Results, sets: list[str]) -> None:
    folder = Path(__file__).parent / "results"
    folder.mkdir(exist_ok=True)
    path = folder / f"{time.strftime('%Y%m%d-%H%M%S')}.json"
    measured = [
        {"workload": workload, "program": program, "rounds": [result._asdict() for result in rounds]}
        for (workload, program), rounds in results.items()
    ]
    path.write_text(json.dumps({"set": sets, "results": measured}, indent=1) + "\n")
    print(f"written to bench/results/{path.name}")


if __name__ == "__main__":
    sys.exit(main())
