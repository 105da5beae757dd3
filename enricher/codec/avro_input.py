"""Reads events from Avro, in any framing: single objects, Confluent's prefix, and ids in a header.

What is written with our own ``CustomerContact`` is read by fastavro. Any other schema, from ``schemas.path`` or a
registry, is read by ``enricher.avroschema.values`` and then as the same event in JSON would be: so paths, times, ids
and unknown fields mean the same in both. A record that is called ``enricher.CustomerContact``, of whatever version, has
its fields where ours has them; in any other they stand where ``input.fields`` says.

Invariant: a value is read whole or rejected, what stands behind it included, in memory that is bounded by its length.
Each element of the contact's only collection, the map of attributes, takes at least two bytes, so a hostile block
count ends at the end of the value rather than in memory.
"""

from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any, Final, NoReturn, TypeAlias

import fastavro
import msgspec

from enricher.avroschema import AvroField, AvroType, InvalidSchema, parse, unreadable
from enricher.avroschema.values import Body, InvalidBody, reader
from enricher.codec.attributes import merge
from enricher.codec.framing import (
    HEADER,
    MARKER,
    PREFIX,
    SCHEMA_ID_HEADER,
    SchemaKey,
    fingerprint_of,
    key_in_header,
    words_of,
)
from enricher.codec.json_input import JsonReader, checked_time
from enricher.codec.writer_schemas import WriterSchema, WriterSchemas
from enricher.model import Event, Record, Rejected, Stage
from enricher.schemas import CUSTOMER_CONTACT, RELEASED

ReadFrom: TypeAlias = Callable[[bytes, int, Record], Event]
"""Reads the event whose body begins at an offset."""


def without_logical_types(schema: Any) -> Any:
    """The schema with plain longs for instants: ours are numbers, and fastavro's own are slow datetimes."""
    if isinstance(schema, dict):
        return {key: without_logical_types(value) for key, value in schema.items() if key != "logicalType"}
    if isinstance(schema, list):
        return [without_logical_types(item) for item in schema]
    return schema


_PLAIN = fastavro.parse_schema(without_logical_types(CUSTOMER_CONTACT.raw))


def _reject(cause: str, message: str) -> NoReturn:
    raise Rejected(Stage.DECODE, cause, message)


def why_unreadable(error: Exception) -> str:
    """What fastavro's error means, without the values that it may show."""
    if isinstance(error, EOFError):
        return "ends in the middle of a field"
    if isinstance(error, UnicodeDecodeError):
        return "has a text that is not in UTF-8"
    return f"is cut off or does not match the schema ({type(error).__name__})"


class AvroReader:
    """Reads events from Avro.

    Args:
        paths: reads JSON events of the shape that the settings tell.
        schemas: by fingerprint, the Avro schemas, as JSON, of single objects that may come besides our own.
        registry: the schemas that ids stand for; None where there is no registry.
    """

    def __init__(self, paths: JsonReader, schemas: Mapping[bytes, Any], registry: WriterSchemas | None) -> None:
        self._paths = paths
        self._registry = registry
        self._by_key: dict[SchemaKey, ReadFrom] = {}
        self._by_fingerprint = {
            written: self._reader(WriterSchema("AVRO", raw))
            for written, raw in {**schemas, **{old.fingerprint: old.raw for old in RELEASED["CustomerContact"]}}.items()
        }
        self._by_fingerprint[CUSTOMER_CONTACT.fingerprint] = _read_contact

    def read_single_object(self, value: bytes, record: Record) -> Event:
        """The event in a value that begins with ``C3``.

        Raises:
            Rejected: at stage decode.
        """
        if not value.startswith(MARKER) or len(value) < HEADER:
            _reject("UnknownEncoding", "the value begins with the byte c3, but is no Avro single object (c3 01)")
        written = value[2:HEADER]
        read = self._by_fingerprint.get(written)
        if read is None:
            _reject(
                "UnknownFingerprint",
                f"the Avro schema with the fingerprint {written.hex()} is not known here; "
                f"{CUSTOMER_CONTACT.name} has {CUSTOMER_CONTACT.fingerprint.hex()}; "
                "put the file of the schema into schemas.path",
            )
        return read(value, HEADER, record)

    def read_prefixed(self, value: bytes, record: Record) -> Event:
        """The event in a value that begins with ``00``: Confluent's framing.

        Raises:
            SchemaNeeded: ask the registry, and try again.
            Rejected: at stage decode.
        """
        if len(value) < PREFIX:
            _reject("UnknownEncoding", "the value begins with the byte 00, but is too short for a schema id")
        return self._read(int.from_bytes(value[1:PREFIX], "big"), value, PREFIX, record)

    def read_by_header(self, schema_id: bytes | None, value: bytes, record: Record) -> Event:
        """The event in a value whose schema the header ``__value_schema_id`` tells.

        Raises:
            SchemaNeeded: ask the registry, and try again.
            Rejected: at stage decode.
        """
        key = key_in_header(schema_id)
        if key is not None:
            return self._read(key, value, 0, record)
        _reject("InvalidSchemaId", f"the header {SCHEMA_ID_HEADER} holds no schema id, nor a GUID")

    def _read(self, key: SchemaKey, value: bytes, start: int, record: Record) -> Event:
        read = self._by_key.get(key)
        if read is None:
            if self._registry is None:
                _reject(
                    "UnknownSchemaId",
                    f"the schema {words_of(key)} is not known here: there is no schema registry to ask; "
                    "set schema_registry.url, or write the event as JSON or as an Avro single object",
                )
            read = self._by_key[key] = self._reader(self._registry.get(key))
        return read(value, start, record)

    def _reader(self, schema: WriterSchema) -> ReadFrom:
        """What reads the values of a schema; of one that cannot be read, what rejects them."""
        if schema.kind == "JSON":
            return lambda value, start, record: self._paths.read(value[start:], record)
        if schema.kind != "AVRO":
            return _rejecting(f"{schema.kind.lower()} is not read here; write the event in Avro or JSON")
        try:
            written = parse(schema.raw, schema.references)
        except InvalidSchema as error:
            return _rejecting(f"it is no Avro schema that is read here: {error}")
        if written.kind != "record":
            return _rejecting(f"it describes no record, but {written.words}")
        return _read_contact_of(written, schema) if written.name == _CONTACT.name else _read_any(written, self._paths)


