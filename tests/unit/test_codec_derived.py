"""Derived outputs: the input's bytes with the history behind them, in every framing, whatever the input's schema."""

import copy
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from io import BytesIO
from typing import Any
from uuid import UUID

import fastavro
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from enricher.avroschema.derived import derive
from enricher.codec import Decoder, InputFields, OutputReader, UndecodableOutput
from enricher.codec.derived import DerivedEncoder, DerivedOutputs, DerivingDecoder
from enricher.codec.framing import SCHEMA_ID_HEADER, Framing, fingerprint_of
from enricher.codec.writer_schemas import KnownSchemas, SchemaNeeded, WriterSchema
from enricher.model import Enriched, Headers, Offer, OfferHistory, Record, Rejected
from enricher.reader.building import MAX_LEVELS
from enricher.schemas import CUSTOMER_CONTACT
from tests import strategies
from tests.avro_strategies import record, schemas, value_of
from tests.codec_talk import TIMESTAMP, enriched_with
from tests.unit.test_avroschema_values import logical, unhurried

GUID = bytes(range(16))
CALL = record(("customerId", "string"), ("shop", "int"), name="Call")


def body(raw: Any, value: Any) -> bytes:
    """As fastavro writes it."""
    stream = BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(json.loads(json.dumps(raw))), value)
    return stream.getvalue()


def read(raw: Any, data: bytes) -> Any:
    """As fastavro reads it, to its last byte."""
    stream = BytesIO(data)
    value = fastavro.schemaless_reader(stream, fastavro.parse_schema(json.loads(json.dumps(raw))), None)
    assert not stream.read(1)
    return value


def told(value: bytes | None, headers: Headers | None = None) -> Record:
    """A record of the input."""
    return Record("contacts", 3, 42, TIMESTAMP, b"key", value, headers or [])


class Codec:
    """Decoder and encoder of derived outputs."""

    def __init__(self, *files: Any, known: KnownSchemas | None = None) -> None:
        by_fingerprint = {fingerprint_of(raw): raw for raw in files}
        self.outputs = DerivedOutputs(by_fingerprint, known)
        self.decoder = DerivingDecoder(Decoder(schemas=by_fingerprint, registry=known), self.outputs)
        self.encoder = DerivedEncoder(self.outputs)

    def encode(self, record: Record) -> tuple[bytes, Enriched]:
        """The output of a record, with no history, and what it was made of."""
        enriched = enriched_with(self.decoder.decode(record))
        return self.encoder.encode(enriched, record), enriched

    def rejection(self, record: Record) -> Rejected:
        """How a record is rejected."""
        with pytest.raises(Rejected) as caught:
            self.decoder.decode(record)
        return caught.value


def added(enriched: Enriched) -> Any:
    """What the field holds."""
    plain = json.loads(msgspec.json.encode(enriched))
    return {**plain["offerHistory"], "enrichment": plain["enrichment"]}


def in_milliseconds(value: Any) -> Any:
    """Fastavro reads instants as datetimes, and those of no calendar not at all: plain numbers for both."""
    if isinstance(value, dict):
        return {key: in_milliseconds(item) for key, item in value.items() if key != "logicalType"}
    return [in_milliseconds(item) for item in value] if isinstance(value, list) else value


@unhurried
@given(st.data())
def test_any_event_with_any_history(data: st.DataObject) -> None:
    """The input's bytes come through as they are, and any reader with the derived schema reads both."""
    raw = record(("customerId", "string"), ("x", data.draw(schemas("X"))), ("y", data.draw(schemas("Y"))), name="R")
    value = {"customerId": "CONNOR", "x": value_of(data.draw, raw["fields"][1]["type"])}
    value["y"] = value_of(data.draw, raw["fields"][2]["type"])
    written = body(raw, value)
    source = told(b"\xc3\x01" + fingerprint_of(raw) + written)
    codec = Codec(raw)
    event = codec.decoder.decode(source)
    enriched = Enriched(event, data.draw(strategies.histories), data.draw(strategies.enrichments))
    made = codec.encoder.encode(enriched, source)
    derived = derive(raw)
    assert made[:10] == b"\xc3\x01" + fingerprint_of(derived)
    assert made[10:].startswith(written + b"\x02")
    found = read(in_milliseconds(derived), made[10:])
    assert found.pop("offerHistory") == added(enriched)
    assert found == read(raw, written)
    old = fastavro.schemaless_reader(BytesIO(made[10:]), fastavro.parse_schema(derived), fastavro.parse_schema(raw))
    assert old == read(raw, written)
    assert OutputReader(schemas=[raw]).read(made, None, TIMESTAMP)[1]["offerHistory"] == added(enriched)
    here = enriched_with(event)
    assert OutputReader(schemas=[raw]).decode(codec.encoder.encode(here, source), None, TIMESTAMP) == here


