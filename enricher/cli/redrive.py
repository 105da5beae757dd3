"""``enricher redrive``: dead letters back to the input, each once, when what was wrong with them has been put right."""

import sys
import time
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from enricher.cli.options import FAILED, MISUSED, ConfigFile, Json, Overrides, load_settings_or_exit

if TYPE_CHECKING:
    from enricher.cli.ranges import Point
    from enricher.cli.redriving import Outcome, Terms
    from enricher.config import Settings
    from enricher.redrive.selection import Selection

EXAMPLES = """\b
Examples:
  # what there is, by stage and cause
  enricher redrive --config enricher.yaml --list
  # try, send a few, send the others
  enricher redrive --config enricher.yaml --cause BadRequest --dry-run
  enricher redrive --config enricher.yaml --cause BadRequest --limit 10
  enricher redrive --config enricher.yaml --cause BadRequest
  # those of another program, of a day
  enricher redrive orders.DLT --config enricher.yaml --to-topic contacts \\
      --from 2026-11-01T00:00Z --to 2026-11-02T00:00Z
"""


def redrive(
    topic: Annotated[
        str | None,
        typer.Argument(
            metavar="TOPIC", help="Topic of dead letters; the setting output.dead_letter_topic if left out."
        ),
    ] = None,
    *,
    list_only: Annotated[
        bool, typer.Option("--list", help="Show what there is, by stage and cause; send nothing.")
    ] = False,
    everything: Annotated[bool, typer.Option("--all", help="Choose all that have not gone back yet.")] = False,
    stages: Annotated[
        list[str] | None,
        typer.Option("--stage", metavar="STAGE", help="Choose this stage, such as lookup. May be repeated."),
    ] = None,
    causes: Annotated[
        list[str] | None,
        typer.Option("--cause", metavar="CAUSE", help="Choose this cause, such as BadRequest. May be repeated."),
    ] = None,
    keys: Annotated[
        list[str] | None, typer.Option("--key", metavar="KEY", help="Choose records of this key. May be repeated.")
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="POINT",
            help="Choose from a time of the records on (ISO 8601), or from offsets of the dead letters (0@1500).",
        ),
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", metavar="POINT", help="Choose what lies before it; as --from.")
    ] = None,
    limit: Annotated[int | None, typer.Option(metavar="N", help="Send no more than this many.", min=1)] = None,
    max_redrives: Annotated[
        int, typer.Option(metavar="N", help="Leave those that were sent back this often and failed again.", min=1)
    ] = 3,
    to_topic: Annotated[
        str | None,
        typer.Option(metavar="TOPIC", help="Topic to send to; the input topic that each came from if left out."),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(
            metavar="GROUP",
            help="Group that keeps what has gone back; the setting kafka.group_id and .redrive if left out.",
        ),
    ] = None,
    batch: Annotated[int, typer.Option(metavar="N", help="Dead letters in one transaction.", min=1, max=10_000)] = 500,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what would be sent; send nothing.")] = False,
    config: ConfigFile = None,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Send dead letters back to the input topic.

    Each goes back once, whatever is killed: what has gone is kept in a group of its own, in the transaction that
    writes it. The same command goes on after an interruption. What fails again becomes a new dead letter, with its
    earlier cause in the header enricher-redrive-cause, and counts in enricher-redrives.

    Exit code 1 when some that were chosen cannot go back; those of --max-redrives do not count as such.
    """
    settings = load_settings_or_exit(config, overrides, as_json=as_json).settings
    topic = topic or settings.output.dead_letter_topic
    chosen = [stages, causes, keys, start, end]
    if not (list_only or everything or any(chosen) or limit is not None):
        _refuse(
            "say which: --stage, --cause, --key, --from, --to or --limit, or --all; --list shows what there is",
            as_json=as_json,
        )
    if everything and any(chosen):
        _refuse("--all and a choice exclude each other", as_json=as_json)
    if to_topic == topic:
        _refuse(f"--to-topic {to_topic} is the topic that is read: the dead letters would go round", as_json=as_json)

    from enricher.cli.redriving import Terms  # noqa: PLC0415  `--help` does without these

    try:
        selection = _selection(topic, stages, causes, keys, start, end)
    except ValueError as error:
        _refuse(str(error), as_json=as_json)
    terms = Terms(selection, {}, to_topic, None if list_only else limit, max_redrives, batch)
    group = group or f"{settings.kafka.group_id}.redrive"
    outcome = _run(settings, topic, group, terms, only_look=list_only or dry_run, as_json=as_json)
    if as_json:
        _print_json(outcome, topic, group, kinds=list_only, dry_run=dry_run)
    else:
        from enricher.cli.redrive_report import print_kinds, print_outcome  # noqa: PLC0415

        if list_only or dry_run:
            print_kinds(outcome, topic)
        if not list_only:
            print_outcome(outcome, max_redrives, dry_run=dry_run)
    if not list_only and outcome.left.total() > outcome.left["max-redrives"]:
        raise typer.Exit(FAILED)


def _selection(
    topic: str,
    stages: list[str] | None,
    causes: list[str] | None,
    keys: list[str] | None,
    start: str | None,
    end: str | None,
) -> "Selection":
    from enricher.redrive.selection import selection  # noqa: PLC0415

    since, starts = _bound(topic, start, "--from")
    until, ends = _bound(topic, end, "--to")
    if since is not None and until is not None and since >= until:
        raise ValueError(f"--from {start} is not before --to {end}")
    return selection(stages or (), causes or (), keys or (), since=since, until=until, starts=starts, ends=ends)


def _bound(topic: str, text: str | None, option: str) -> tuple[int | None, dict[int, int] | None]:
    """A time in milliseconds, or offsets by partition."""
    from enricher.cli.ranges import Edge, parse_point  # noqa: PLC0415

    if text is None:
        return None, None
    point: Point = parse_point(text, time.time_ns() // 1_000_000)
    if isinstance(point, int):
        return point, None
    if isinstance(point, tuple):
        return None, {at.partition: at.offset for at in point if at.topic in (None, topic)}
    if (option, point) in {("--from", Edge.BEGINNING), ("--to", Edge.END)}:
        return None, None
    raise ValueError(f"{option} {text}: write a time such as 2026-01-31T12:00Z, or offsets such as 0@1500,3@99")


def _run(settings: "Settings", topic: str, group: str, terms: "Terms", *, only_look: bool, as_json: bool) -> "Outcome":
    """Read, and send; every error is told here."""
    import signal  # noqa: PLC0415
    from dataclasses import replace  # noqa: PLC0415

    from confluent_kafka import KafkaException  # noqa: PLC0415

    from enricher.cli.reading import TopicMissing, TopicReader  # noqa: PLC0415
    from enricher.cli.redrive_transactions import Progress, TakenOver, Writer  # noqa: PLC0415
    from enricher.cli.redriving import Redrive  # noqa: PLC0415
    from enricher.kafka import explain  # noqa: PLC0415
    from enricher.redrive.done import TooManyGaps  # noqa: PLC0415

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    kafka = settings.kafka.client_properties()
    brokers = kafka["bootstrap.servers"]
    writer = run = None
    again = "what went back is kept, and the same command goes on with the rest"
    try:
        targets = {}
        for name in [terms.to_topic] if terms.to_topic else settings.input.topics:
            with TopicReader(kafka, name) as target:
                targets[name] = len(target.partitions)
        with TopicReader(kafka, topic) as reader, Progress(kafka, group) as progress:
            if not only_look:
                writer = Writer(settings.kafka.producer_properties(), f"enricher-redrive-{group}-{topic}")
            run = Redrive(reader, progress, replace(terms, targets=targets), writer, _Teller())
            outcome = run.run()
    except TopicMissing as error:
        _refuse(f"{error} in {brokers}", as_json=as_json)
    except TakenOver:
        _refuse(f"another redrive of the group {group} has begun, and goes on instead", FAILED, as_json=as_json)
    except TooManyGaps:
        _refuse(
            "the dead letters that were left lie too scattered between those that went back for the progress to hold; "
            f"{again}: choose older ones first, or give a --group of its own to a choice of its own",
            FAILED,
            as_json=as_json,
        )
    except KafkaException as error:
        _refuse(f"{brokers}: {explain(error.args[0])}; {again}", FAILED, as_json=as_json)
    except KeyboardInterrupt:
        if writer is not None:
            writer.abort()
        sent = 0 if run is None else run.outcome.sent
        _refuse(f"stopped early, after {sent:,} dead letters; {again}", FAILED, as_json=as_json)
    return outcome


def _refuse(message: str, code: int = MISUSED, *, as_json: bool) -> NoReturn:
    if as_json:
        import json  # noqa: PLC0415

        typer.echo(json.dumps({"error": message}))
    else:
        typer.echo(f"enricher redrive: {message}", err=True)
    raise typer.Exit(code)


class _Teller:
    """A line on standard error every few seconds."""

    EVERY = 5.0

    def __init__(self) -> None:
        self._told = time.monotonic()

    def __call__(self, outcome: "Outcome") -> None:
        now = time.monotonic()
        if now - self._told >= self.EVERY:
            self._told = now
            print(f"{outcome.read:,} dead letters read, {outcome.sent:,} went back", file=sys.stderr)  # noqa: T201


def _print_json(outcome: "Outcome", topic: str, group: str, *, kinds: bool, dry_run: bool) -> None:
    from dataclasses import asdict  # noqa: PLC0415

    import msgspec  # noqa: PLC0415

    found = [asdict(kind) for kind in outcome.kinds.ordered()]
    result = {
        "topic": topic,
        "group": group,
        "read": outcome.read,
        **({} if kinds else {"dry_run": dry_run, "sent": outcome.sent, "left": dict(outcome.left)}),
        "kinds": found,
    }
    typer.echo(msgspec.json.encode(result).decode())
