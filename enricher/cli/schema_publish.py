"""``enricher schema publish``: registers a schema, once it is known whom that breaks.

Invariant: nothing is registered that one of the subject's versions cannot be read with, or cannot read, unless that is
wanted explicitly; and nothing at all with ``--dry-run``.
"""

import json
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from enricher.cli.options import (
    FAILED,
    FOUND_WRONG,
    MISUSED,
    ConfigFile,
    Json,
    Overrides,
    load_settings_or_exit,
    tell_problems,
)
from enricher.cli.schema_lines import print_lines
from enricher.cli.schema_refs import derive, find

if TYPE_CHECKING:
    from enricher.cli.schema_refs import Named
    from enricher.registry import Registered, RegistryClient, Report

OUTPUT = "EnrichedContact"

_UNNEEDED = {
    "kafka.bootstrap_servers": "unneeded:9092",
    "input.topics": "unneeded-input",
    "service.url": "http://unneeded/",
}
"""What registering a schema does without, so that it takes no whole configuration of a worker."""


def publish(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="A schema of enricher schema list, or NAME@VERSION; see --derived."),
    ] = OUTPUT,
    *,
    derived: Annotated[
        bool,
        typer.Option(
            "--derived",
            help="Register what is derived of the input's schema: NAME is a file, one of ours, or a subject.",
        ),
    ] = False,
    subject: Annotated[
        str | None,
        typer.Option(help="Subject to register it under; by default that of output.topic, by subject_strategy."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what would be done, and register nothing.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Register it though it breaks readers, if the registry's own rules allow.")
    ] = False,
    config: ConfigFile = None,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Register a schema in the schema registry.

    One that is registered already keeps its id. It is held against every version of the subject first: what it breaks
    for whom is told in words, and exit code 3 says that it was not registered. Of the settings it needs those of
    schema_registry, and output.topic unless the subject is given.
    """
    schema = None if derived else find(name, as_json=as_json)
    if schema is not None and subject is None and schema.name != OUTPUT:
        _exit(f"say with --subject where {schema.name} belongs", MISUSED, as_json=as_json)
    unneeded = _UNNEEDED if subject is None else {**_UNNEEDED, "output.topic": "unneeded-output"}
    settings = load_settings_or_exit(config, overrides, as_json=as_json, unneeded=unneeded).settings
    from enricher.cli.registries import open_registry, output_subject  # noqa: PLC0415
    from enricher.config import ConfigError  # noqa: PLC0415
    from enricher.registry import RegistryError  # noqa: PLC0415  `--help` does without these

    try:
        registry = open_registry(settings)
        if registry is None:
            _exit("there is no schema registry: set schema_registry.url", MISUSED, as_json=as_json)
        with closing(registry):
            if schema is None:
                made = _derived(registry, name, as_json=as_json)
                where, text = output_subject(settings, made.type.name), json.dumps(made.raw)
            else:
                where, text = output_subject(settings), schema.text
            _publish(registry, subject or where, text, dry_run=dry_run, force=force, as_json=as_json)
    except ConfigError as error:
        tell_problems(error, as_json=as_json)
        raise typer.Exit(MISUSED) from None
    except RegistryError as error:
        _exit(str(error), FAILED, as_json=as_json)


def _derived(registry: "RegistryClient", name: str, *, as_json: bool) -> "Named":
    """What is derived of a file, of one of ours, or of the newest version of a subject."""
    schema_id = None if Path(name).is_file() else registry.latest(name)
    found = None if schema_id is None else registry.writer_schema(schema_id)
    if found is None:
        return derive(name, as_json=as_json)
    return derive(name, found.references, found.raw, as_json=as_json)


def _publish(registry: "RegistryClient", subject: str, text: str, *, dry_run: bool, force: bool, as_json: bool) -> None:
    from enricher.registry import examine, find, publish  # noqa: PLC0415

    found = find(registry, subject, text)
    if found is not None:
        _tell("registered already", found, as_json=as_json)
        return
    report = examine(registry, subject, text)
    refused = report.accepted is False or (report.breaks and not force)
    if refused or dry_run:
        _tell_report(report, as_json=as_json, dry_run=dry_run)
        if refused:
            raise typer.Exit(FOUND_WRONG)
        return
    _tell("registered", publish(registry, subject, text), as_json=as_json)


def _tell(what: str, found: "Registered", *, as_json: bool) -> None:
    if as_json:
        guid = None if found.guid is None else found.guid.hex()
        document = {"ok": True, "result": what, "subject": found.subject, "id": found.schema_id, "guid": guid}
        typer.echo(json.dumps(document))
    else:
        typer.echo(f"{what}: {found.subject} has the id {found.schema_id}")


def _tell_report(report: "Report", *, as_json: bool, dry_run: bool) -> None:
    ok = report.accepted is not False and not report.breaks
    if as_json:
        document: dict[str, Any] = {
            "ok": ok,
            "result": "dry run" if dry_run else "not registered",
            "subject": report.subject,
            "versions": report.versions,
            "accepted": report.accepted,
            "breaks": [broken.words for broken in report.breaks],
        }
        typer.echo(json.dumps(document))
        return
    print_lines(report.words.splitlines(), "  ")
    if report.accepted is False:
        typer.echo(f"the registry's own rules do not let it follow under {report.subject}")
    typer.echo("it would be registered" if ok else "it is not registered")


def _exit(message: str, code: int, *, as_json: bool) -> NoReturn:
    if as_json:
        typer.echo(json.dumps({"ok": False, "error": message}))
    else:
        typer.echo(f"enricher schema: {message}", err=True)
    raise typer.Exit(code)
