"""Plays a schedule, lets the workers catch up, stops them, and judges by `enricher verify`."""

import json
import shutil
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from enricher.testing.threaded import ThreadedHistoryServer
from tests.chaos.schedule import Act, Schedule
from tests.chaos.stage import Stage
from tests.harness.broker import KafkaBroker
from tests.harness.program import Program
from tests.harness.waiting import wait_until

GUARANTEES = ("at-least-once", "exactly-once")

_TICK = 0.05
_VERIFY = 300.0


class Outcome(NamedTuple):
    """What came of a run.

    Attributes:
        wrong: what is wrong, in words; nothing if all is well.
        summary: one line about what was done and found.
        pardoned: why workers ended by themselves, where that was right.
    """

    wrong: tuple[str, ...]
    summary: str
    pardoned: tuple[str, ...]


def command(plan: Schedule, guarantee: str) -> str:
    """What plays this schedule again."""
    return f"python -m tests.chaos --guarantee {guarantee} --seed {plan.seed} --minutes {plan.seconds / 60:g}"


def play(plan: Schedule, guarantee: str, broker: KafkaBroker, folder: Path, deadline: float = 240.0) -> Outcome:
    """Play a schedule.

    Args:
        plan: the schedule.
        guarantee: of the workers.
        broker: a started broker of its own, which is stopped, killed and frozen, and left in any state.
        folder: where logs go if something is wrong.
        deadline: seconds for the workers to catch up at the end.
    """
    begun = time.monotonic()
    report: dict[str, Any] = {}
    with ThreadedHistoryServer() as service:
        stage = Stage(plan, guarantee, broker, service)
        try:
            wrong = _play(plan, stage, report, deadline)
        except Exception as error:  # noqa: BLE001  whatever it was, the logs are wanted
            wrong = [f"{type(error).__name__}: {error}", *stage.crew.faults]
        finally:
            stage.close()
        summary = _summary(plan, guarantee, stage, report, time.monotonic() - begun)
        pardoned = tuple(end for end in stage.crew.ends if end not in stage.crew.faults)
        outcome = Outcome(tuple(wrong), summary, pardoned)
        if wrong:
            _save(folder, plan, stage, outcome, report)
    return outcome


def _play(plan: Schedule, stage: Stage, report: dict[str, Any], deadline: float) -> list[str]:
    clock = threading.Event()  # never set: its wait is a pause
    stage.begin()
    begun = time.monotonic()

    def tick_until(at: float) -> None:
        while (left := at - (time.monotonic() - begun)) > 0:
            stage.tick()
            clock.wait(min(left, _TICK))

    for step in plan.steps:
        tick_until(step.at)
        stage.play(step)
    tick_until(plan.seconds)
    stage.lift()
    stage.feed.finish()
    wrong = []
    try:
        wait_until(stage.resolved, "all input resolved", deadline)
    except AssertionError as late:
        wrong.append(str(late))
    stage.crew.stop_all()
    wait_until(stage.transactions_ended, "the end of the transactions of killed workers", 60)
    wrong += [f"ended by itself or not in order: {end}" for end in stage.crew.faults]
    verify = Program("verify", "--json", *stage.settings())
    code = verify.wait(_VERIFY)
    report.update(json.loads(verify.out[-1]) if verify.out else {"error": verify.tail()})
    if code != 0:
        wrong.append(f"enricher verify ended with {code}: {', '.join(report.get('wrong', ())) or verify.tail()}")
    elif report["inputs"] < stage.feed.written:
        # More is no fault: a broker that restarts forgets the producers of records that are dated more than a day ago,
        # as ours are, and takes what the feed sends again for new.
        wrong.append(f"{stage.feed.written} events were written, and verify has seen {report['inputs']}")
    wrong += [
        f"{name} has written a traceback"
        for name, program in stage.crew.programs()
        if any("Traceback" in line for line in program.err)
    ]
    return wrong


def _summary(plan: Schedule, guarantee: str, stage: Stage, report: dict[str, Any], seconds: float) -> str:
    acts = Counter(step.act for step in plan.steps)
    counted = {
        "kills": acts[Act.KILL],
        "stops": acts[Act.STOP],
        "freezes": acts[Act.FREEZE],
        "broker faults": acts[Act.BROKER_STOP] + acts[Act.BROKER_KILL] + acts[Act.BROKER_PAUSE],
        "ends by themselves": len(stage.crew.ends),
        "clients that did not return": stage.replaced,
    }
    found = ""
    if "inputs" in report:
        found = (
            f"{report['inputs']} inputs, {report['outputs']} outputs, {report['dead_letters']} dead letters, "
            f"{report['missing']['count']} missing, {report['repeated']['count']} repeated; "
        )
    what = ", ".join(f"{count} {name}" for name, count in counted.items())
    member = f"{plan.protocol}{', static' if plan.static else ''}"
    return f"seed {plan.seed} {guarantee} ({member}): {found}{what}; {seconds:.0f} s"


def _save(folder: Path, plan: Schedule, stage: Stage, outcome: Outcome, report: dict[str, Any]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    stage.crew.save(folder)
    told = [outcome.summary, *outcome.wrong, "", "ends:", *stage.crew.ends, "", plan.describe(), ""]
    (folder / "outcome.txt").write_text("\n".join(told), "utf-8")
    (folder / "verify.json").write_text(json.dumps(report, indent=2), "utf-8")
    (folder / "broker.log").write_text(getattr(stage.broker, "tail", str)(), "utf-8")