def test_logical_types_come_through() -> None:
    """They mean what they meant."""
    raw = record(
        ("customerId", "string"),
        ("at", logical("long", "timestamp-micros")),
        ("day", logical("int", "date")),
        ("price", logical("bytes", "decimal", precision=20, scale=4)),
        ("id", logical("string", "uuid")),
        ("kind", {"type": "enum", "name": "Kind", "symbols": ["A", "B"], "default": "A"}),
        ("lines", {"type": "array", "items": record(("sum", ["null", "double"]), name="Line")}),
        ("either", ["null", "int", "Line"]),
        name="acme.Order",
    )
    value = {
        "customerId": "CONNOR",
        "at": datetime(2026, 5, 1, 12, 0, 0, 123_456, tzinfo=UTC),
        "day": date(2026, 5, 1),
        "price": Decimal("-12345678.9000"),
        "id": UUID(int=7),
        "kind": "B",
        "lines": [{"sum": 1.5}, {"sum": None}],
        "either": {"sum": float("inf")},
    }
    made, enriched = Codec(raw).encode(told(b"\xc3\x01" + fingerprint_of(raw) + body(raw, value)))
    found = read(derive(raw), made[10:])
    assert found.pop("offerHistory")["enrichment"] == added(enriched)["enrichment"]
    assert found == value


def test_our_own_contact_is_an_event_like_any_other() -> None:
    """It needs no file."""
    contact = {"eventId": "e", "customerId": "CONNOR", "contactTime": 1, "attributes": {"a": "1"}}
    made, _ = Codec().encode(told(b"\xc3\x01" + CUSTOMER_CONTACT.fingerprint + body(CUSTOMER_CONTACT.raw, contact)))
    found = read(derive(CUSTOMER_CONTACT.raw), made[10:])
    assert (found["customerId"], found["attributes"], found["offerHistory"]["customerId"]) == (
        "CONNOR", {"a": "1"}, "CONNOR",
    )  # fmt: skip


CONTACTS = [
    {"eventId": "e", "customerId": "CONNOR", "contactTime": 1, "attributes": {"a": "1", "q": '"1"', "t": "text"}},
    {"eventId": "e", "customerId": "CONNOR", "contactTime": 2, "channel": "Web", "attributes": {}},
]


@pytest.mark.parametrize("contact", CONTACTS)
def test_our_own_contact_is_read_again_as_it_was(contact: dict[str, Any]) -> None:
    """Its attributes are texts already; other fields of a later version become attributes."""
    source = told(b"\xc3\x01" + CUSTOMER_CONTACT.fingerprint + body(CUSTOMER_CONTACT.raw, contact))
    made, enriched = Codec().encode(source)
    assert OutputReader().decode(made) == enriched
    later = {**CUSTOMER_CONTACT.raw, "fields": [*CUSTOMER_CONTACT.raw["fields"], {"name": "shop", "type": "int"}]}
    source = told(b"\xc3\x01" + fingerprint_of(later) + body(later, {**contact, "shop": 7}))
    made, enriched = Codec(later).encode(source)
    seen = OutputReader(schemas=[later]).decode(made)
    assert seen == enriched
    assert seen.contact.attributes["shop"] == "7"


