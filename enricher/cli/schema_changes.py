"""``enricher schema check`` and ``diff``: what a change does to those who read and write with another version.

Invariant: both follow the rules that the tests hold our own schemas to (``enricher.avroschema``).
"""

import json
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from enricher.cli.options import FOUND_WRONG, Json
from enricher.cli.schema_lines import print_lines
from enricher.cli.schema_refs import Named, find_or_read, read_file

if TYPE_CHECKING:
    from enricher.avroschema import Break


def check(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Versions of one schema, the oldest first.")],
    *,
    as_json: Json = False,
) -> None:
    """Check that every version of a schema reads what every other writes (FULL_TRANSITIVE).

    A file whose record is one of ours (such as enricher.EnrichedContact) is also held against all versions of it that
    were released. What is wrong is told with who is hit by it and what to do; exit code 3 then. What is new and will
    stand in the way of later versions is told as a note.
    """
    from enricher.avroschema.advice import advice  # noqa: PLC0415  `--help` does without these
    from enricher.avroschema.evolution import breaks  # noqa: PLC0415

    given = [read_file(file, as_json=as_json) for file in files]
    versions = [*_released_of(given[-1]), *given]
    found = [
        broken
        for (old, new) in combinations(versions, 2)
        for broken in breaks(new.type, new.label, old.type, old.label)
    ]
    old_notes = advice(versions[0].type) if len(versions) > 1 else []
    notes = [note for note in advice(versions[-1].type) if note not in old_notes]
    if as_json:
        document = {
            "ok": not found,
            "versions": [version.label for version in versions],
            "breaks": [_to_json(broken) for broken in found],
            "notes": notes,
        }
        typer.echo(json.dumps(document))
    else:
        names = ", ".join(version.label for version in versions)
        verdict = f"{'not compatible' if found else 'compatible'}: {names}"
        lines = [*(f"wrong  {broken.words}" for broken in found), *(f"note   {note}" for note in notes)]
        print_lines([*lines, verdict], " " * len("wrong  "))
    if found:
        raise typer.Exit(FOUND_WRONG)


def diff(
    old: Annotated[str, typer.Argument(metavar="OLD", help="A schema: NAME, NAME@VERSION or a file.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="Another version of it, likewise.")],
    *,
    as_json: Json = False,
) -> None:
    """Tell what was changed between two versions of a schema, and what that breaks for whom."""
    from enricher.avroschema.evolution import breaks, differences  # noqa: PLC0415  `--help` does without these

    before, after = find_or_read(old, as_json=as_json), find_or_read(new, as_json=as_json)
    changed = differences(before.type, after.type)
    broken = breaks(after.type, after.label, before.type, before.label)
    if as_json:
        typer.echo(json.dumps({"differences": changed, "breaks": [_to_json(each) for each in broken]}))
        return
    lines = [*(f"changed  {line}" for line in changed), *(f"breaks   {each.words}" for each in broken)]
    if not broken:
        same = "nothing was changed; " if not changed else ""
        lines.append(f"{same}each version reads what the other writes")
    print_lines(lines, " " * len("changed  "))


def _released_of(schema: Named) -> list[Named]:
    """The released versions of the schema of that name, if it is one of ours."""
    from enricher.avroschema.types import parse  # noqa: PLC0415
    from enricher.schemas import RELEASED  # noqa: PLC0415  fastavro is slow to import

    space, _, name = schema.type.name.rpartition(".")
    released = RELEASED.get(name, ()) if space == "enricher" else ()
    return [Named(f"{name}@{one.version}", one.raw, parse(one.raw)) for one in released]


def _to_json(broken: "Break") -> dict[str, Any]:
    violation = broken.violation
    return {
        "path": violation.path,
        "rule": violation.rule,
        "reader": broken.reader,
        "writer": broken.writer,
        "message": broken.words,
    }
