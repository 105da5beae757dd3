"""The JSON Schema of what ``output.format: json`` writes, made of the Avro schema, as the values have its names.

Invariant: it holds for every version that is FULL_TRANSITIVE-compatible with this one, as Avro's own does: what has a
default may be missing, what is new may be there, and a symbol of an enum with a default may be one of a later version.
"""

from typing import Any, Final

from enricher.avroschema.types import NO_DEFAULT, AvroField, AvroType, parse
from enricher.schemas import Schema

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_SIMPLE: Final[dict[str, dict[str, Any]]] = {
    "null": {"type": "null"},
    "boolean": {"type": "boolean"},
    "int": {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1},
    "long": {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1},
    "float": {"type": "number"},
    "double": {"type": "number"},
    "string": {"type": "string"},
}


def json_schema(schema: Schema) -> dict[str, Any]:
    """The JSON Schema of a schema's values."""
    record = parse(schema.raw)
    definitions: dict[str, Any] = {}
    root = _type(record, definitions)
    return {
        "$schema": _DIALECT,
        "$id": f"urn:{record.name.replace('.', ':')}:{schema.version}",
        "title": record.short_name,
        **root,
        "$defs": dict(sorted(definitions.items())),
    }


def _type(of: AvroType, definitions: dict[str, Any]) -> dict[str, Any]:
    if of.kind == "union":
        return {"anyOf": [_type(branch, definitions) for branch in of.branches]}
    if of.items is not None:
        items = _type(of.items, definitions)
        return {"type": "array", "items": items} if of.kind == "array" else _map(items)
    if of.name:
        if of.short_name not in definitions:
            definitions[of.short_name] = {}  # a record within itself is told by its name
            definitions[of.short_name] = _record(of, definitions) if of.kind == "record" else _enum(of)
        return {"$ref": f"#/$defs/{of.short_name}"}
    found = _SIMPLE[of.kind]
    return {**found, "description": "Milliseconds since 1970, in UTC."} if of.logical == "timestamp-millis" else found


def _map(values: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": values}


def _record(of: AvroType, definitions: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "description": of.doc,
        "properties": {field.name: _field(field, definitions) for field in of.fields},
        "required": [field.name for field in of.fields if field.default is NO_DEFAULT],
    }


def _field(field: AvroField, definitions: dict[str, Any]) -> dict[str, Any]:
    default = {} if field.default is NO_DEFAULT else {"default": field.default}
    found = _type(field.type, definitions)
    unit = found.get("description", "")
    return {**found, "description": f"{field.doc} {unit}".strip(), **default}


def _enum(of: AvroType) -> dict[str, Any]:
    known: dict[str, Any] = {"enum": list(of.symbols)}
    if of.default is None:
        return {"type": "string", **known}
    later = {"type": "string", "description": f"A later version's; read it as {of.default}."}
    return {"description": of.doc, "anyOf": [known, later]}