def test_a_contact_whose_attributes_are_no_texts() -> None:
    """Each is its JSON text, as in the input."""
    raw = copy.deepcopy(CUSTOMER_CONTACT.raw)
    raw["fields"][-1]["type"]["values"] = "int"
    contact = {"eventId": "e", "customerId": "CONNOR", "contactTime": 1, "attributes": {"a": 1}}
    source = told(b"\xc3\x01" + fingerprint_of(raw) + body(raw, contact))
    made, enriched = Codec(raw).encode(source)
    assert OutputReader(schemas=[raw]).decode(made) == enriched
    assert enriched.contact.attributes == {"a": "1"}


def test_fields_are_where_the_settings_say() -> None:
    """An event in which they are not is known by its place, and by its history's customer."""
    raw = record(("who", record(("id", "long"), name="Who")), ("n", "int"), name="Odd")
    source = told(b"\xc3\x01" + fingerprint_of(raw) + body(raw, {"who": {"id": 7}, "n": 1}))
    by_fingerprint = {fingerprint_of(raw): raw}
    fields = InputFields(customer_id="who.id")
    outputs = DerivedOutputs(by_fingerprint)
    enriched = enriched_with(DerivingDecoder(Decoder(fields, schemas=by_fingerprint), outputs).decode(source))
    made = DerivedEncoder(outputs).encode(enriched, source)
    assert OutputReader(fields=fields, schemas=[raw]).decode(made, None, TIMESTAMP) == enriched
    seen = OutputReader(schemas=[raw]).decode(made, None, TIMESTAMP)
    assert (seen.contact.event_id, seen.contact.customer_id, seen.contact.contact_time) == (
        "contacts-3-42", "7", TIMESTAMP,
    )  # fmt: skip


def test_what_is_no_derived_output() -> None:
    """A record of the derived schema without a history, and one of a schema that is not known."""
    derived = derive(CALL)
    value = {"customerId": "CONNOR", "shop": 7, "offerHistory": None}
    data = b"\xc3\x01" + fingerprint_of(derived) + body(derived, value)
    with pytest.raises(UndecodableOutput, match="has not the fields"):
        OutputReader(schemas=[CALL]).decode(data)
    taken = record(("offerHistory", "int"), name="Taken")
    with pytest.raises(UndecodableOutput, match="unknown fingerprint"):
        OutputReader(schemas=[taken]).decode(data)


FRAMINGS: list[tuple[Any, bytes, Headers]] = [
    (7, b"\x00\x00\x00\x00\x07", []),
    (7, b"", [("a", b"1"), (SCHEMA_ID_HEADER, b"\x00\x00\x00\x00\x07")]),
    (GUID, b"", [(SCHEMA_ID_HEADER, b"\x01" + GUID)]),
    (fingerprint_of(CALL), b"\xc3\x01" + fingerprint_of(CALL), []),
]


@pytest.mark.parametrize(("key", "prefix", "headers"), FRAMINGS)
def test_the_registry_is_asked_once_for_each_schema(key: Any, prefix: bytes, headers: Headers) -> None:
    """However inputs tell theirs; then outputs tell what is derived, before the value or in a header."""
    known = KnownSchemas()
    codec = Codec(CALL, known=known)
    source = told(prefix + body(CALL, {"customerId": "CONNOR", "shop": 7}), headers)
    if not codec.outputs.is_in_files(key):
        with pytest.raises(SchemaNeeded):
            codec.decoder.decode(source)
        with pytest.raises(SchemaNeeded):  # the input's comes first
            codec.outputs.missing(key)
        known.add(key, WriterSchema("AVRO", CALL))
    with pytest.raises(SchemaNeeded) as needed:
        codec.decoder.decode(source)
    assert needed.value.key == key
    schema = codec.outputs.missing(key)
    assert schema is not None
    assert schema is codec.outputs.missing(key)
    assert (schema.name, json.loads(schema.text)) == ("Call", derive(CALL))
    codec.outputs.add(key, schema, Framing.prefixed(9))
    assert codec.outputs.missing(key) is None
    made, _ = codec.encode(source)
    assert made[:5] == b"\x00\x00\x00\x00\x09"
    assert read(derive(CALL), made[5:])["shop"] == 7
    assert codec.encoder.headers(source) == [header for header in headers if header[0] == "a"]
    codec.outputs.add(key, schema, Framing.headed(GUID))
    made, _ = codec.encode(source)
    assert read(derive(CALL), made)["shop"] == 7
    assert codec.encoder.headers(source)[-1] == (SCHEMA_ID_HEADER, b"\x01" + GUID)