def _read_contact(value: bytes, start: int, record: Record) -> Event:
    """An event that was written with the current ``CustomerContact``."""
    del record  # what the schema requires is there, so that nothing has to be derived
    try:
        stream = BytesIO(value)
        stream.seek(start)
        fields: Any = fastavro.schemaless_reader(stream, _PLAIN, None)
    except Exception as error:  # noqa: BLE001  fastavro raises whatever the broken bytes lead it to
        _reject("InvalidAvro", f"the Avro body {why_unreadable(error)}")
    left = len(value) - stream.tell()
    if left:
        _reject_rest(left)
    if not fields["customerId"] or fields["customerId"].isspace():
        _reject("InvalidCustomerId", "the customer id is empty")
    if not fields["eventId"]:
        _reject("InvalidEventId", "the event id is empty")
    return Event(
        fields["eventId"],
        fields["customerId"],
        checked_time(fields["contactTime"]),
        fields["channel"],
        fields["direction"],
        fields["reason"],
        fields["agentId"],
        fields["attributes"],
    )


def _read_contact_of(written: AvroType, schema: WriterSchema) -> ReadFrom:
    """Events that were written with any version of ``CustomerContact``: fields that are new here become attributes."""
    same_bytes = not schema.references and fingerprint_of(schema.raw) == CUSTOMER_CONTACT.fingerprint
    if same_bytes and not unreadable(_CONTACT, written):
        return _read_contact
    texts = {field.name for field in _CONTACT.fields if field.name != "contactTime"}
    fields = tuple(_as_text(field) if field.name in texts else field for field in written.fields)
    values = reader(AvroType("record", written.name, fields=fields))
    texts_already = any(field.name == "attributes" and _holds_texts(field.type) for field in fields)

    def read(value: bytes, start: int, record: Record) -> Event:
        found = _values(values, value, start)
        own = found.pop("attributes", None) if texts_already else None
        return _contact(found, own, record)

    return read


def _contact(found: dict[str, Any], own: Mapping[str, str] | None, record: Record) -> Event:
    """A contact of its fields, with attributes of its own that are texts already."""
    event = _CONTACT_PATHS.read(_to_json(found), record)
    return msgspec.structs.replace(event, attributes=merge(own, event.attributes)) if own else event


def event_of(name: str, found: Mapping[str, Any], paths: JsonReader, record: Record) -> Event:
    """The event of a record of any type, as it was read from its input: of a derived output's fields.

    Args:
        name: of the type, with its namespace.
        found: the fields.
        paths: reads JSON events of the shape that the settings tell.
        record: the input, without its value.

    Raises:
        Rejected: it is none.
    """
    fields = dict(found)
    if name != _CONTACT.name:
        return paths.read(_to_json(fields), record)
    own = fields.get("attributes")
    if not isinstance(own, dict) or not all(isinstance(text, str) for text in own.values()):
        own = None
    return _contact({key: fields[key] for key in fields if own is None or key != "attributes"}, own, record)


def _as_text(field: AvroField) -> AvroField:
    """The field with texts for bytes, as a reader that wants texts may read them."""
    return AvroField(field.name, _text_for_bytes(field.type))


def _text_for_bytes(of: AvroType) -> AvroType:
    if of.kind == "bytes" and not of.logical:
        return AvroType("string")
    if of.kind == "union":
        return AvroType("union", branches=tuple(map(_text_for_bytes, of.branches)))
    return AvroType("map", items=_text_for_bytes(of.items)) if of.kind == "map" and of.items is not None else of


def _holds_texts(of: AvroType) -> bool:
    """Whether it is a map of texts, as our own attributes are: they are in the form of attributes already."""
    branches = [branch for branch in of.branches or (of,) if branch.kind != "null"]
    return all(
        branch.kind == "map" and branch.items is not None and branch.items.kind == "string" for branch in branches
    )


def _read_any(written: AvroType, paths: JsonReader) -> ReadFrom:
    """Events of any shape."""
    values = reader(written)
    return lambda value, start, record: paths.read(_to_json(_values(values, value, start)), record)


def _values(read: Callable[[Body], Any], value: bytes, start: int) -> dict[str, Any]:
    body = Body(value, start)
    try:
        found: dict[str, Any] = read(body)
    except InvalidBody as error:
        _reject("InvalidAvro", f"the Avro body {error}")
    left = len(value) - body.position
    if left:
        _reject_rest(left)
    return found


def _reject_rest(left: int) -> NoReturn:
    _reject("InvalidAvro", f"{left} bytes follow the Avro body")


def _rejecting(why: str) -> ReadFrom:
    def read(_value: bytes, _start: int, _record: Record) -> Event:
        _reject("UnusableSchema", f"the value's schema cannot be used: {why}")

    return read


_to_json: Final = msgspec.json.Encoder(decimal_format="number").encode
_CONTACT: Final = parse(CUSTOMER_CONTACT.raw)
_CONTACT_PATHS: Final = JsonReader("eventId", "customerId", "contactTime")
