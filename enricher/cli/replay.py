"""``enricher replay``: the same pipeline over a bounded part of the input."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from enricher.cli.options import ConfigFile, Json, Overrides, load_settings_or_exit, refuse

if TYPE_CHECKING:
    from enricher.cli.replay_request import Request

Moment = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="POINT",
        help="First of the range: a time (2026-11-01T00:00Z, '2h ago'), beginning, committed, or offsets (0@1500).",
    ),
]

EXAMPLES = """\b
Examples:
  # what a day comes to, then the day itself, gently and as of the events
  enricher replay --config enricher.yaml --from 2026-11-01T00:00Z \\
      --to 2026-11-02T00:00Z --dry-run
  enricher replay --config enricher.yaml --from 2026-11-01T00:00Z \\
      --to 2026-11-02T00:00Z --name outage --as-of event --rate 200
  # go on after an interruption
  enricher replay --config enricher.yaml --resume outage
  # some customers, to another topic
  enricher replay --config enricher.yaml --from "2h ago" \\
      --customers ids.txt --to-topic enriched-again
  # what a changed service would change; nothing is published
  enricher replay --config enricher.yaml --from "1d ago" --compare \\
      --set service.url=https://staging.example/history
"""


def replay(
    *,
    start: Moment = None,
    end: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="POINT",
            help="End of the range, which does not belong to it: likewise, or end (what is there now; the default).",
        ),
    ] = None,
    partitions: Annotated[
        list[int] | None, typer.Option("--partition", metavar="N", help="Only this partition. May be repeated.", min=0)
    ] = None,
    topics: Annotated[
        list[str] | None,
        typer.Option("--topic", metavar="TOPIC", help="Only this one of input.topics. May be repeated."),
    ] = None,
    customers: Annotated[
        list[str] | None, typer.Option("--customer", metavar="ID", help="Only this customer. May be repeated.")
    ] = None,
    customers_file: Annotated[
        str | None, typer.Option("--customers", metavar="FILE", help="Only these customers, an id a line; - for stdin.")
    ] = None,
    where: Annotated[
        str | None,
        typer.Option(
            metavar="EXPR", help="Only events that pass, such as \"channel = 'Web' and attributes.queue > 2\"."
        ),
    ] = None,
    to_topic: Annotated[
        str | None, typer.Option("--to-topic", metavar="TOPIC", help="Publish there instead of in output.topic.")
    ] = None,
    as_of: Annotated[
        str | None,
        typer.Option("--as-of", metavar="now|event", help="Histories as of now, or of the event: history.as_of."),
    ] = None,
    rate: Annotated[
        float | None, typer.Option("--rate", metavar="N", help="At most N requests a second to the service.")
    ] = None,
    max_in_flight: Annotated[
        int | None, typer.Option("--max-in-flight", metavar="N", help="Cap on look-ups in flight.", min=1)
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            "--name", metavar="NAME", help="Name of the replay. Processes that are given the same one share the work."
        ),
    ] = None,
    resume: Annotated[
        str | None, typer.Option("--resume", metavar="NAME", help="Go on with a replay that was interrupted.")
    ] = None,
    parallel: Annotated[
        int, typer.Option("--parallel", metavar="N", help="Work with N processes, which share the caps.", min=1)
    ] = 1,
    max_disorder: Annotated[
        str | None,
        typer.Option(
            "--max-disorder",
            metavar="DURATION",
            help="By how much record timestamps may be out of order at most. It spares the scan behind --to.",
        ),
    ] = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Replay what is left of a range that was deleted in part.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show ranges, counts, estimated calls and duration; do nothing.")
    ] = False,
    compare: Annotated[
        bool, typer.Option("--compare", help="Publish nothing; tell what would change of what is published.")
    ] = False,
    examples: Annotated[
        int, typer.Option(metavar="N", help="With --compare, examples of each kind of change.", min=0)
    ] = 3,
    worker: Annotated[bool, typer.Option("--worker", hidden=True)] = False,
    config: ConfigFile = None,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Process a part of the input again: by time, offsets, partitions, customers, fields.

    The same pipeline as the live worker's, in a group of its own: the live group's offsets are not touched. The end of
    the range is fixed when it begins, so it ends while the topic grows. Its progress is committed: an interrupted
    replay goes on with --resume. Outputs are those of the live worker, with a header `enricher-replay` that names it.

    With --compare nothing is published: it tells, field by field, what would change of the outputs that are there.
    Exit codes: 0 complete, or no difference; 1 failed or interrupted; 2 wrong usage; 3 --compare found differences.
    """
    sets = list(overrides or ())
    shares = 1 if worker else parallel
    if as_of is not None:
        sets.append(f"history.as_of={as_of}")
    if rate is not None:
        sets.append(f"service.max_rate={rate / shares:g}")
    if max_in_flight is not None:
        sets.append(f"service.max_in_flight={max(1, max_in_flight // shares)}")
    loaded = load_settings_or_exit(config, sets, as_json=as_json)
    from enricher.cli.replay_request import Request, Usage  # noqa: PLC0415  `--help` does without these

    try:
        request = Request.of(
            start=start,
            end=end,
            partitions=partitions or [],
            topics=topics or [],
            input_topics=loaded.settings.input.topics,
            customers=_from_parent() if worker else _customers(customers or [], customers_file),
            where=where,
            to_topic=to_topic,
            as_of=as_of,
            max_disorder=max_disorder,
            allow_missing=allow_missing,
            name=name,
            resume=resume,
            now=time.time_ns() // 1_000_000,
        )
        _check_modes(request, parallel=parallel, dry_run=dry_run, compare=compare)
    except (Usage, OSError) as error:
        refuse("replay", str(error), as_json=as_json)
    from enricher.cli.replay_command import Command  # noqa: PLC0415

    command = Command(loaded, request, as_json=as_json, config=config, overrides=sets)
    if dry_run:
        code = command.dry_run(rate)
    elif compare:
        code = command.compare(examples)
    elif worker:
        code = command.work()
    else:
        code = command.run(parallel)
    raise typer.Exit(code)


def _customers(listed: list[str], file: str | None) -> "frozenset[str] | None":
    from enricher.replay.selection import parse_customers  # noqa: PLC0415

    if file is None:
        return frozenset(listed) if listed else None
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text("utf-8")
    except OSError as error:
        raise OSError(f"--customers {file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise OSError(f"--customers {file} is no text in UTF-8: give a file with an id a line") from None
    return parse_customers(text) | frozenset(listed)


def _from_parent() -> "frozenset[str] | None":
    """What the process that we work for writes to us first."""
    import json  # noqa: PLC0415

    listed = json.loads(sys.stdin.readline())
    return None if listed is None else frozenset(listed)


def _check_modes(request: "Request", *, parallel: int, dry_run: bool, compare: bool) -> None:
    from enricher.cli.replay_request import Usage  # noqa: PLC0415

    if dry_run and compare:
        raise Usage("--dry-run and --compare exclude each other")
    if compare and (request.resume or request.name or parallel > 1 or request.to_topic):
        raise Usage(
            "--compare publishes and keeps nothing: --resume, --name, --parallel and --to-topic do not go with it"
        )
