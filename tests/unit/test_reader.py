"""The reader for those downstream: any framing, any version, with and without a registry."""

import copy
import json
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import FrozenInstanceError, asdict
from datetime import UTC, datetime
from decimal import Decimal
from io import BytesIO
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import fastavro
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from enricher.avroschema.derived import added, derive
from enricher.codec import Encoder
from enricher.model import Enriched, Enrichment, Event, Offer, OfferHistory, Status
from enricher.reader import EnrichedContact, EnrichmentStatus, Reader, Undecodable, UnknownSchema
from enricher.reader.building import MAX_LEVELS
from enricher.schemas import CUSTOMER_CONTACT, ENRICHED_CONTACT, RELEASED, Schema, schema_of
from tests.avro_strategies import record
from tests.strategies import enriched

GUID = UUID("00112233-4455-6677-8899-aabbccddeeff")
MARKED = 10
SAMPLE = Enriched(
    Event("e-1", "CONNOR", 1_700_000_000_123, "Web", attributes={"n": "1.5", "s": "text", "q": '"1"', "x": "NaN"}),
    OfferHistory(
        "CONNOR", 1_700_000_001_000, 1_700_000_001_000,
        (Offer("UltraMobile", interaction_id=-7714067498846096636, bundle=(Offer("Inner"),)), Offer(outcome_time=-1)),
    ),
    Enrichment("contacts", 3, 42, "1.0", 1, Status.ENRICHED),
)  # fmt: skip


class Registry:
    """Knows schemas by id and GUID, and counts what it is asked."""

    def __init__(self, *texts: str, kind: str | None = "AVRO") -> None:
        self._schemas = [SimpleNamespace(schema_str=text, schema_type=kind) for text in texts]
        self.asked = 0

    def get_schema(self, schema_id: int) -> Any:
        """By number, from 1 on."""
        self.asked += 1
        return self._schemas[schema_id - 1]

    def get_schema_by_guid(self, guid: str) -> Any:
        """There is one."""
        assert guid == str(GUID)
        self.asked += 1
        return self._schemas[0]


def body(raw: Any, value: Any) -> bytes:
    """The value as fastavro writes it."""
    stream = BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(json.loads(json.dumps(raw))), value)
    return stream.getvalue()


def in_terms_of_the_model(contact: EnrichedContact) -> Enriched:
    """The same value as the worker has it."""

    def plain(value: Any) -> Any:
        if isinstance(value, datetime):
            return (value - datetime(1970, 1, 1, tzinfo=UTC)) // (datetime.resolution * 1000)
        if isinstance(value, dict):
            return {name: plain(item) for name, item in value.items()}
        return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value

    def camel(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: item if name == "attributes" else camel(item) for name, item in value.items()}
        return [camel(item) for item in value] if isinstance(value, list) else value

    def spelled(value: Any) -> Any:
        if isinstance(value, dict):
            renamed = {}
            for name, item in value.items():
                first, *others = name.split("_")
                renamed[first + "".join(map(str.capitalize, others))] = item if name == "attributes" else spelled(item)
            return renamed
        return [spelled(item) for item in value] if isinstance(value, list) else value

    return msgspec.convert(spelled(camel(plain(asdict(contact)))), Enriched)


def framed(output: Enriched) -> list[tuple[bytes, list[tuple[str, bytes | None]]]]:
    """The output in every framing."""
    single = Encoder().encode(output)
    bare = single[MARKED:]
    return [
        (single, []),
        (b"\x00\x00\x00\x00\x01" + bare, []),
        (bare, [("a", None), ("__value_schema_id", b"\x01" + GUID.bytes)]),
        (bare, [("__value_schema_id", b"\x00\x00\x00\x00\x01")]),
        (msgspec.json.encode(output), []),
    ]


@given(enriched)
def test_any_output_in_every_framing(output: Enriched) -> None:
    """Is what the worker wrote."""
    reader = Reader(Registry(ENRICHED_CONTACT.text))
    for value, headers in framed(output):
        assert in_terms_of_the_model(reader.decode(value, headers)) == output


def test_the_values_are_typed_and_frozen() -> None:
    """Instants are datetimes, offers tuples, the status an enum."""
    read = Reader().decode(Encoder().encode(SAMPLE))
    assert read.contact.contact_time == datetime(2023, 11, 14, 22, 13, 20, 123_000, tzinfo=UTC)
    first, second = read.offer_history.offers
    assert (first.name, first.interaction_id, first.bundle[0].name) == ("UltraMobile", -7714067498846096636, "Inner")
    assert second.outcome_time == datetime(1969, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)
    assert read.enrichment.status is EnrichmentStatus.ENRICHED
    with pytest.raises(FrozenInstanceError):
        read.contact.event_id = "other"  # type: ignore[misc]


