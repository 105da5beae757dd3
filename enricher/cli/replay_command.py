"""The modes of ``enricher replay``: run, work for another process, dry run, compare; what each prints, its exit code.

Invariants: with ``--json`` standard output has one JSON object, and nothing else; whatever is refused is refused before
anything is written; an interrupted replay ends with 1, so that a Kubernetes Job tries again.
"""

import asyncio
import json
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, TypeVar
from uuid import uuid4

import typer
from confluent_kafka import KafkaException

from enricher.as_of import AsOf
from enricher.cli.compose import run_until_signal
from enricher.cli.options import FAILED, MISUSED, refuse, tell_problems
from enricher.cli.planning import BadRange, find_range
from enricher.cli.plans import Plans, complete
from enricher.cli.progress import Figures, progress
from enricher.cli.reading import TopicMissing, TopicReader
from enricher.cli.replay_report import counts, plan_json, range_lines, summary, title
from enricher.cli.replay_request import Request, Usage
from enricher.cli.replay_workers import Workers
from enricher.cli.replaying import Replay, replay_settings, run_replay
from enricher.cli.service import build_client
from enricher.config import DEFAULT, ConfigError, Loaded
from enricher.kafka import explain
from enricher.logs import configure
from enricher.protocols import ProduceFailed
from enricher.registry import RegistryError
from enricher.replay.plan import BadPlan, Plan
from enricher.stats import Stats

T = TypeVar("T")

REPORT_EVERY = 1.0
"""Seconds between two reports of a process that works for another one."""


