"""Reads a customer contact from Avro: the single-object encoding, and what there is to say of Confluent's framing.

Invariant: a value is read whole or rejected, what stands behind it included. Each element of the schema's only
collection, the map of attributes, takes at least two bytes, so a hostile block count ends at the end of the value
rather than in memory.
"""

from io import BytesIO
from typing import Any, NoReturn

import fastavro

from enricher.codec.json_input import checked_time
from enricher.model import Event, Record, Rejected, Stage
from enricher.schemas import CUSTOMER_CONTACT

MARKER = b"\xc3\x01"
HEADER = 10  # marker and fingerprint
_CONFLUENT_HEADER = 5


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


def read_single_object(value: bytes, record: Record) -> Event:
    """The event in a value that begins with ``C3``.

    Raises:
        Rejected: at stage decode.
    """
    del record  # what the schema requires is there, so that nothing has to be derived
    if not value.startswith(MARKER) or len(value) < HEADER:
        _reject("UnknownEncoding", "the value begins with the byte c3, but is no Avro single object (c3 01)")
    written = value[2:HEADER]
    if written != CUSTOMER_CONTACT.fingerprint:
        _reject(
            "UnknownFingerprint",
            f"the Avro schema with the fingerprint {written.hex()} is not known here; "
            f"{CUSTOMER_CONTACT.name} has {CUSTOMER_CONTACT.fingerprint.hex()}",
        )
    try:
        stream = BytesIO(value)
        stream.seek(HEADER)
        fields: Any = fastavro.schemaless_reader(stream, _PLAIN, None)
    except Exception as error:  # noqa: BLE001  fastavro raises whatever the broken bytes lead it to
        _reject("InvalidAvro", f"the Avro body {why_unreadable(error)}")
    left = len(value) - stream.tell()
    if left:
        _reject("InvalidAvro", f"{left} bytes follow the Avro body")
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


def read_confluent(value: bytes, record: Record) -> NoReturn:
    """A value that begins with ``00``: Confluent's framing, whose schemas are in a registry that is not asked yet.

    Raises:
        Rejected: at stage decode.
    """
    del record
    if len(value) < _CONFLUENT_HEADER:
        _reject("UnknownEncoding", "the value begins with the byte 00, but is too short for a schema id")
    schema_id = int.from_bytes(value[1:_CONFLUENT_HEADER], "big")
    _reject(
        "UnknownSchemaId",
        f"the Avro schema with the id {schema_id} is not known here: there is no schema registry to ask; "
        "write the event as JSON or as an Avro single object",
    )