def test_attributes_by_their_values() -> None:
    """A text is one, what is JSON is its value; a name that JSON has not is a text."""
    contact = Reader().decode(Encoder().encode(SAMPLE)).contact
    assert [contact.attribute(name) for name in ("n", "s", "q", "x", "none")] == [1.5, "text", "1", "NaN", None]


CALL = record(
    ("customerId", "string"),
    ("at", {"type": "long", "logicalType": "timestamp-millis"}),
    ("sum", {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}),
    ("next", ["null", record(("raw", "bytes"), name="Inner")]),
    name="acme.Call",
)
CALLED = {"customerId": "CONNOR", "at": 1_700_000_000_123, "sum": Decimal("1.50"), "next": {"raw": b"\xff"}}


def derived_output(output: Enriched) -> bytes:
    """The body of a call with this history."""
    plain = json.loads(msgspec.json.encode(output))
    history = {**plain["offerHistory"], "enrichment": plain["enrichment"]}
    return body(derive(CALL), {**CALLED, "offerHistory": history})


@given(enriched)
def test_any_history_of_an_event_in_every_framing(output: Enriched) -> None:
    """The event as a person writes it, the history typed; from the input's schema or the derived one."""
    derived, bare = derive(CALL), derived_output(output)
    marked = b"\xc3\x01" + schema_of(json.dumps(derived), "Call", 0).fingerprint
    for value, headers in (
        (marked + bare, []),
        (b"\x00\x00\x00\x00\x01" + bare, []),
        (bare, [("__value_schema_id", b"\x01" + GUID.bytes)]),
    ):
        for known in (CALL, derived):
            read = Reader(Registry(json.dumps(derived)), schemas=[known]).decode_event(value, headers)
            assert read.type == "acme.Call"
            assert read.event == {
                "customerId": "CONNOR",
                "at": "2023-11-14T22:13:20.123Z",
                "sum": Decimal("1.50"),
                "next": {"raw": b"\xff"},
            }
            expected = Reader().decode(Encoder().encode(output))
            assert (read.offer_history, read.enrichment) == (expected.offer_history, expected.enrichment)


def test_contacts_and_events_are_told_apart() -> None:
    """Each with the method for it; what has no history is neither."""
    reader = Reader(schemas=[CALL])
    with pytest.raises(Undecodable, match="it is an enriched contact: read it with decode"):
        reader.decode_event(Encoder().encode(SAMPLE))
    derived = derive(CALL)
    marked = b"\xc3\x01" + schema_of(json.dumps(derived), "Call", 0).fingerprint
    with pytest.raises(Undecodable, match=r"it is a acme.Call with a history, .*: read it with decode_event"):
        reader.decode(marked + derived_output(SAMPLE))
    with pytest.raises(Undecodable, match="it has no offer history"):
        reader.decode_event(marked + body(derived, {**CALLED, "offerHistory": None}))
    with pytest.raises(Undecodable, match="ends in the middle"):
        reader.decode_event(marked + derived_output(SAMPLE)[:-1])
    with pytest.raises(UnknownSchema, match="unknown fingerprint"):
        Reader().decode_event(marked + derived_output(SAMPLE))
    with pytest.raises(UnknownSchema, match=r"describes Call, and no enricher\.EnrichedContact, nor an event"):
        Reader(Registry(json.dumps(CALL))).decode_event(b"\x00\x00\x00\x00\x01")


def test_an_event_with_a_history_that_is_none() -> None:
    """Instants of no calendar, in a schema of another program's."""
    value = derived_output(msgspec.structs.replace(SAMPLE, offer_history=OfferHistory("CONNOR", 2**62, 0)))
    with pytest.raises(Undecodable, match="has not the fields"):
        Reader(Registry(json.dumps(derive(CALL)))).decode_event(b"\x00\x00\x00\x00\x01" + value)


def test_a_later_history_of_an_event() -> None:
    """Fields that are new are left out."""
    later = copy.deepcopy(ENRICHED_CONTACT.raw)
    later["fields"][1]["type"]["fields"].append({"name": "new", "type": "int"})
    raw = derive(CALL, (), added(later))
    plain = json.loads(msgspec.json.encode(SAMPLE))
    history = {**plain["offerHistory"], "new": 1, "enrichment": plain["enrichment"]}
    value = b"\x00\x00\x00\x00\x01" + body(raw, {**CALLED, "offerHistory": history})
    assert Reader(Registry(json.dumps(raw))).decode_event(value).offer_history.customer_id == "CONNOR"


def test_many_values_one_after_the_other() -> None:
    """As they are asked for: nothing is read ahead."""
    value = Encoder().encode(SAMPLE)
    read = Reader().decode_all(iter([value, b"broken"]))
    assert next(read).contact.customer_id == "CONNOR"
    with pytest.raises(Undecodable):
        next(read)


