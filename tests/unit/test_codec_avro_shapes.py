"""Events in Avro of any writer's schema: in single objects, behind Confluent's prefix, with their id in a header."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from io import BytesIO
from typing import Any

import fastavro
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from enricher.avroschema import parse
from enricher.codec import Decoder, InputFields, attribute_value
from enricher.codec.framing import fingerprint_of
from enricher.codec.writer_schemas import KnownSchemas, SchemaNeeded, WriterSchema
from enricher.model import Event, Record, Rejected
from enricher.schemas import CUSTOMER_CONTACT
from tests.codec_talk import TIMESTAMP
from tests.strategies import events

GUID = bytes(range(16))
CONTACT = Event("e-1", "CONNOR", 1_700_000_000_123, "Web", None, "billing", None, {"a": "1", "b": '"2"', "c": "text"})


def body(raw: Any, value: Any) -> bytes:
    """The value as fastavro writes it."""
    stream = BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(json.loads(json.dumps(raw))), value)
    return stream.getvalue()


def read(
    raw: Any, data: bytes, *, fields: InputFields | None = None, how: str = "prefix", schema: WriterSchema | None = None
) -> Event:
    """The event, in one of the framings."""
    known = KnownSchemas()
    known.add(7, schema or WriterSchema("AVRO", raw))
    known.add(GUID, schema or WriterSchema("AVRO", raw))
    headers: list[tuple[str, bytes | None]] = [("other", b"x")]
    if how == "single":
        decoder = Decoder(fields, schemas={fingerprint_of(raw): raw})
        data = b"\xc3\x01" + fingerprint_of(raw) + data
    else:
        decoder = Decoder(fields, registry=known)
        if how == "prefix":
            data = b"\x00\x00\x00\x00\x07" + data
        elif how == "header":
            headers.append(("__value_schema_id", b"\x01" + GUID))
        else:
            headers.append(("__value_schema_id", b"\x00\x00\x00\x00\x07"))
    return decoder.decode(Record("contacts", 3, 42, TIMESTAMP, b"key", data, headers))


FRAMINGS = ("single", "prefix", "header", "header with an id")


@pytest.mark.parametrize("how", FRAMINGS)
@given(event=events)
def test_a_contact_in_every_framing(how: str, event: Event) -> None:
    """Is the event that was written."""
    raw = CUSTOMER_CONTACT.raw
    assert read(raw, body(raw, msgspec.to_builtins(event)), how=how) == event


ORDER = {
    "type": "record",
    "name": "Order",
    "namespace": "shop",
    "fields": [
        {
            "name": "meta",
            "type": {
                "type": "record",
                "name": "Meta",
                "fields": [
                    {"name": "id", "type": "long"},
                    {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
                    {"name": "trace", "type": "bytes"},
                ],
            },
        },
        {"name": "customer", "type": ["null", {"type": "record", "name": "Customer", "fields": [
            {"name": "number", "type": "string"}, {"name": "tier", "type": {
                "type": "enum", "name": "Tier", "symbols": ["GOLD", "TIN"]}}]}]},
        {"name": "channel", "type": {"type": "enum", "name": "Channel", "symbols": ["Web", "Shop"]}},
        {"name": "amount", "type": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}},
        {"name": "due", "type": ["null", {"type": "int", "logicalType": "date"}]},
        {"name": "lines", "type": {"type": "array", "items": "string"}},
        {"name": "rate", "type": ["null", "double", "string"]},
    ],
}  # fmt: skip
ORDER_VALUE = {
    "meta": {"id": 17, "at": datetime(2026, 11, 23, 8, 15, 30, 250_999, UTC), "trace": b"\x00\xff"},
    "customer": {"number": "C-9", "tier": "TIN"},
    "channel": "Shop",
    "amount": Decimal("-12.30"),
    "due": datetime(2026, 12, 24, tzinfo=UTC).date(),
    "lines": ["a", "1"],
    "rate": "1",
}
ORDER_FIELDS = InputFields("meta.id", "customer.number", "meta.at")


@pytest.mark.parametrize("how", FRAMINGS)
def test_an_event_of_another_shape(how: str) -> None:
    """The paths are those of the settings, and everything else is in the attributes, by its meaning."""
    event = read(ORDER, body(ORDER, ORDER_VALUE), fields=ORDER_FIELDS, how=how)
    assert (event.event_id, event.customer_id, event.channel) == ("17", "C-9", "Shop")
    assert event.contact_time == 1_795_421_730_250
    assert {name: attribute_value(text) for name, text in event.attributes.items()} == {
        "meta": {"trace": "AP8="},
        "customer": {"tier": "TIN"},
        "amount": -12.3,
        "due": "2026-12-24",
        "lines": ["a", "1"],
        "rate": "1",
    }
    assert event.attributes["amount"] == "-12.30"
    assert event.attributes["rate"] == '"1"'


def rejection(raw: Any, data: bytes, **options: Any) -> Rejected:
    """How a value is rejected."""
    with pytest.raises(Rejected) as caught:
        read(raw, data, **options)
    assert caught.value.stage == "decode"
    return caught.value


def test_an_event_without_a_customer() -> None:
    """Is rejected as one in JSON is, with the path that was looked at."""
    data = body(ORDER, {**ORDER_VALUE, "customer": None})
    rejected = rejection(ORDER, data, fields=ORDER_FIELDS)
    assert rejected.cause == "MissingCustomerId"
    assert "customer.number" in rejected.message


def contact(**types: Any) -> dict[str, Any]:
    """A version of CustomerContact with these types of fields; None leaves a field out, others are added."""
    raw: dict[str, Any] = json.loads(CUSTOMER_CONTACT.text)
    kept = [
        {**field, "type": types.get(field["name"], field["type"])}
        for field in raw["fields"]
        if types.get(field["name"], "") is not None
    ]
    for field in kept:
        field.pop("default", None)
    known = {field["name"] for field in raw["fields"]}
    added = [{"name": name, "type": kind} for name, kind in types.items() if name not in known]
    return {**raw, "fields": kept + added}


def test_a_newer_contact_keeps_what_is_new_in_the_attributes() -> None:
    """The fields that are known stay where they are, whatever the settings' paths; attributes are taken as they are."""
    raw = contact(mood={"type": "enum", "name": "Mood", "symbols": ["GOOD"]}, score="double", a="string")
    value = {**msgspec.to_builtins(CONTACT), "mood": "GOOD", "score": 0.5, "a": "new"}
    event = read(raw, body(raw, value), fields=ORDER_FIELDS)
    expected = {**CONTACT.attributes, "mood": "GOOD", "score": "0.5", "/a": "new"}
    assert event == msgspec.structs.replace(CONTACT, attributes=expected)


