"""``enricher verify``: does every input have its output or dead letter, once, in order and unchanged?"""

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from enricher.cli.options import (
    FAILED,
    FOUND_WRONG,
    MISUSED,
    ConfigFile,
    Json,
    Overrides,
    load_settings_or_exit,
    refuse,
    tell_problems,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from enricher.audit import Report
    from enricher.cli.verifying import Progress

EXAMPLES = """\b
Examples:
  # while the worker runs: up to what it has committed
  enricher verify --config enricher.yaml --to committed
  # a day that was replayed
  enricher verify --config enricher.yaml --from 2026-11-01T00:00Z \\
      --to 2026-11-02T00:00Z
"""


def verify(
    config: ConfigFile = None,
    overrides: Overrides = None,
    *,
    start: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="POINT",
            help="First input: beginning, committed, a time (ISO 8601, 2h ago), or offsets (0@1500).",
        ),
    ] = "beginning",
    end: Annotated[
        str,
        typer.Option(
            "--to", metavar="POINT", help="End of the input: end, committed (for a running worker), time, offsets."
        ),
    ] = "end",
    once: Annotated[
        bool | None,
        typer.Option("--once/--repeats", help="Whether repeats are wrong. By default as delivery.guarantee promises."),
    ] = None,
    examples: Annotated[int, typer.Option(metavar="N", help="Examples to list of each kind of finding.", min=0)] = 20,
    as_json: Json = False,
) -> None:
    """Audit what workers have done.

    Reads a range of the input topics, the outputs and the dead letters, as a read_committed reader sees them, and
    proves: each input has an output or a dead letter, and one only; the outputs of a key are in their order; key,
    headers and timestamp are the input's; what is committed lies within the log. Nothing is written. Exit code 3 when
    something is wrong.
    """
    settings = load_settings_or_exit(config, overrides, as_json=as_json).settings
    from confluent_kafka import KafkaException  # noqa: PLC0415  `--help` does without these

    from enricher.cli.ranges import NothingInRange, parse_point  # noqa: PLC0415
    from enricher.cli.reading import TopicMissing  # noqa: PLC0415
    from enricher.cli.verifying import verify_topics  # noqa: PLC0415
    from enricher.config import ConfigError  # noqa: PLC0415
    from enricher.config.model import Guarantee  # noqa: PLC0415
    from enricher.registry import RegistryError  # noqa: PLC0415

    brokers = ", ".join(settings.kafka.bootstrap_servers)
    try:
        now = time.time_ns() // 1_000_000
        points = {"start": parse_point(start, now), "end": parse_point(end, now)}
    except ValueError as error:
        refuse("verify", str(error), as_json=as_json)
    try:
        with _progress() as progress:
            report = verify_topics(settings, progress, most=examples, **points)
    except (TopicMissing, NothingInRange) as error:
        refuse("verify", f"{error} in {brokers}", as_json=as_json)
    except ConfigError as error:
        tell_problems(error, as_json=as_json)
        raise typer.Exit(MISUSED) from None
    except RegistryError as error:
        refuse("verify", str(error), FAILED, as_json=as_json)
    except KafkaException as error:
        refuse("verify", f"{brokers}: {error.args[0].str()}", FAILED, as_json=as_json)
    if once is None:
        once = settings.delivery.guarantee is Guarantee.EXACTLY_ONCE
    wrong = report.wrong(once=once)
    if as_json:
        import msgspec  # noqa: PLC0415

        result = {"ok": not wrong, "wrong": wrong, "once": once, **msgspec.to_builtins(report)}
        typer.echo(msgspec.json.encode(result).decode())
    else:
        _print(report, once=once)
    if wrong:
        raise typer.Exit(FOUND_WRONG)


@contextmanager
def _progress() -> "Iterator[Progress]":
    """A bar for each topic on a terminal; without one, a line now and then."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import Progress as Bars  # noqa: PLC0415

    with Bars(console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, Any] = {}

        def tell(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield tell


class _Lines:
    """Plain lines: where a topic begins and ends, and between that every few seconds."""

    EVERY = 5.0

    def __init__(self) -> None:
        self._told = 0.0

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if done < total and now - self._told < self.EVERY:
            return
        self._told = now
        typer.echo(f"{what}: {done:,} of {total:,} offsets", err=True)


_TESTS = {
    "missing": ("every input has an output or a dead letter", "inputs without an output and a dead letter"),
    "repeated": ("nothing came out more than once", "inputs came out more than once"),
    "out_of_order": ("outputs are in order", "outputs came out behind a later one of their key or partition"),
    "changed": ("keys, headers and timestamps are the input's", "outputs or dead letters differ from their input"),
    "commits": ("what is committed lies within the log", "commits lie outside the log"),
}


def _print(report: "Report", *, once: bool) -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    from enricher.cli.rendering import paragraph  # noqa: PLC0415

    console = Console(highlight=False, soft_wrap=True)
    for span in report.spans:
        committed = "nothing committed" if span.committed is None else f"committed up to {span.committed:,}"
        place = f"{span.topic}[{span.partition}]"
        console.print(f"{place}  offsets {span.start:,} to {span.end:,}, {committed}", markup=False)
    console.print(
        f"{report.inputs:,} inputs, {report.outputs:,} outputs, {report.dead_letters:,} dead letters", style="bold"
    )
    wrong = report.wrong(once=once)
    for name, (right, otherwise) in _TESTS.items():
        found = getattr(report, name)
        mark = (
            ("[wrong]", "bold red") if name in wrong else ("[repeats]", "yellow") if found.count else ("[ok]", "green")
        )
        text = f"{found.count:,} {otherwise}" if found.count else right
        if name == "missing" and report.not_committed:
            text += f"; {report.not_committed:,} of them are not committed either, and may still come"
        elif name == "repeated" and found.count and name not in wrong:
            text += ", which at-least-once allows"
        console.print(Text.assemble(mark, " ", text))
        for example in found.examples:
            console.print(f"    {example}", markup=False)
        if found.count > len(found.examples):
            console.print(f"    and {found.count - len(found.examples):,} more")
    others = {name: count for name in report.others.__struct_fields__ if (count := getattr(report.others, name))}
    if others:
        words = {
            "outside": "of input outside the range",
            "foreign": "of other topics",
            "unreadable": "no enriched event",
            "without_input": "of input that is not there any more",
        }
        told = ", ".join(f"{count:,} {words[name]}" for name, count in others.items())
        paragraph(console, f"left aside: {told}", indent="  ")
    for note in report.notes:
        paragraph(console, f"note: {note}", indent="  ")
