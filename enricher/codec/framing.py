"""How an output tells its schema: before the body, or in a header.

Invariant: an input's header that tells the schema of its value never gets to an output, whose value has another one: a
reader would take the header's word for it. One that tells the schema of its key does, as the key is the input's.
"""

from dataclasses import dataclass, field
from typing import Self

from enricher.codec.avro_input import MARKER, SCHEMA_ID_HEADER
from enricher.model import Headers, Record


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