def test_an_older_contact_without_attributes() -> None:
    """What has a default may be missing."""
    raw = contact(attributes=None, channel=None, agentId=None)
    event = read(raw, body(raw, msgspec.to_builtins(CONTACT)))
    assert event == Event("e-1", "CONNOR", CONTACT.contact_time, None, None, "billing", None, {})


MICROS = {"type": "long", "logicalType": "timestamp-micros"}


def test_types_that_resolve_to_the_contacts() -> None:
    """Bytes for texts, an int for a time; and an instant in other units is the same instant."""
    raw = contact(eventId="bytes", channel=["null", "bytes"], contactTime="int", attributes={
        "type": "map", "values": "bytes"})  # fmt: skip
    value = {**msgspec.to_builtins(CONTACT), "eventId": b"e-1", "channel": b"Web", "contactTime": 5}
    value["attributes"] = {"a": b"1"}
    event = read(raw, body(raw, value))
    assert event == msgspec.structs.replace(CONTACT, contact_time=5, attributes={"a": "1"})
    raw = contact(contactTime=MICROS)
    assert fingerprint_of(raw) == CUSTOMER_CONTACT.fingerprint
    value = {**msgspec.to_builtins(CONTACT), "contactTime": 1_700_000_000_123_999}
    assert read(raw, body(raw, value)) == CONTACT


