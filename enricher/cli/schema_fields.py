"""The fields of a schema as a person reads them: path, type in words, default, meaning."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple


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
