"""``enricher schema``: the Avro schemas of what is read and written, for people and for programs.

On a terminal, tables; without one, a line each, in columns, so that it can be searched.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from enricher.cli.options import MISUSED, Json

if TYPE_CHECKING:
    from enricher.schemas import Schema

app = typer.Typer(
    no_args_is_help=True,
    help="Show the Avro schemas of what is read and what is written.",
    epilog="Example: enricher schema describe EnrichedContact",
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="A schema, as enricher schema list names it.")]


class Field(NamedTuple):
    """A field of a schema, for a person.

    Attributes:
        record: the record that it belongs to.
        parent: the path of that record; empty for the schema's own. An element of a list is ``[]``.
        name: in that record.
        type: in words, such as ``timestamp-millis or null``.
        default: as JSON; None where there is none.
        doc: what it means.
    """

    record: str
    parent: str
    name: str
    type: str
    default: str | None
    doc: str

    @property
    def path(self) -> str:
        """From the schema's own record."""
        return f"{self.parent}.{self.name}" if self.parent else self.name

    def to_json(self) -> dict[str, Any]:
        """For programs; without a default where there is none, as that may be null."""
        default = {} if self.default is None else {"default": json.loads(self.default)}
        return {"path": self.path, "type": self.type, **default, "doc": self.doc}


@app.command("list", epilog="Example: enricher schema list")
def list_schemas(*, as_json: Json = False) -> None:
    """List the schemas, with their fingerprints.

    A fingerprint (CRC-64-AVRO) is shown as its 8 bytes stand in a record's value, behind the marker c3 01.
    """
    from enricher.schemas import SCHEMAS  # noqa: PLC0415  fastavro is slow to import

    rows = [(s.name, len(list(fields(s.raw))), s.fingerprint.hex(), s.raw["doc"]) for s in SCHEMAS.values()]
    if as_json:
        names = ("name", "fields", "fingerprint", "doc")
        typer.echo(json.dumps([dict(zip(names, row, strict=True)) for row in rows], indent=2))
    else:
        _print(("Name", "Fields", "Fingerprint", ""), [tuple(map(str, row)) for row in rows])


@app.command(epilog="Example: enricher schema show EnrichedContact > EnrichedContact.avsc")
def show(name: Name, *, as_json: Json = False) -> None:
    """Print a schema as it is in its file. With --json, on one line."""
    schema = _find(name, as_json=as_json)
    typer.echo(json.dumps(schema.raw) if as_json else schema.text.rstrip("\n"))


@app.command(epilog="Example: enricher schema describe EnrichedContact")
def describe(name: Name, *, as_json: Json = False) -> None:
    """Explain each field of a schema.

    Those of records within it, too: its path from the top, its type, its default, and what it means.
    """
    schema = _find(name, as_json=as_json)
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


def fields(record: dict[str, Any], parent: str = "") -> Iterator[Field]:
    """The fields of a record, in order; those of the records within it follow each one that holds them."""
    for field in record["fields"]:
        default = json.dumps(field["default"]) if "default" in field else None
        yield Field(record["name"], parent, field["name"], _type(field["type"]), default, field["doc"])
        yield from _inner(field["type"], f"{parent}.{field['name']}" if parent else field["name"])


def _inner(of: Any, path: str) -> Iterator[Field]:
    """The fields of the record that a type is or holds, if it is defined there."""
    if isinstance(of, list):
        for branch in of:
            yield from _inner(branch, path)
    elif isinstance(of, dict) and of["type"] == "record":
        yield from fields(of, path)
    elif isinstance(of, dict) and of["type"] in {"array", "map"}:
        yield from _inner(of.get("items", of.get("values")), f"{path}[]")


def _type(of: Any) -> str:
    if isinstance(of, str):
        return of.rpartition(".")[2]
    if isinstance(of, list):
        return " or ".join(_type(branch) for branch in sorted(of, key=lambda branch: branch == "null"))
    if of["type"] in {"array", "map"}:
        return f"{of['type']} of {_type(of.get('items', of.get('values')))}"
    return str(of.get("logicalType") or of.get("name") or of["type"])


def _default(field: Field) -> str:
    return field.default or "-"


def _find(name: str, *, as_json: bool) -> "Schema":
    from enricher.schemas import SCHEMAS  # noqa: PLC0415  fastavro is slow to import

    schema = SCHEMAS.get(name.removeprefix("enricher."))
    if schema is None:
        if as_json:
            typer.echo(json.dumps({"error": "unknown-schema", "name": name, "known": list(SCHEMAS)}))
        else:
            typer.echo(f"enricher schema: there is no schema {name}; there are {', '.join(SCHEMAS)}", err=True)
        raise typer.Exit(MISUSED)
    return schema


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
