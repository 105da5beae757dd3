"""What ``enricher schema`` takes for a schema: one of ours by its name, a released version of it, or a file."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import typer

from enricher.cli.options import MISUSED

if TYPE_CHECKING:
    from enricher.avroschema import AvroType
    from enricher.schemas import Schema


class Named(NamedTuple):
    """A schema, and how it was named."""

    label: str
    raw: Any
    type: "AvroType"


def find(name: str, *, as_json: bool, or_else: str = "") -> "Schema":
    """One of ours: NAME, or NAME@VERSION. ``or_else`` tells what else could have been named.

    Raises:
        typer.Exit: there is none of that name; it has been said.
    """
    from enricher.schemas import RELEASED, SCHEMAS  # noqa: PLC0415  fastavro is slow to import

    plain, at, version = name.removeprefix("enricher.").partition("@")
    schema = SCHEMAS.get(plain)
    if schema is None:
        known = [*SCHEMAS]
        details: dict[str, Any] = {"error": "unknown-schema", "name": name, "known": known}
        _exit(f"there is no schema {name}; there are {', '.join(known)}{or_else}", details, as_json=as_json)
    if not at:
        return schema
    for released in RELEASED[plain]:
        if str(released.version) == version:
            return released
    versions = [released.version for released in RELEASED[plain]]
    details = {"error": "unknown-version", "name": name, "known": versions}
    message = f"{plain} has no version {version}; there are {', '.join(map(str, versions))}"
    return _exit(message, details, as_json=as_json)


def read_file(path: Path, *, as_json: bool) -> Named:
    """The schema in a file.

    Raises:
        typer.Exit: the file cannot be read, or holds no schema; it has been said.
    """
    from enricher.avroschema import InvalidSchema, parse  # noqa: PLC0415

    try:
        raw = json.loads(path.read_text("utf-8"))
        return Named(str(path), raw, parse(raw))
    except OSError as error:
        message, kind = f"{path} cannot be read: {error.strerror}", "unreadable-file"
    except InvalidSchema as error:
        message, kind = f"{path} holds no Avro schema: {error}", "invalid-schema"
    except ValueError as error:
        message, kind = f"{path} holds no JSON: {error}", "invalid-json"
    return _exit(message, {"error": kind, "file": str(path), "message": message}, as_json=as_json)


def find_or_read(name: str, *, as_json: bool) -> Named:
    """One of ours, or the one in a file of that name."""
    if Path(name).is_file():
        return read_file(Path(name), as_json=as_json)
    from enricher.avroschema import parse  # noqa: PLC0415

    schema = find(name, as_json=as_json, or_else=", and no file of that name either")
    return Named(name if "@" in name else f"{schema.name} (current)", schema.raw, parse(schema.raw))


def derive(name: str, references: Iterable[Any] = (), raw: Any = None, *, as_json: bool) -> Named:
    """What is derived of one of ours, of the schema in a file, or of a registry's.

    Args:
        name: of it.
        references: schemas that it refers to.
        raw: the registry's; found by the name if left out.
        as_json: how to tell what is wrong.

    Raises:
        typer.Exit: there is no such schema, or nothing can be derived of it; it has been said.
    """
    from enricher.avroschema import InvalidSchema, parse  # noqa: PLC0415
    from enricher.avroschema.derived import NotDerivable  # noqa: PLC0415
    from enricher.avroschema.derived import derive as derived_of  # noqa: PLC0415

    given = find_or_read(name, as_json=as_json).raw if raw is None else raw
    try:
        made = derived_of(given, references)
    except (InvalidSchema, NotDerivable) as error:
        message = f"the offer history cannot be added to {name}: {error}"
        return _exit(message, {"error": "not-derivable", "name": name, "message": message}, as_json=as_json)
    return Named(f"{name} (derived)", made, parse(made))


def _exit(message: str, details: dict[str, Any], *, as_json: bool) -> NoReturn:
    if as_json:
        typer.echo(json.dumps(details))
    else:
        typer.echo(f"enricher schema: {message}", err=True)
    raise typer.Exit(MISUSED)