def test_json_is_refused() -> None:
    """With what to do, before anything is looked up; what is nothing at all is refused as ever."""
    rejected = Codec().rejection(told(b'{"customerId": "CONNOR"}'))
    assert (rejected.stage, rejected.cause) == ("decode", "NotAvro")
    assert "write it in Avro, or set output.schema: contact" in rejected.message
    assert Codec().rejection(told(None)).cause == "EmptyValue"
    assert Codec().rejection(told(b"\xc3\x01" + bytes(8))).cause == "UnknownFingerprint"


def test_what_nothing_can_be_derived_of_is_refused() -> None:
    """Each event of such a schema, with the schema and what stands in the way."""
    raw = record(("customerId", "string"), ("offerHistory", "int"), name="Taken")
    codec = Codec(raw)
    source = told(b"\xc3\x01" + fingerprint_of(raw) + body(raw, {"customerId": "CONNOR", "offerHistory": 1}))
    first, second = codec.rejection(source), codec.rejection(source)
    assert (first.stage, first.cause, first.message) == (second.stage, second.cause, second.message)
    assert (first.stage, first.cause) == ("encode", "NotDerivable")
    assert first.message == (
        "the offer history cannot be added to events of the schema with the fingerprint "
        f"{fingerprint_of(raw).hex()}: Taken has a field called offerHistory already: rename it in the input"
    )


def test_a_registrys_schema_of_another_kind_is_refused() -> None:
    """JSON that a registry knows by an id is read, but is no Avro record."""
    known = KnownSchemas()
    known.add(3, WriterSchema("JSON"))
    rejected = Codec(known=known).rejection(told(b'\x00\x00\x00\x00\x03{"customerId": "CONNOR"}'))
    assert rejected.cause == "NotDerivable"
    assert "it is no Avro schema, but json" in rejected.message


def test_a_broken_schema_is_refused() -> None:
    """The decoder says so first."""
    known = KnownSchemas()
    known.add(3, WriterSchema("AVRO", {"type": "no"}))
    codec = Codec(known=known)
    assert codec.rejection(told(b"\x00\x00\x00\x00\x03x")).cause == "UnusableSchema"
    assert codec.outputs.missing(3) is None


def test_what_the_registry_refuses_is_asked_for_again() -> None:
    """When it is told to forget it."""
    known = KnownSchemas()
    known.add(7, WriterSchema("AVRO", CALL))
    codec = Codec(known=known)
    source = told(b"\x00\x00\x00\x00\x07" + body(CALL, {"customerId": "CONNOR", "shop": 7}))
    with pytest.raises(SchemaNeeded):
        codec.decoder.decode(source)
    codec.outputs.refuse(7, "SchemaRefused", "it is incompatible")
    rejected = codec.rejection(source)
    assert (rejected.cause, "the id 7: it is incompatible" in rejected.message) == ("SchemaRefused", True)
    codec.outputs.forget(7)
    with pytest.raises(SchemaNeeded):
        codec.decoder.decode(source)


def test_a_history_that_cannot_be_written() -> None:
    """Bundles within bundles without an end are refused, as in any output."""
    offer = Offer()
    for _ in range(MAX_LEVELS):
        offer = Offer(bundle=(offer,))
    codec = Codec(CALL)
    source = told(b"\xc3\x01" + fingerprint_of(CALL) + body(CALL, {"customerId": "CONNOR", "shop": 7}))
    enriched = enriched_with(codec.decoder.decode(source))
    deep = msgspec.structs.replace(enriched, offer_history=OfferHistory("CONNOR", 1, 1, (offer,)))
    with pytest.raises(Rejected) as caught:
        codec.encoder.encode(deep, source)
    assert caught.value.cause == "TooDeep"
