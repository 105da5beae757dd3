"""Tells the encoding of a record's value and has it read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from enricher.codec.avro_input import AvroReader
from enricher.codec.framing import SCHEMA_ID_HEADER
from enricher.codec.json_input import JsonReader
from enricher.codec.writer_schemas import WriterSchemas
from enricher.model import Event, Record, Rejected, Stage

Reader: TypeAlias = Callable[[bytes, Record], Event]

_CONFLUENT = 0x00
_SINGLE_OBJECT = 0xC3


@dataclass(frozen=True, slots=True)
class InputFields:
    """Where the fields that matter stand in an event that is no ``CustomerContact``: dotted paths."""

    event_id: str = "eventId"
    customer_id: str = "customerId"
    event_time: str = "contactTime"


class Decoder:
    """Reads events.

    Args:
        fields: where the fields that matter stand.
        encoding: ``auto`` tells it by the first bytes; ``json`` and ``avro`` refuse the other.
        max_bytes: a larger value is rejected without being read.
        schemas: by fingerprint, the Avro schemas, as JSON, of single objects that may come besides our own.
        registry: the schemas that ids stand for; None where there is no schema registry.

    Raises:
        ValueError: the fields do not stand apart.
    """

    def __init__(
        self,
        fields: InputFields | None = None,
        encoding: Literal["auto", "json", "avro"] = "auto",
        max_bytes: int = 1 << 20,
        *,
        schemas: Mapping[bytes, Any] | None = None,
        registry: WriterSchemas | None = None,
    ) -> None:
        paths = fields or InputFields()
        self._json = JsonReader(paths.event_id, paths.customer_id, paths.event_time)
        self._avro = AvroReader(self._json, schemas or {}, registry)
        self._headed = registry is not None and encoding != "json"
        self._max_bytes = max_bytes
        self._readers: dict[int, Reader] = {}
        if encoding != "avro":
            self._readers |= dict.fromkeys(JsonReader.BEGINNINGS, self._json.read)
        if encoding != "json":
            self._readers |= {_CONFLUENT: self._avro.read_prefixed, _SINGLE_OBJECT: self._avro.read_single_object}
        self._why_headers_say_nothing = f"the record has the header {SCHEMA_ID_HEADER}, but " + (
            "input.format is json"
            if encoding == "json"
            else "there is no schema registry to ask: set schema_registry.url"
        )
        self._expected = {"auto": "JSON or Avro", "json": "JSON", "avro": "Avro"}[encoding]

    def decode(self, record: Record) -> Event:
        """The event in a record's value.

        Raises:
            Rejected: at stage decode, with what is wrong.
            SchemaNeeded: the registry has to be asked for a schema first; only where there is one.
        """
        value = record.value
        if not value:
            kind = "null (a tombstone)" if value is None else "empty"
            raise Rejected(Stage.DECODE, "EmptyValue", f"the record's value is {kind}; an event was expected")
        if len(value) > self._max_bytes:
            raise Rejected(
                Stage.DECODE,
                "TooLarge",
                f"the value has {len(value):,} bytes, and input.max_record allows {self._max_bytes:,}",
            )
        if self._headed and record.headers:
            for name, schema_id in record.headers:
                if name == SCHEMA_ID_HEADER:
                    return self._avro.read_by_header(schema_id, value, record)
        reader = self._readers.get(value[0])
        if reader is None:
            headed = any(name == SCHEMA_ID_HEADER for name, _ in record.headers)
            raise Rejected(
                Stage.DECODE,
                "UnknownEncoding",
                f"the value begins with the byte {value[0]:02x}, which no {self._expected} event does"
                + (f"; {self._why_headers_say_nothing}" if headed else ""),
            )
        return reader(value, record)
