"""The Avro schemas, from the files in ``avro/``: the only source of what is read and written.

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
        text: the file.
        raw: the file's JSON.
        parsed: as fastavro wants it for reading and writing.
        canonical: its Parsing Canonical Form, which leaves out what does not change the bytes.
        fingerprint: 8 bytes, little-endian.
    """

    name: str
    text: str
    raw: dict[str, Any]
    parsed: Any
    canonical: str
    fingerprint: bytes


def _folder() -> Traversable:
    """``enricher/avro`` in an installed package, ``avro`` beside the package in a checkout."""
    packaged = files("enricher") / "avro"
    return packaged if packaged.is_dir() else Path(__file__).parent.parent / "avro"


def _load(name: str) -> Schema:
    text = (_folder() / f"{name}.avsc").read_text("utf-8")
    raw = json.loads(text)
    canonical = to_parsing_canonical_form(raw)
    return Schema(
        name, text, raw, fastavro.parse_schema(raw), canonical, bytes.fromhex(fingerprint(canonical, "CRC-64-AVRO"))
    )


SCHEMAS = {name: _load(name) for name in NAMES}
CUSTOMER_CONTACT = SCHEMAS["CustomerContact"]
ENRICHED_CONTACT = SCHEMAS["EnrichedContact"]
