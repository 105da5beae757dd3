"""The Avro schemas, from the files in ``avro/``: the only source of what is read and written.

Every version that was released is kept in ``avro/history/NAME/VERSION.avsc``, and what changed in ``CHANGES.md`` beside
it; the current file and the newest version differ in nothing but descriptions.

Invariants: they are loaded once, when this is imported; a schema's fingerprint is CRC-64-AVRO of its Parsing Canonical
Form (https://avro.apache.org/docs/1.12.0/specification/#schema-fingerprints), as single-object encoding wants it.
"""

import json
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import fastavro
from fastavro.schema import fingerprint, to_parsing_canonical_form

NAMES = ("CustomerContact", "EnrichedContact")


@dataclass(frozen=True, slots=True)
class Schema:
    """One schema.

    Attributes:
        name: without the namespace.
        version: of the newest release, or of this one.
        text: the file.
        raw: the file's JSON.
        parsed: as fastavro wants it for reading and writing.
        canonical: its Parsing Canonical Form, which leaves out what does not change the bytes.
        fingerprint: 8 bytes, little-endian.
    """

    name: str
    version: int
    text: str
    raw: dict[str, Any]
    parsed: Any
    canonical: str
    fingerprint: bytes


def _folder() -> Traversable:
    """``enricher/avro`` in an installed package, ``avro`` beside the package in a checkout."""
    packaged = files("enricher") / "avro"
    return packaged if packaged.is_dir() else Path(__file__).parent.parent / "avro"


def schema_of(text: str, name: str, version: int) -> Schema:
    """A schema from its file."""
    raw = json.loads(text)
    canonical = to_parsing_canonical_form(raw)
    crc = bytes.fromhex(fingerprint(canonical, "CRC-64-AVRO"))
    return Schema(name, version, text, raw, fastavro.parse_schema(raw), canonical, crc)


def _load(name: str) -> Schema:
    return schema_of((_folder() / f"{name}.avsc").read_text("utf-8"), name, RELEASED[name][-1].version)


def _load_released(name: str) -> tuple[Schema, ...]:
    """Every version, the oldest first."""
    found = [file for file in (_folder() / "history" / name).iterdir() if file.name.endswith(".avsc")]
    versions = sorted((int(file.name.removesuffix(".avsc")), file) for file in found)
    return tuple(schema_of(file.read_text("utf-8"), name, version) for version, file in versions)


def changes(name: str) -> str:
    """The change log of a schema, in Markdown."""
    return (_folder() / "history" / name / "CHANGES.md").read_text("utf-8")


RELEASED = {name: _load_released(name) for name in NAMES}
"""Every released version of each schema, the oldest first."""

SCHEMAS = {name: _load(name) for name in NAMES}
CUSTOMER_CONTACT = SCHEMAS["CustomerContact"]
ENRICHED_CONTACT = SCHEMAS["EnrichedContact"]