def test_attributes_of_another_type() -> None:
    """Are taken as JSON's are: each value by its meaning."""
    raw = contact(attributes={"type": "map", "values": ["int", "string"]})
    value = {**msgspec.to_builtins(CONTACT), "attributes": {"n": 1, "s": "1"}}
    assert read(raw, body(raw, value)).attributes == {"n": "1", "s": '"1"'}
    raw = contact(attributes="int")
    assert rejection(raw, body(raw, {**msgspec.to_builtins(CONTACT), "attributes": 1})).cause == "InvalidField"


def test_attributes_that_are_null() -> None:
    """Are none."""
    raw = contact(attributes=["null", {"type": "map", "values": "string"}])
    assert read(raw, body(raw, {**msgspec.to_builtins(CONTACT), "attributes": None})).attributes == {}


def test_a_schema_with_references() -> None:
    """Its named types come from other subjects; our own contact among them stays our own."""
    customer = {"type": "record", "name": "Who", "namespace": "n", "fields": [{"name": "customerId", "type": "string"}]}
    raw = {"type": "record", "name": "Event", "fields": [{"name": "who", "type": "n.Who"}]}
    schema = WriterSchema("AVRO", raw, (customer,))
    fields = InputFields(customer_id="who.customerId")
    assert read(raw, b"\x02C", fields=fields, schema=schema).customer_id == "C"
    whole = WriterSchema("AVRO", CUSTOMER_CONTACT.raw, (customer,))
    assert read(None, body(CUSTOMER_CONTACT.raw, msgspec.to_builtins(CONTACT)), schema=whole) == CONTACT


def test_json_behind_a_prefix_or_with_a_header() -> None:
    """As the JSON Schema serializers of a registry write it."""
    schema = WriterSchema("JSON")
    data = b'{"customerId": "C", "n": 1}'
    for how in ("prefix", "header"):
        event = read(None, data, schema=schema, how=how)
        assert (event.customer_id, event.attributes) == ("C", {"n": "1"})


UNUSABLE = [
    (WriterSchema("PROTOBUF"), "protobuf is not read here"),
    (WriterSchema("AVRO", {"type": "nope"}), "there is no type nope"),
    (WriterSchema("AVRO", ["null", "string"]), "it describes no record, but string or null"),
]


@pytest.mark.parametrize(("schema", "message"), UNUSABLE)
def test_schemas_that_cannot_be_used(schema: WriterSchema, message: str) -> None:
    """The event is rejected with the reason, each time."""
    rejected = rejection(None, b"", schema=schema)
    assert rejected.cause == "UnusableSchema"
    assert message in rejected.message


def test_bodies_that_are_broken() -> None:
    """Cut off, or with something behind them: in each framing."""
    data = body(ORDER, ORDER_VALUE)
    assert rejection(ORDER, data[:-1], fields=ORDER_FIELDS).cause == "InvalidAvro"
    rejected = rejection(ORDER, data + b"ab", fields=ORDER_FIELDS)
    assert (rejected.cause, rejected.message) == ("InvalidAvro", "2 bytes follow the Avro body")
    contact_body = body(CUSTOMER_CONTACT.raw, msgspec.to_builtins(CONTACT))
    assert "2 bytes follow" in rejection(CUSTOMER_CONTACT.raw, contact_body + b"ab", how="header").message


@pytest.mark.parametrize("schema_id", [None, b"", b"\x01" + GUID[:-1], b"\x02" + GUID, b"\x00\x00\x00\x07"])
def test_headers_that_hold_no_id(schema_id: bytes | None) -> None:
    """Neither a GUID nor an id."""
    decoder = Decoder(registry=KnownSchemas())
    with pytest.raises(Rejected) as caught:
        decoder.decode(Record("t", 0, 0, TIMESTAMP, None, b"{}", [("__value_schema_id", schema_id)]))
    assert caught.value.cause == "InvalidSchemaId"


