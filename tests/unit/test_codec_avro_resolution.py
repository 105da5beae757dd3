"""Contacts of any version that resolves to ours are read by the rules of resolution, with fastavro as the measure."""

from io import BytesIO
from typing import Any

import fastavro
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from enricher.codec import Decoder, attribute_value
from enricher.codec.avro_input import without_logical_types
from enricher.codec.framing import MARKER, fingerprint_of
from enricher.codec.writer_schemas import KnownSchemas, WriterSchema
from enricher.model import Event, Record
from enricher.schemas import CUSTOMER_CONTACT
from tests.codec_talk import TIMESTAMP
from tests.strategies import events

GUID = bytes(range(16))
READER = fastavro.parse_schema(without_logical_types(CUSTOMER_CONTACT.raw))

TEXT = ["string", ["null", "string"], ["string", "null"], "bytes", ["bytes", "null"], ["null", "bytes", "string"]]
TYPES: dict[str, list[Any]] = {
    "eventId": TEXT,
    "customerId": TEXT,
    "contactTime": [
        "long",
        "int",
        ["null", "long"],
        ["int", "long"],
        {"type": "long", "logicalType": "timestamp-millis"},
    ],
    "channel": ["null", *TEXT],
    "direction": TEXT,
    "reason": TEXT,
    "agentId": TEXT,
    "attributes": [
        {"type": "map", "values": "string"},
        {"type": "map", "values": "bytes"},
        [{"type": "map", "values": "string"}, "null"],
    ],
}
"""What may be written in a field that is read as ours; values are chosen to fit."""

REQUIRED = ("eventId", "customerId", "contactTime")

ADDED: dict[str, tuple[Any, Any, Any]] = {
    "tier": ({"type": "enum", "name": "Tier", "symbols": ["GOLD", "TIN"]}, "TIN", "TIN"),
    "amount": ({"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}, b"\x04\xce", 12.3),
    "lines": ({"type": "array", "items": ["null", "int"]}, [1, None], [1, None]),
    "shop": (
        {"type": "record", "name": "Shop", "fields": [{"name": "id", "type": "long"}, {"name": "near", "type": [
            "null", "Shop"]}]},
        {"id": 1, "near": {"id": 2, "near": None}},
        {"id": 1, "near": {"id": 2, "near": None}},
    ),
    "due": (["null", {"type": "int", "logicalType": "date"}], 20_000, "2024-10-04"),
    "digest": ({"type": "fixed", "name": "Digest", "size": 2}, b"\x00\xff", "AP8="),
    "score": ("double", 0.5, 0.5),
}  # fmt: skip
"""Fields that are new to us: type, value as it is written, value as it is found in the attributes."""


@st.composite
def written(draw: st.DrawFn) -> tuple[dict[str, Any], bytes, Any, list[str]]:
    """A version of the contact, a value of it, what a reader with ours sees, and which fields are new to us."""
    event = draw(events)
    if draw(st.booleans()):
        event = msgspec.structs.replace(event, contact_time=draw(st.integers(-(2**31), 2**31 - 1)))
    value: dict[str, Any] = {}
    fields = []
    plain = msgspec.to_builtins(event)
    for name, types in TYPES.items():
        fitting = [kind for kind in types if _fits(plain[name], kind)]
        if not fitting or (name not in REQUIRED and draw(st.booleans())):
            continue
        kind = draw(st.sampled_from(fitting))
        fields.append({"name": name, "type": kind})
        value[name] = _as(plain[name], kind)
    added = draw(st.lists(st.sampled_from(sorted(ADDED)), unique=True))
    for name in added:
        fields.append({"name": name, "type": ADDED[name][0]})
        value[name] = ADDED[name][1]
    raw = {
        "type": "record",
        "name": "CustomerContact",
        "namespace": "enricher",
        "fields": draw(st.permutations(fields)),
    }
    stream = BytesIO()
    plain_raw = fastavro.parse_schema(without_logical_types(raw))
    fastavro.schemaless_writer(stream, plain_raw, value)
    stream.seek(0)
    return raw, stream.getvalue(), fastavro.schemaless_reader(stream, plain_raw, READER), added


def _kinds(kind: Any) -> list[Any]:
    return kind if isinstance(kind, list) else [kind]


def _fits(value: Any, kind: Any) -> bool:
    names = [one if isinstance(one, str) else one["type"] for one in _kinds(kind)]
    if value is None:
        return "null" in names
    if isinstance(value, int):
        return "long" in names or ("int" in names and -(2**31) <= value < 2**31)
    return names != ["null"]


def _as(value: Any, kind: Any) -> Any:
    """The value as fastavro wants it for that type: bytes where there are no texts."""
    kinds = _kinds(kind)
    if isinstance(value, str) and "string" not in kinds:
        return value.encode()
    if isinstance(value, dict) and {"type": "map", "values": "bytes"} in kinds:
        return {name: text.encode() for name, text in value.items()}
    return value


@pytest.mark.parametrize("how", ["single", "prefix", "header"])
@given(written())
def test_a_version_that_resolves_to_ours(how: str, given_: tuple[dict[str, Any], bytes, Any, list[str]]) -> None:
    """Each field is what a reader with our schema sees, and each that is new to us is kept by its meaning."""
    raw, body, expected, added = given_
    known = KnownSchemas()
    known.add(7, WriterSchema("AVRO", raw))
    known.add(GUID, WriterSchema("AVRO", raw))
    decoder = Decoder(schemas={fingerprint_of(raw): raw}, registry=known)
    headers: list[tuple[str, bytes | None]] = [("__value_schema_id", b"\x01" + GUID)] if how == "header" else []
    before = {"single": MARKER + fingerprint_of(raw), "prefix": b"\x00\x00\x00\x00\x07", "header": b""}[how]
    event = decoder.decode(Record("contacts", 3, 42, TIMESTAMP, b"key", before + body, headers))
    attributes = dict(event.attributes)
    for name in added:
        kept = f"/{name}" if name in expected["attributes"] else name
        assert attribute_value(attributes.pop(kept)) == ADDED[name][2]
    assert msgspec.structs.replace(event, attributes=attributes) == msgspec.convert(expected, Event)