def test_many_values_with_their_headers() -> None:
    """Of any framing, mixed."""
    values, headers = zip(*framed(SAMPLE), strict=True)
    read = Reader(Registry(ENRICHED_CONTACT.text)).decode_all(values, headers)
    assert [contact.contact.event_id for contact in read] == ["e-1"] * len(values)


def test_a_registry_is_asked_once_for_each_id() -> None:
    """And again after an error of its own, which comes through."""
    registry = Registry(ENRICHED_CONTACT.text)
    reader = Reader(registry)
    value, _ = framed(SAMPLE)[1]
    assert [reader.decode(value).contact.event_id for _ in range(3)] == ["e-1"] * 3
    assert registry.asked == 1
    with pytest.raises(IndexError):
        reader.decode(b"\x00\x00\x00\x00\x09" + value[5:])


def test_ids_without_a_registry() -> None:
    """They can be said; others are unknown, with what to do."""
    reader = Reader(ids={1: 1, GUID: 1})
    for value, headers in framed(SAMPLE):
        assert reader.decode(value, headers).contact.event_id == "e-1"
    with pytest.raises(UnknownSchema, match="the id 7: give the reader a registry"):
        reader.decode(b"\x00\x00\x00\x00\x07\x00")
    with pytest.raises(UnknownSchema, match="no version 99"):
        Reader(ids={1: 99})


def later(change: Callable[[dict[str, Any]], object]) -> str:
    """A version of the schema to come."""
    raw = json.loads(ENRICHED_CONTACT.text)
    change(raw)
    return json.dumps(raw)


def test_a_newer_version_than_this_package() -> None:
    """What is new is left out, a new status is unknown, and what is gone has its default."""

    def change(raw: dict[str, Any]) -> None:
        contact, history, enrichment = (field["type"] for field in raw["fields"])
        contact["fields"] = [field for field in contact["fields"] if field["name"] != "channel"]
        contact["fields"].insert(0, {"name": "mood", "type": ["null", "string"], "default": None})
        history["fields"][3]["type"]["items"]["fields"].append({"name": "rank", "type": "double", "default": 0})
        enrichment["fields"][-1]["type"]["symbols"].append("LATER")

    text = later(change)
    value = msgspec.to_builtins(SAMPLE)
    value["contact"]["mood"] = "good"
    value["enrichment"]["status"] = "LATER"
    for offer in value["offerHistory"]["offers"]:
        offer["rank"] = 1.0
        for inner in offer["bundle"]:
            inner["rank"] = 2.0
    read = Reader(Registry(text)).decode(b"\x00\x00\x00\x00\x01" + body(json.loads(text), value))
    assert read.enrichment.status is EnrichmentStatus.UNKNOWN
    assert (read.contact.channel, read.contact.reason) == (None, None)
    assert read.offer_history == Reader().decode(Encoder().encode(SAMPLE)).offer_history


@pytest.mark.parametrize("version", RELEASED["EnrichedContact"], ids=lambda schema: str(schema.version))
def test_every_released_version_is_read(version: Schema) -> None:
    """As a single object, and by its id."""
    fields = {field["name"] for field in version.raw["fields"]}
    value = {name: field for name, field in msgspec.to_builtins(SAMPLE).items() if name in fields}
    data = body(version.raw, value)
    for read in (
        Reader().decode(b"\xc3\x01" + version.fingerprint + data),
        Reader(ids={5: version.version}).decode(b"\x00\x00\x00\x00\x05" + data),
    ):
        assert read.contact.event_id == "e-1"


UNDECODABLE = [
    (b"", "is empty"),
    (None, "is empty"),
    (b"\xc3\x02" + bytes(8), "does not begin with c3 01"),
    (b"\xc3\x01\x00", "does not begin with c3 01"),
    (b"\xc3\x01" + bytes(8), "unknown fingerprint 0000000000000000"),
    (b"\xc3\x01" + CUSTOMER_CONTACT.fingerprint, "unknown fingerprint"),
    (b"\xc3\x01" + ENRICHED_CONTACT.fingerprint + b"\x02", "ends in the middle of a field"),
    (b"\x00\x00", "too short for a schema id"),
    (b"\x00\x00\x00\x00\x01\x02", "ends in the middle of a field"),
    (b"{", "neither Avro nor JSON"),
    (b"[" * 100_000, "neither Avro nor JSON"),
    (b"[]", "not the fields"),
    (b"{}", "not the fields"),
    (b'{"contact": 5}', "not the fields"),
]


@pytest.mark.parametrize(("value", "message"), UNDECODABLE)
def test_what_is_no_enriched_contact(value: bytes | None, message: str) -> None:
    """Told in words, without the value."""
    with pytest.raises(Undecodable, match=message):
        Reader(Registry(ENRICHED_CONTACT.text)).decode(value)