def test_where_only_json_is_read_the_header_says_nothing() -> None:
    """Nor where there is no registry to ask."""
    headers: list[tuple[str, bytes | None]] = [("__value_schema_id", b"\x01" + GUID)]
    record = Record("t", 0, 0, TIMESTAMP, None, b'{"customerId": "C"}', headers)
    for decoder in (Decoder(encoding="json", registry=KnownSchemas()), Decoder()):
        assert decoder.decode(record).customer_id == "C"


@pytest.mark.parametrize(
    ("decoder", "words"),
    [
        (Decoder(), "but there is no schema registry to ask: set schema_registry.url"),
        (Decoder(encoding="json", registry=KnownSchemas()), "but input.format is json"),
    ],
)
def test_where_the_header_is_needed_its_want_is_told(decoder: Decoder, words: str) -> None:
    """A body alone begins with any byte."""
    headers: list[tuple[str, bytes | None]] = [("__value_schema_id", b"\x01" + GUID)]
    with pytest.raises(Rejected) as caught:
        decoder.decode(Record("t", 0, 0, TIMESTAMP, None, b"\x0cCONNOR", headers))
    assert caught.value.cause == "UnknownEncoding"
    assert caught.value.message.endswith(words)
    with pytest.raises(Rejected) as caught:
        decoder.decode(Record("t", 0, 0, TIMESTAMP, None, b"\x0cCONNOR", []))
    assert "__value_schema_id" not in caught.value.message


@pytest.mark.parametrize(("key", "data"), [(8, b"\x00\x00\x00\x00\x08"), (GUID, b"")])
def test_an_unknown_id_is_asked_for(key: int | bytes, data: bytes) -> None:
    """Then it is known, or that there is none; which may be forgotten again."""
    known = KnownSchemas()
    decoder = Decoder(registry=known)
    headers: list[tuple[str, bytes | None]] = [("__value_schema_id", b"\x01" + GUID)] if key == GUID else []
    record = Record("t", 0, 0, TIMESTAMP, None, (data or b"") + b"\x02C", headers)
    with pytest.raises(SchemaNeeded) as needed:
        decoder.decode(record)
    assert needed.value.key == key
    assert not known.knows(key)
    known.refuse(key, "there is none")
    assert known.knows(key)
    with pytest.raises(Rejected, match="UnknownSchemaId: there is none"):
        decoder.decode(record)
    known.forget(key)
    known.forget(key)
    raw = {"type": "record", "name": "E", "fields": [{"name": "customerId", "type": "string"}]}
    known.add(key, WriterSchema("AVRO", raw))
    known.forget(key)  # what is known stays known
    assert [decoder.decode(record).customer_id for _ in range(2)] == ["C", "C"]


def test_only_schemas_that_are_allowed() -> None:
    """Where there is a list of them, no other is asked for."""
    known = KnownSchemas(frozenset({7}))
    decoder = Decoder(registry=known)
    with pytest.raises(Rejected) as caught:
        decoder.decode(Record("t", 0, 0, TIMESTAMP, None, b"\x00\x00\x00\x00\x08", []))
    assert caught.value.cause == "SchemaNotAllowed"
    assert "with the id 8" in caught.value.message
    with pytest.raises(SchemaNeeded, match="with the id 7"):
        decoder.decode(Record("t", 0, 0, TIMESTAMP, None, b"\x00\x00\x00\x00\x07", []))


def test_refusals_do_not_heap_up() -> None:
    """Whatever ids producers make up."""
    known = KnownSchemas()
    for key in range(2 * KnownSchemas.MOST_REFUSED + 1):
        known.refuse(key, "there is none")
    assert len(known._refused) <= KnownSchemas.MOST_REFUSED


@given(st.binary(max_size=80))
def test_any_bytes_of_another_shape(data: bytes) -> None:
    """Are an event or rejected."""
    try:
        event = read(ORDER, data, fields=ORDER_FIELDS)
    except Rejected as rejected:
        assert rejected.stage == "decode"  # noqa: PT017  either is fine
    else:
        assert event.customer_id


def test_the_shape_of_these_tests_is_a_schema() -> None:
    """Which fastavro takes, too."""
    assert parse(ORDER).short_name == "Order"
