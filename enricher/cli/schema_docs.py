"""The page ``docs/schemas.md``: every schema, its versions, fields and changes, made of the schemas themselves."""

from typing import TYPE_CHECKING

from enricher.cli.schema_fields import fields

if TYPE_CHECKING:
    from enricher.schemas import Schema

_INTRODUCTION = """\
# Schemas

<!-- Made by `enricher schema list --docs`; change avro/*.avsc and avro/history/*/CHANGES.md, not this page. -->

What the worker reads and writes, in Avro. The files are in `avro/`, in the installed package, and printed by
`enricher schema show NAME`.

Each version that was released is kept (`enricher schema show NAME@VERSION`), and every version reads what every other
writes (FULL_TRANSITIVE): readers and writers may be upgraded in any order. So a new field has a default, a field
without a default stays, no type is changed, and no symbol is added to an enum that has no default.
`enricher schema check FILE...` holds any schema to these rules, and `enricher schema diff OLD NEW` tells in words what
was changed and what that breaks for whom.

The fingerprint (CRC-64-AVRO) is shown as its 8 bytes stand in a record's value, behind the marker `c3 01`.
"""


def markdown() -> str:
    """The page."""
    from enricher.schemas import SCHEMAS  # noqa: PLC0415  fastavro is slow to import

    return _INTRODUCTION + "".join(_section(schema) for schema in SCHEMAS.values())


def _section(schema: "Schema") -> str:
    from enricher.schemas import RELEASED, changes  # noqa: PLC0415

    parts = [f"\n## {schema.name}\n\n{schema.raw['doc']}\n\n| version | fingerprint |\n|---|---|\n"]
    parts += [f"| {one.version} | `{one.fingerprint.hex()}` |\n" for one in RELEASED[schema.name]]
    parts.append("\n| field | type | default | meaning |\n|---|---|---|---|\n")
    for field in fields(schema.raw):
        default = "" if field.default is None else f"`{field.default}`"
        parts.append(f"| `{field.path}` | {field.type} | {default} | {field.doc} |\n")
    _, _, log = changes(schema.name).partition("\n## ")
    headings = f"\n## {log}".replace("\n## ", f"\n#### {schema.name} ")
    parts.append(f"\n### Changes of {schema.name}\n{headings}")
    return "".join(parts)
