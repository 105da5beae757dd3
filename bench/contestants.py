"""The programs that are measured: the worker, and what people write in its place."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tests.harness.program import SCRIPT, Program

WORKER = "worker"
EXACTLY_ONCE = "worker-exactly-once"
PLAIN_LOOP = "plain-loop"
GATHER = "gather"
ROOT = Path(__file__).parent.parent


class Job(NamedTuple):
    """What a program has to know."""

    brokers: str
    topic: str
    output: str
    url: str
    in_flight: int


class Contestant(NamedTuple):
    """A program that can be measured.

    Attributes:
        name: as it is called.
        command: what starts it.
        sets: settings of the worker; None where it is none.
        share: of a workload's events, for one that is too slow for all of them.
    """

    name: str
    command: tuple[str, ...]
    sets: tuple[str, ...] | None = None
    share: float = 1.0

    def start(self, job: Job) -> Program:
        """Start it."""
        if self.sets is None:
            return Program(*map(str, job), command=self.command, cwd=ROOT)
        sets = (
            f"kafka.bootstrap_servers={job.brokers}",
            f"kafka.group_id={job.topic}",
            f"input.topics={job.topic}",
            f"output.topic={job.output}",
            f"service.url={job.url}",
            f"service.max_in_flight={job.in_flight}",
            *self.sets,
        )
        return Program("run", "--json", *(word for pair in sets for word in ("--set", pair)), command=self.command)


def contestants(overrides: tuple[str, ...], versions: Mapping[str, Path]) -> dict[str, Contestant]:
    """All programs by name.

    Args:
        overrides: settings of every worker.
        versions: the installed scripts of the worker's versions, by a suffix of their names: "" is this one.
    """
    known = [
        Contestant(PLAIN_LOOP, (sys.executable, "-m", "bench.programs.plain_loop")),
        Contestant(GATHER, (sys.executable, "-m", "bench.programs.gather"), share=0.2),
    ]
    for suffix, script in (versions or {"": SCRIPT}).items():
        # An older version may not know the setting; it listens nowhere, or where nobody else does.
        sets = overrides if suffix else ("http.listen=127.0.0.1:0", *overrides)
        known.append(Contestant(WORKER + suffix, (str(script),), sets))
        known.append(Contestant(EXACTLY_ONCE + suffix, (str(script),), (*sets, "delivery.guarantee=exactly-once")))
    return {contestant.name: contestant for contestant in known}
