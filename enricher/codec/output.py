"""Writes enriched events in Avro's single-object encoding, and reads them again.

See https://avro.apache.org/docs/1.12.0/specification/#single-object-encoding.
"""

from io import BytesIO
from typing import Any

import fastavro
import msgspec

from enricher.codec.avro_input import HEADER, MARKER, without_logical_types
from enricher.model import Enriched, Rejected, Stage
from enricher.schemas import ENRICHED_CONTACT

_PLAIN = fastavro.parse_schema(without_logical_types(ENRICHED_CONTACT.raw))
_PREFIX = MARKER + ENRICHED_CONTACT.fingerprint


class UndecodableOutput(ValueError):  # noqa: N818  says what it is
    """The bytes are no enriched event."""


class Encoder:
    """Writes enriched events."""

    def encode(self, enriched: Enriched) -> bytes:
        """The bytes of an enriched event.

        Raises:
            Rejected: at stage encode; a value does not fit its type.
        """
        stream = BytesIO()
        stream.write(_PREFIX)
        try:
            fastavro.schemaless_writer(stream, _PLAIN, msgspec.to_builtins(enriched))
        except (ValueError, TypeError, OverflowError) as error:
            raise Rejected(
                Stage.ENCODE, "NotEncodable", f"a value does not fit the output's schema ({type(error).__name__})"
            ) from error
        return stream.getvalue()


def decode_enriched(data: bytes) -> Enriched:
    """The enriched event in bytes that ``Encoder`` wrote.

    Raises:
        UndecodableOutput: it is none.
    """
    if not data.startswith(MARKER):
        raise UndecodableOutput("it does not begin with c3 01, as an Avro single object does")
    if not data.startswith(_PREFIX):
        raise UndecodableOutput(f"its schema has the unknown fingerprint {data[2:HEADER].hex()}")
    stream = BytesIO(data)
    stream.seek(HEADER)
    try:
        fields: Any = fastavro.schemaless_reader(stream, _PLAIN, None)
        enriched = msgspec.convert(fields, Enriched)
    except Exception as error:
        raise UndecodableOutput(f"its Avro body cannot be read ({type(error).__name__})") from error
    if stream.tell() != len(data):
        raise UndecodableOutput("bytes follow its Avro body")
    return enriched
