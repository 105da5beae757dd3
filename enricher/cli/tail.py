"""``enricher tail``: enriched events and dead letters, decoded for people or programs."""

import shutil
import sys
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from enricher.cli.options import FAILED, MISUSED, ConfigFile, Json, Overrides, load_settings_or_exit, tell_problems

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from enricher.cli.ranges import Point
    from enricher.cli.tail_view import Choice, Shown, View
    from enricher.config import Settings


class Output(StrEnum):
    """How records are shown."""

    TEXT = "text"
    TABLE = "table"
    JSON = "json"
    RAW = "raw"


EXAMPLES = """\b
Examples:
  # the three newest events
  enricher tail --config enricher.yaml -n 3
  # dead letters from a time on, a line each
  enricher tail contacts.dlq --config enricher.yaml \\
      --from 2026-11-01T08:00Z --output table
  # one customer's events with an accepted offer
  enricher tail --config enricher.yaml --customer C-4711 \\
      --outcome Accepted --show-ids
  # all that comes, as JSON, without settings
  enricher tail enriched --bootstrap-servers localhost:9092 --follow --json
"""


def tail(
    topic: Annotated[
        str | None, typer.Argument(metavar="TOPIC", help="Topic to read; the setting output.topic if left out.")
    ] = None,
    *,
    bootstrap_servers: Annotated[
        str | None,
        typer.Option(
            "--bootstrap-servers", "-b", metavar="HOST:PORT", help="Brokers. With TOPIC, no settings are needed."
        ),
    ] = None,
    last: Annotated[
        int | None,
        typer.Option(
            "--last", "-n", metavar="N", help="The newest to show; 0 for none. 10, or all since --from.", min=0
        ),
    ] = None,
    all_events: Annotated[bool, typer.Option("--all", help="From the beginning of the topic.")] = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new events until stopped.")] = False,
    start: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="POINT", help="Only from a time on (ISO 8601, 2h ago), or from offsets (0@1500)."
        ),
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", metavar="POINT", help="Only what lies before it; as --from.")
    ] = None,
    customers: Annotated[
        list[str] | None, typer.Option("--customer", metavar="ID", help="Only of this customer. May be repeated.")
    ] = None,
    outcomes: Annotated[
        list[str] | None,
        typer.Option(
            "--outcome",
            metavar="NAME",
            help="Only of this outcome: enriched, no-history, unavailable; that of an offer, such as Accepted; "
            "dead-letter, or its stage or cause. May be repeated.",
        ),
    ] = None,
    output: Annotated[
        Output | None,
        typer.Option(
            metavar="FORM",
            help="text, table, json or raw: a few lines each, a line each, JSON lines, or the values as they are.",
        ),
    ] = None,
    show_ids: Annotated[
        bool, typer.Option("--show-ids", help="Show customers' ids, and the keys and values of dead letters.")
    ] = False,
    offers: Annotated[int, typer.Option(metavar="N", help="Offers to show of each event, as text.", min=0)] = 5,
    config: ConfigFile = None,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Show enriched events or dead letters, decoded. With --json, one a line.

    Ends after those that are there now, unless --follow is given. A customer's id is shown as a mask such as
    ~3f1c22a0, the same for one customer while the command runs.
    """
    as_json = as_json or output is Output.JSON
    if as_json and output not in (None, Output.JSON):
        _refuse(f"--json and --output {output} exclude each other")
    if output is Output.RAW and not show_ids:
        _refuse("--output raw shows customers' ids: add --show-ids if that is wanted")
    if all_events and (last is not None or start is not None):
        _refuse("--all excludes --last and --from")
    if follow and end is not None:
        _refuse("--follow has no end: leave --to out")
    kafka: dict[str, Any]
    settings = None
    if topic is not None and bootstrap_servers is not None and config is None and not overrides:
        kafka = {"bootstrap.servers": bootstrap_servers}
    else:
        settings = load_settings_or_exit(config, overrides, as_json=as_json).settings
        kafka = settings.kafka.client_properties()
        if bootstrap_servers is not None:
            kafka["bootstrap.servers"] = bootstrap_servers
        topic = topic or settings.output.topic

    from enricher.cli.tail_view import Choice, View  # noqa: PLC0415  `--help` does without these

    try:
        points = _point(start), _point(end)
    except ValueError as error:
        _refuse(str(error))
    since, until = (point if isinstance(point, int) else None for point in points)
    if since is not None and until is not None and since >= until:
        _refuse(f"--from {start} is not before --to {end}")
    choice = Choice(customers or (), outcomes or (), since, until)
    show = _printer(Output.JSON if as_json else output or Output.TEXT, View(show_ids=show_ids, offers=offers))
    if last is None and not all_events and start is None:
        last = 10
    with suppress(KeyboardInterrupt):
        _run(settings, kafka, topic, choice, points, show, last=last, follow=follow)


def _run(
    settings: "Settings | None",
    kafka: dict[str, Any],
    topic: str,
    choice: "Choice",
    points: "tuple[Point | None, Point | None]",
    show: "_Printer",
    *,
    last: int | None,
    follow: bool,
) -> None:
    import signal  # noqa: PLC0415

    from confluent_kafka import KafkaException  # noqa: PLC0415

    from enricher.cli.codecs import build_decoder, output_reader  # noqa: PLC0415
    from enricher.cli.reading import TopicMissing, TopicReader  # noqa: PLC0415
    from enricher.cli.tailing import Finder  # noqa: PLC0415
    from enricher.codec import Decoder  # noqa: PLC0415
    from enricher.config import ConfigError  # noqa: PLC0415
    from enricher.registry import RegistryError  # noqa: PLC0415

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # to stop is how a --follow ends, not a failure
    try:
        decoder = Decoder() if settings is None else build_decoder(settings)
        with output_reader(settings) as outputs, TopicReader(kafka, topic) as reader:
            finder = Finder(reader, outputs, decoder, choice, *points)
            show(finder.everything() if last is None else finder.newest(last))
            if follow:
                show(finder.coming())
    except TopicMissing as error:
        _refuse(f"{error} in {kafka['bootstrap.servers']}")
    except KafkaException as error:
        _refuse(f"{kafka['bootstrap.servers']}: {error.args[0].str()}", FAILED)
    except ConfigError as error:
        tell_problems(error, as_json=False)
        raise typer.Exit(MISUSED) from None
    except RegistryError as error:
        _refuse(str(error), FAILED)


def _point(text: str | None) -> "Point | None":
    from enricher.cli.ranges import Edge, parse_point  # noqa: PLC0415

    point = None if text is None else parse_point(text, time.time_ns() // 1_000_000)
    if point is Edge.COMMITTED:
        raise ValueError("committed is a point of a group: write a time such as 2026-01-31T12:00Z, or offsets (0@1500)")
    return point


def _refuse(message: str, code: int = MISUSED) -> NoReturn:
    typer.echo(f"enricher tail: {message}", err=True)
    raise typer.Exit(code)


class _Printer(ABC):
    """Shows one after the other; what cannot be decoded is told on standard error."""

    def __init__(self, view: "View") -> None:
        self._view = view

    def __call__(self, found: "Iterable[Shown]") -> None:
        for shown in found:
            if not self.show(shown):
                typer.echo(f"{shown.place} is no enriched event: {shown.problem}", err=True)

    @abstractmethod
    def show(self, shown: "Shown") -> bool:
        """Show one; whether that was possible."""


class _Json(_Printer):
    def show(self, shown: "Shown") -> bool:
        line = self._view.json(shown)
        if line is not None:
            typer.echo(line.decode())
        return line is not None


class _Raw(_Printer):
    def show(self, shown: "Shown") -> bool:
        sys.stdout.buffer.write((shown.record.value or b"") + b"\n")
        sys.stdout.buffer.flush()
        return True


class _Text(_Printer):
    def __init__(self, view: "View") -> None:
        from rich.console import Console  # noqa: PLC0415

        super().__init__(view)
        self._console = Console(highlight=False, soft_wrap=False)

    def show(self, shown: "Shown") -> bool:
        lines = list(self._view.lines(shown))
        for line in lines:
            self._console.print(line, overflow="ellipsis", no_wrap=self._console.is_terminal)
        if lines:
            self._console.print()
        return bool(lines)


class _Table(_Printer):
    """A line each, of columns that are as wide as what mostly stands in them, as nobody knows what is to come.

    On a terminal no line is longer than it is wide, and on a narrow one the year is left out; elsewhere all is shown.
    """

    _NARROW = 100

    def __init__(self, view: "View") -> None:
        super().__init__(view)
        self._headed = False
        self._width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        self._time = len("11-27 18:09:29" if self._width and self._width < self._NARROW else "2026-11-27 18:09:29")

    def show(self, shown: "Shown") -> bool:
        row = self._view.row(shown)
        if row is None:
            return False
        if not self._headed:
            self._headed = True
            self._write("TIME (UTC)", "PLACE", "OUTCOME", "CUSTOMER", "OFFERS", "EVENT")
        at, *others = row
        self._write(at[-self._time :], *others)
        return True

    def _write(self, at: str, *cells: str) -> None:
        line = "{:<{}} {:<10} {:<17} {:<11} {:>6} {}".format(at, self._time, *cells).rstrip()
        if self._width is not None and len(line) > self._width:
            line = line[: self._width - 1] + "…"
        typer.echo(line)


def _printer(output: Output, view: "View") -> _Printer:
    printers: dict[Output, Callable[[View], _Printer]] = {
        Output.TEXT: _Text,
        Output.TABLE: _Table,
        Output.JSON: _Json,
        Output.RAW: _Raw,
    }
    return printers[output](view)
