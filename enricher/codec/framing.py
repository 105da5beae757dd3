"""How a value tells the schema that it was written with: before its body, or in a header.

Invariant: an input's header that tells the schema of its value never gets to an output, whose value has another one: a
reader would take the header's word for it. One that tells the schema of its key does, as the key is the input's.
"""

from dataclasses import dataclass, field
from typing import Any, Self, TypeAlias

from fastavro.schema import fingerprint, to_parsing_canonical_form

from enricher.model import Headers, Record

MARKER = b"\xc3\x01"
HEADER = 10  # marker and fingerprint
PREFIX = 5  # Confluent's: a zero and the schema's id
SCHEMA_ID_HEADER = "__value_schema_id"
"""The header of a record whose value's schema is not told in the value."""

_GUID = 17  # a one and the 16 bytes of the schema's GUID

SchemaKey: TypeAlias = int | bytes
"""How a schema is called for: by its id, the 16 bytes of its GUID, or, of a single object, the 8 of its fingerprint."""


def words_of(key: SchemaKey) -> str:
    """What calls for a schema, for a person."""
    if isinstance(key, int):
        return f"with the id {key}"
    return f"with the {'GUID' if len(key) == _GUID - 1 else 'fingerprint'} {key.hex()}"


def key_in_header(schema_id: bytes | None) -> SchemaKey | None:
    """What the header ``__value_schema_id`` tells; None if that is no id, nor a GUID."""
    if schema_id is not None and len(schema_id) == _GUID and schema_id[0] == 1:
        return schema_id[1:]
    if schema_id is not None and len(schema_id) == PREFIX and schema_id[0] == 0:
        return int.from_bytes(schema_id[1:], "big")
    return None


def fingerprint_of(raw: Any) -> bytes:
    """The fingerprint of a schema as it stands in a single object."""
    return bytes.fromhex(fingerprint(to_parsing_canonical_form(raw), "CRC-64-AVRO"))


@dataclass(frozen=True, slots=True)
class Framing:
    """What stands around a body.

    Attributes:
        prefix: bytes before it.
        added: headers of its record, besides the input's.
    """

    prefix: bytes = b""
    added: Headers = field(default_factory=list)

    @classmethod
    def single_object(cls, fingerprint: bytes) -> Self:
        """Avro's own: a marker and the schema's fingerprint."""
        return cls(MARKER + fingerprint)

    @classmethod
    def prefixed(cls, schema_id: int) -> Self:
        """Confluent's: a zero, and a registry's id of the schema."""
        return cls(b"\x00" + schema_id.to_bytes(4, "big"))

    @classmethod
    def headed(cls, guid: bytes) -> Self:
        """Confluent's other one: a registry's GUID of the schema in a header."""
        return cls(b"", [(SCHEMA_ID_HEADER, b"\x01" + guid)])

    def headers(self, record: Record) -> Headers:
        """The headers of an output: the input's, but for the one that tells of its value, and those that are added."""
        headers = record.headers
        for name, _ in headers:
            if name == SCHEMA_ID_HEADER:
                headers = [header for header in headers if header[0] != SCHEMA_ID_HEADER]
                break
        return [*headers, *self.added] if self.added else headers
