"""``enricher schema``: the Avro schemas of what is read and written, for people and for programs.

On a terminal, tables; without one, a line each, in columns, so that it can be searched.
"""

import json
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from enricher.cli.options import Json
from enricher.cli.schema_changes import check, diff
from enricher.cli.schema_fields import Field, fields
from enricher.cli.schema_publish import publish
from enricher.cli.schema_refs import derive, find

app = typer.Typer(
    no_args_is_help=True,
    help="The Avro schemas of what is read and what is written: show, compare, check, publish them.",
    epilog="Example: enricher schema describe EnrichedContact",
)

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="A schema, as enricher schema list names it, or NAME@VERSION.")
]

app.command(epilog="Example: enricher schema check EnrichedContact.v1.avsc EnrichedContact.v2.avsc")(check)
app.command(epilog="Example: enricher schema diff EnrichedContact@1 EnrichedContact")(diff)
app.command(epilog="Example: enricher schema publish CustomerContact --subject contacts-value --config enricher.yaml")(
    publish
)


@app.command("list", epilog="Example: enricher schema list")
def list_schemas(
    *,
    docs: Annotated[bool, typer.Option("--docs", help="Print docs/schemas.md.")] = False,
    as_json: Json = False,
) -> None:
    """List the schemas, with their newest released versions and fingerprints.

    A fingerprint (CRC-64-AVRO) is shown as its 8 bytes stand in a record's value, behind the marker c3 01.
    """
    if docs:
        from enricher.cli.schema_docs import markdown  # noqa: PLC0415

        typer.echo(markdown(), nl=False)
        return
    from enricher.schemas import SCHEMAS  # noqa: PLC0415  fastavro is slow to import

    rows = [(s.name, s.version, len(list(fields(s.raw))), s.fingerprint.hex(), s.raw["doc"]) for s in SCHEMAS.values()]
    if as_json:
        names = ("name", "version", "fields", "fingerprint", "doc")
        typer.echo(json.dumps([dict(zip(names, row, strict=True)) for row in rows], indent=2))
    else:
        _print(("Name", "Version", "Fields", "Fingerprint", ""), [tuple(map(str, row)) for row in rows])


@app.command(epilog="Example: enricher schema show EnrichedContact > EnrichedContact.avsc")
def show(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A schema of enricher schema list, or NAME@VERSION; see --derived.")
    ],
    *,
    derived: Annotated[
        bool,
        typer.Option(
            "--derived",
            help="Print what outputs have under output.schema: derived, if NAME, or the file NAME, is the input's.",
        ),
    ] = False,
    json_schema: Annotated[
        bool, typer.Option("--json-schema", help="Print the JSON Schema of what output.format: json writes instead.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Print a schema as it is in its file. With --json, on one line."""
    if derived:
        raw = derive(name, as_json=as_json).raw
        typer.echo(json.dumps(raw) if as_json else json.dumps(raw, indent=2, ensure_ascii=False))
        return
    schema = find(name, as_json=as_json)
    if json_schema:
        from enricher.cli import schema_json  # noqa: PLC0415  as fastavro

        typer.echo(json.dumps(schema_json.json_schema(schema), indent=None if as_json else 2))
    else:
        typer.echo(json.dumps(schema.raw) if as_json else schema.text.rstrip("\n"))


@app.command(epilog="Example: enricher schema describe EnrichedContact")
def describe(name: Name, *, as_json: Json = False) -> None:
    """Explain each field of a schema.

    Those of records within it, too: its path from the top, its type, its default, and what it means.
    """
    schema = find(name, as_json=as_json)
    described = list(fields(schema.raw))
    if as_json:
        document = {
            "name": schema.name,
            "doc": schema.raw["doc"],
            "fingerprint": schema.fingerprint.hex(),
            "fields": [field.to_json() for field in described],
        }
        typer.echo(json.dumps(document, indent=2))
    elif sys.stdout.isatty():
        _print_records(schema.raw["doc"], described)
    else:
        _print_lines([(field.path, field.type, _default(field), field.doc) for field in described])


def _default(field: Field) -> str:
    return field.default or "-"


def _print(header: Sequence[str], rows: Sequence[tuple[str, ...]]) -> None:
    """A table on a terminal, lines without one."""
    if not sys.stdout.isatty():
        _print_lines(rows)
        return
    from rich.console import Console  # noqa: PLC0415  only a terminal needs it

    Console().print(_table(header, rows, wrapped=1))


def _print_lines(rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)][:-1]
    for *cells, last in rows:
        start = "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True))
        typer.echo(f"{start}  {last}")


def _print_records(doc: str, described: Sequence[Field]) -> None:
    """A table for each record: the fields of a nested one would push each other off a narrow terminal."""
    from rich.console import Console  # noqa: PLC0415  only a terminal needs it
    from rich.text import Text  # noqa: PLC0415

    console = Console(highlight=False)
    console.print(Text(doc))
    for parent, record in dict.fromkeys((field.parent, field.record) for field in described):
        title = Text("\n")
        title.append(record, style="bold cyan")
        title.append(f"  {parent}" if parent else "", style="dim")
        console.print(title)
        own = [field for field in described if field.parent == parent]
        rows = [(field.name, field.type, _default(field), field.doc) for field in own]
        console.print(_table(("Field", "Type", "Default", ""), rows, wrapped=2))


def _table(header: Sequence[str], rows: Sequence[tuple[str, ...]], *, wrapped: int) -> Any:
    """A table without a frame, whose last column takes what is left.

    Args:
        header: of the columns.
        rows: cells, which may hold brackets.
        wrapped: how many columns, from the right, may wrap.
    """
    from rich.table import Table  # noqa: PLC0415  only a terminal needs it
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for index, name in enumerate(header):
        table.add_column(name, no_wrap=index < len(header) - wrapped)
    for row in rows:
        table.add_row(*map(Text, row))
    return table