@dataclass(frozen=True, slots=True)
class Command:
    """One call of ``enricher replay``.

    Attributes:
        loaded: the settings, and where they come from.
        request: what was asked for.
        as_json: whether a program reads the output.
        config: the file of settings, for processes that it starts.
        overrides: settings of the command line, likewise.
    """

    loaded: Loaded
    request: Request
    as_json: bool
    config: Path | None
    overrides: list[str]

    def run(self, parallel: int) -> int:
        """Make or find the plan, and work at it until it is done."""
        replay, notes = self._guard(self._open)
        self._log()
        self._say(title(replay, parallel), *(f"note: {note}" for note in notes))
        started = time.monotonic()
        stats = Stats()
        with closing(self._guard(lambda: self._plans().progress(replay.name))) as offsets:
            if complete(replay.plan, self._guard(lambda: offsets.read(replay.plan.spans))):
                done = True
            else:
                with progress(f"replay {replay.name}") as tell:
                    if parallel > 1:
                        workers = Workers(replay, parallel, self.config, self.overrides)
                        done = self._guard(lambda: workers.run(offsets, stats, tell))
                    else:
                        work = partial(run_replay, replay, stats, offsets, tell)
                        done = self._guard(lambda: run_until_signal(work))
            positions = self._guard(lambda: offsets.read(replay.plan.spans))
        figures = replay.figures(positions, stats)
        self._summarise(replay, figures, stats, time.monotonic() - started, done=done)
        return 0 if done else FAILED

    def work(self) -> int:
        """Work at a plan that another process has made, and report to it; end when it is gone."""
        replay, _ = self._guard(self._open)
        self._log()
        stats = Stats()
        reported = 0.0

        def report(figures: Figures) -> None:
            nonlocal reported
            if time.monotonic() - reported >= REPORT_EVERY or figures.done >= figures.total:
                reported = time.monotonic()
                sys.stdout.write(json.dumps(counts(stats)) + "\n")
                sys.stdout.flush()

        async def main(stop: asyncio.Event) -> bool:
            loop = asyncio.get_running_loop()
            threading.Thread(target=_await_end, args=(loop, stop), name="parent", daemon=True).start()
            with closing(self._plans().progress(replay.name)) as offsets:
                return await run_replay(replay, stats, offsets, report, stop)

        done = self._guard(lambda: run_until_signal(main))
        sys.stdout.write(json.dumps(counts(stats)) + "\n")
        return 0 if done else FAILED

    def dry_run(self, rate: float | None) -> int:
        """Show what a replay would do."""
        from enricher.cli.replay_estimate import estimate  # noqa: PLC0415

        settings = self.loaded.settings
        plan, notes = self._guard(self._existing if self.request.resume else self.make)
        found = self._guard(lambda: estimate(settings, plan, self.request.selection(plan.terms)))
        if self.as_json:
            typer.echo(json.dumps({**plan_json(plan), **found.to_json(rate, settings), "notes": notes}))
        else:
            typer.echo("\n".join([*range_lines(plan), *found.lines(rate, settings), *(f"note: {n}" for n in notes)]))
        return 0

    def compare(self, examples: int) -> int:
        """Tell what would change."""
        from enricher.cli.comparing import compare  # noqa: PLC0415

        if self.loaded.settings.output.format == "json":
            self._refuse("--compare reads outputs in Avro, and output.format is json", MISUSED)

        self._log()
        return self._guard(lambda: compare(self, examples))

    # ---- the plan ----------------------------------------------------------------------------------------------

    def make(self) -> tuple[Plan, list[str]]:
        """A plan of the range that was asked for, and what is to be known of it."""
        settings, request = self.loaded.settings, self.request
        found = find_range(
            settings.kafka.client_properties(),
            settings.kafka.group_id,
            request.topics,
            request.asked,
            time.time_ns() // 1_000_000,
        )
        return Plan(request.terms(found.since, found.until), found.spans), found.notes

    def replay_of(self, name: str, plan: Plan) -> Replay:
        """A replay on the terms of a plan."""
        settings = replay_settings(self.loaded.settings, name, plan.terms.topic)
        topics = sorted({partition.topic for partition in plan.spans})
        update: dict[str, Any] = {"input": settings.input.model_copy(update={"topics": tuple(topics)})}
        if plan.terms.as_of is not None:
            update["history"] = settings.history.model_copy(update={"as_of": AsOf(plan.terms.as_of)})
        return Replay(name, settings.model_copy(update=update), plan, self.request.selection(plan.terms))

    def _plans(self) -> Plans:
        settings = self.loaded.settings
        return Plans(settings.kafka.client_properties(), settings.kafka.group_id, settings.input.topics)

    def _existing(self) -> tuple[Plan, list[str]]:
        name = self.request.resume or ""
        plans = self._plans()
        plan = plans.read(name)
        if plan is None:
            raise Usage(
                f"there is no replay {name} of the group {self.loaded.settings.kafka.group_id} to go on with: the name "
                "is wrong, or the brokers have forgotten it (offsets.retention.minutes after its last commit)"
            )
        self.request.check(plan.terms, name)
        plans.keep(name, plan)
        with closing(plans.progress(name)) as offsets:
            lost = plans.lost(plan, offsets.read(plan.spans))
        return plan, [f"{lost:,} offsets were deleted before they could be replayed"] if lost else []

    def _open(self) -> tuple[Replay, list[str]]:
        """The replay that was asked for: a new one, one that others have begun, or one that goes on."""
        request, output = self.request, self.loaded.settings.output
        asyncio.run(build_client(self.loaded.settings).close())  # files that it cannot use are told before we begin
        kafka = self.loaded.settings.kafka.client_properties()
        for topic in (request.to_topic or output.topic, output.dead_letter_topic):
            TopicReader(kafka, topic).close()
        if request.resume is not None:
            existing, warnings = self._existing()
            return self.replay_of(request.resume, existing), warnings
        notes: list[str] = []

        def make() -> Plan:
            plan, found = self.make()
            notes.extend(found)
            return plan

        if request.name is not None:
            plan = self._plans().begin_together(request.name, make)
            request.check(plan.terms, request.name)
            return self.replay_of(request.name, plan), notes
        at = request.asked.start
        begin = datetime.fromtimestamp(at / 1000, UTC) if isinstance(at, int) else datetime.now(UTC)
        name = f"{begin:%Y%m%d-%H%M}-{uuid4().hex[:4]}"
        return self.replay_of(name, self._plans().begin(name, make)), notes

    # ---- what is told ------------------------------------------------------------------------------------------

    def _log(self) -> None:
        """Log warnings alone, unless a level was asked for: the progress tells the rest."""
        logging, origins = self.loaded.settings.logging, self.loaded.origins
        update: dict[str, Any] = {}
        if origins["logging.level"] == DEFAULT:
            update["level"] = "warning"
        if origins["logging.format"] == DEFAULT and sys.stderr.isatty():
            update["format"] = "console"
        configure(logging.model_copy(update=update))

    def _say(self, *lines: str) -> None:
        for line in lines:
            typer.echo(line, err=self.as_json)

    def _guard(self, call: Callable[[], T]) -> T:
        """What a call returns; what goes wrong is told, and ends the command."""
        brokers = ", ".join(self.loaded.settings.kafka.bootstrap_servers)
        try:
            return call()
        except TopicMissing as error:
            self._refuse(f"{error} in {brokers}: create it first, or name another", MISUSED)
        except ConfigError as error:
            tell_problems(error, as_json=self.as_json)
            raise typer.Exit(MISUSED) from None
        except (Usage, BadRange, BadPlan) as error:
            self._refuse(str(error), MISUSED)
        except KafkaException as error:
            self._refuse(f"{brokers}: {explain(error.args[0])}", FAILED)
        except (ProduceFailed, RegistryError, RuntimeError, OSError) as error:
            self._refuse(str(error), FAILED)

    def _refuse(self, message: str, code: int) -> NoReturn:
        refuse("replay", message, code, as_json=self.as_json)

    def _summarise(self, replay: Replay, figures: Figures, stats: Stats, seconds: float, *, done: bool) -> None:
        if self.as_json:
            result = {
                "name": replay.name,
                "group": replay.settings.kafka.group_id,
                "complete": done,
                **plan_json(replay.plan),
                "done": figures.done,
                **counts(stats),
                "seconds": round(seconds, 3),
            }
            typer.echo(json.dumps(result))
            return
        for line in summary(replay, figures, stats, seconds, done=done):
            typer.echo(line)
        if not done:
            where = f"--config {self.config} " if self.config else ""
            again = " with the same --customer or --customers" if replay.selection.customers else ""
            typer.echo(f"to go on: enricher replay {where}--resume {replay.name}{again}")


def _await_end(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """Stop when standard input ends: the process that we work for holds its other end."""
    while sys.stdin.read(1):
        pass
    loop.call_soon_threadsafe(stop.set)