def test_bytes_behind_a_value() -> None:
    """Are no part of it: of a version that is known, and of one that is not."""
    value = Encoder().encode(SAMPLE)
    text = later(lambda raw: raw["fields"].append({"name": "x", "type": "int", "default": 0}))
    newer = b"\x00\x00\x00\x00\x01" + body(json.loads(text), {**msgspec.to_builtins(SAMPLE), "x": 1})
    reader = Reader(Registry(text))
    assert reader.decode(newer).contact.event_id == "e-1"
    for data in (value, newer):
        with pytest.raises(Undecodable, match="bytes follow"):
            reader.decode(data + b"\x00")
    with pytest.raises(Undecodable, match="ends in the middle of a field"):
        reader.decode(newer[:-1])


def test_headers_that_hold_no_id() -> None:
    """The value cannot be told without it."""
    for schema_id in (None, b"\x01", b"\x02" + bytes(16)):
        with pytest.raises(Undecodable, match="holds no schema id"):
            Reader().decode(b"x", [("__value_schema_id", schema_id)])


UNKNOWN = [
    ("{", "its schema is none"),
    ('"nope"', "its schema is none"),
    ('{"type": "record", "name": "R", "fields": []}', "describes R"),
    ('"string"', "describes string"),
]


@pytest.mark.parametrize(("text", "message"), UNKNOWN)
def test_schemas_that_are_none_of_an_enriched_contact(text: str, message: str) -> None:
    """Or no schemas at all."""
    with pytest.raises(UnknownSchema, match=message):
        Reader(Registry(text)).decode(b"\x00\x00\x00\x00\x01\x00")


def test_schemas_of_another_kind() -> None:
    """A registry has JSON Schemas, too; one that tells no kind means Avro."""
    with pytest.raises(UnknownSchema, match="no Avro schema"):
        Reader(Registry("{}", kind="JSON")).decode(b"\x00\x00\x00\x00\x01\x00")
    value, _ = framed(SAMPLE)[1]
    assert Reader(Registry(ENRICHED_CONTACT.text, kind=None)).decode(value).contact.event_id == "e-1"


def nested(levels: int) -> tuple[Offer, ...]:
    """Bundles within bundles."""
    offers: tuple[Offer, ...] = ()
    for _ in range(levels):
        offers = (Offer("x", bundle=offers),)
    return offers


def test_bundles_go_as_deep_as_the_worker_writes_them() -> None:
    """And no deeper, in Avro and in JSON."""
    deep = msgspec.structs.replace(
        SAMPLE, offer_history=msgspec.structs.replace(SAMPLE.offer_history, offers=nested(MAX_LEVELS))
    )
    for value, headers in framed(deep):
        read = Reader(Registry(ENRICHED_CONTACT.text)).decode(value, headers)
        assert in_terms_of_the_model(read) == deep
    too_deep = msgspec.structs.replace(
        SAMPLE, offer_history=msgspec.structs.replace(SAMPLE.offer_history, offers=nested(MAX_LEVELS + 1))
    )
    with pytest.raises(Undecodable):
        Reader().decode(msgspec.json.encode(too_deep))
    data = b"\xc3\x01" + ENRICHED_CONTACT.fingerprint + body(ENRICHED_CONTACT.raw, msgspec.to_builtins(too_deep))
    with pytest.raises(Undecodable):
        Reader().decode(data)


@given(st.binary(max_size=200).map(lambda data: b"\xc3\x01" + ENRICHED_CONTACT.fingerprint + data))
def test_any_bytes(data: bytes) -> None:
    """Are a value or refused."""
    try:
        read = Reader().decode(data)
    except Undecodable:
        return
    assert isinstance(read, EnrichedContact)


def test_a_hostile_schema_takes_no_memory() -> None:
    """An array of nulls in a version that claims to be ours."""
    text = later(lambda raw: raw["fields"].append({"name": "x", "type": {"type": "array", "items": "null"}}))
    data = body(json.loads(text), {**msgspec.to_builtins(SAMPLE), "x": []})[:-1] + b"\xfe\xff\xff\xff\xff\x7f"
    reader = Reader(Registry(text))
    tracemalloc.start()
    with pytest.raises(Undecodable, match="more values than it has bytes"):
        reader.decode(b"\x00\x00\x00\x00\x01" + data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


def test_it_imports_nothing_of_the_worker() -> None:
    """Neither the worker's parts nor what only they need."""
    heavy = "{'msgspec', 'pydantic', 'confluent_kafka', 'structlog', 'enricher.model', 'enricher.config'}"
    code = f"import sys, enricher.reader; print({heavy} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
