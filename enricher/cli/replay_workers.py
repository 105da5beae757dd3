"""Several processes for one replay: each is ``enricher replay --resume NAME``, a member of the replay's group.

Invariants: what a process did is counted as it last reported it; one that dies is told of, and the others take its
share; a stop is passed on once, as a second one would not drain; if this process dies, the others see their standard
input end, and stop.
"""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog
from confluent_kafka import KafkaException

from enricher.cli.groups import GroupOffsets
from enricher.cli.plans import complete
from enricher.cli.progress import Figures
from enricher.cli.replaying import LOOK, Replay
from enricher.stats import Stats

log = structlog.get_logger(__name__)


class _Process:
    """One process, and what it reported last."""

    def __init__(self, command: list[str], customers: frozenset[str] | None) -> None:
        self.report: dict[str, Any] = {}
        self._process = subprocess.Popen(  # noqa: S603  it is this very program
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            start_new_session=True,  # a terminal's interrupt is passed on by us, once
        )
        if self._process.stdin is not None:
            self._process.stdin.write(json.dumps(None if customers is None else sorted(customers)) + "\n")
            self._process.stdin.flush()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self._process.stdout or ():
            if line.startswith("{"):
                self.report = json.loads(line)

    @property
    def code(self) -> int | None:
        """Its exit code; None while it runs."""
        code = self._process.poll()
        if code is not None:
            self._reader.join()
        return code

    def stop(self) -> None:
        """Have it drain and end."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)


class Workers:
    """The processes of one replay.

    Args:
        replay: what they work at.
        count: how many.
        config: their file of settings.
        overrides: their settings besides.
    """

    def __init__(self, replay: Replay, count: int, config: Path | None, overrides: list[str]) -> None:
        self._replay = replay
        self._command = [sys.executable, "-m", "enricher", "replay", "--resume", replay.name, "--worker"]
        if config is not None:
            self._command += ["--config", str(config)]
        self._command += [f"--set={override}" for override in overrides]
        self._count = count

    def run(self, offsets: GroupOffsets, stats: Stats, tell: Callable[[Figures], None]) -> bool:
        """Start them, and return when all have ended; whether the replay is complete.

        Args:
            offsets: of the replay's group.
            stats: where their counts are put together.
            tell: told now and then how far they are.
        """
        stopping = threading.Event()
        before = {number: signal.signal(number, lambda *_: stopping.set()) for number in _SIGNALS}
        processes = [_Process(self._command, self._replay.selection.customers) for _ in range(self._count)]
        ended: set[int] = set()
        try:
            self._attend(processes, ended, stopping, offsets, stats, tell)
        finally:
            for process in processes:
                process.stop()
            for number, handler in before.items():
                signal.signal(number, handler)
        _sum(processes, stats)
        return complete(self._replay.plan, offsets.read(self._replay.plan.spans))

    def _attend(
        self,
        processes: list[_Process],
        ended: set[int],
        stopping: threading.Event,
        offsets: GroupOffsets,
        stats: Stats,
        tell: Callable[[Figures], None],
    ) -> None:
        told_to_stop = False
        while len(ended) < len(processes):
            for number, process in enumerate(processes):
                if number not in ended and (code := process.code) is not None:
                    ended.add(number)
                    if code != 0 and not told_to_stop:
                        log.warning("replay_process_ended", process=number, code=code, left=len(processes) - len(ended))
            if stopping.is_set() and not told_to_stop:
                told_to_stop = True
                for process in processes:
                    process.stop()
            _sum(processes, stats)
            try:
                tell(self._replay.figures(offsets.read(self._replay.plan.spans), stats))
            except KafkaException as error:
                log.debug("progress_not_read", error=str(error))
            time.sleep(LOOK)


_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def _sum(processes: list[_Process], stats: Stats) -> None:
    reports = [process.report for process in processes]
    for name in ("enriched", "passed_through", "left_out", "skipped", "lookups", "retries"):
        setattr(stats, name, sum(report.get(name, 0) for report in reports))
    stats.dead_letters.clear()
    for report in reports:
        for cause in report.get("dead_letter_causes", ()):
            stats.dead_letters[cause["stage"], cause["cause"]] += cause["count"]
