"""Avro bodies of any schema: values as fastavro reads them, logical types as people write them, bounds on all."""

import json
import tracemalloc
from contextlib import suppress
from decimal import Decimal
from io import BytesIO
from typing import Any

import fastavro
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from enricher.avroschema import parse
from enricher.avroschema.values import Body, InvalidBody, reader
from tests.avro_strategies import array, record, schemas, value_of


def number(value: int) -> bytes:
    """A number in Avro's encoding."""
    zigzag = (value << 1) ^ (value >> 63)
    out = bytearray()
    while zigzag > 0x7F:
        out.append(zigzag & 0x7F | 0x80)
        zigzag >>= 7
    out.append(zigzag)
    return bytes(out)


def logical(kind: str, name: str, **more: Any) -> dict[str, Any]:
    """A primitive with a logical type."""
    return {"type": kind, "logicalType": name, **more}


def read(schema: Any, data: bytes) -> Any:
    """The value, all of whose bytes have to be read."""
    body = Body(b"before" + data, 6)
    value = reader(parse(schema))(body)
    assert body.position == len(body.data), "bytes are left"
    assert body.depth == 0
    return value


VALUES = [
    ("null", b"", None),
    ("boolean", b"\x00", False),
    ("boolean", b"\x01", True),
    ("int", number(-1), -1),
    ("long", number(2**63 - 1), 2**63 - 1),
    ("long", number(-(2**63)), -(2**63)),
    ("float", b"\x00\x00\x80\x3f", 1.0),
    ("double", b"\x00\x00\x00\x00\x00\x00\xf0\x7f", "Infinity"),
    ("double", b"\x00\x00\x00\x00\x00\x00\xf0\xff", "-Infinity"),
    ("float", b"\x00\x00\xc0\x7f", "NaN"),
    ("bytes", b"\x04\x00\xff", b"\x00\xff"),
    ("string", "\x04é".encode(), "é"),
    (["null", "string"], b"\x02\x02a", "a"),
    (array("int"), b"\x04\x02\x04\x01\x02\x06\x00", [1, 2, 3]),
    ({"type": "map", "values": "int"}, b"\x02\x02a\x02\x00", {"a": 1}),
    ({"type": "enum", "name": "E", "symbols": ["A", "B"]}, b"\x02", "B"),
    ({"type": "fixed", "name": "F", "size": 2}, b"ab", b"ab"),
    (record(("a", "int"), ("b", "null")), b"\x02", {"a": 1, "b": None}),
    (
        record(("v", "int"), ("next", ["null", "R"])),
        b"\x02\x02\x04\x00",
        {"v": 1, "next": {"v": 2, "next": None}},
    ),
    (logical("int", "date"), number(20_000), "2024-10-04"),
    (logical("int", "date"), number(-719_162), "0001-01-01"),
    (logical("int", "date"), number(2**31 - 1), 2**31 - 1),
    (logical("int", "time-millis"), number(86_399_999), "23:59:59.999"),
    (logical("int", "time-millis"), number(60_000), "00:01:00"),
    (logical("int", "time-millis"), number(-1), -1),
    (logical("int", "time-millis"), number(86_400_000), 86_400_000),
    (logical("long", "time-micros"), number(1), "00:00:00.000001"),
    (logical("long", "timestamp-millis"), number(0), "1970-01-01T00:00:00Z"),
    (logical("long", "timestamp-millis"), number(-1), "1969-12-31T23:59:59.999Z"),
    (logical("long", "timestamp-millis"), number(-62_135_596_800_000), "0001-01-01T00:00:00Z"),
    (logical("long", "timestamp-millis"), number(2**62), 2**62),
    (logical("long", "timestamp-micros"), number(1_000_001), "1970-01-01T00:00:01.000001Z"),
    (logical("long", "timestamp-nanos"), number(1), "1970-01-01T00:00:00.000000001Z"),
    (logical("long", "local-timestamp-millis"), number(1), "1970-01-01T00:00:00.001"),
    (logical("bytes", "decimal", precision=6, scale=2), b"\x04\xff\x85", Decimal("-1.23")),
    (logical("bytes", "big-decimal"), b"\x08\x04\xff\x85\x04", Decimal("-1.23")),
    (logical("bytes", "big-decimal"), b"\x06\x02\x07\x03", Decimal("7E+2")),
    (
        {"type": "fixed", "name": "D", "size": 3, "logicalType": "decimal", "precision": 6},
        b"\x00\x00\x07",
        Decimal(7),
    ),
    (
        {"type": "fixed", "name": "U", "size": 16, "logicalType": "uuid"},
        bytes(range(16)),
        "00010203-0405-0607-0809-0a0b0c0d0e0f",
    ),
    (logical("string", "uuid"), b"\x02x", "x"),
    (
        {"type": "fixed", "name": "P", "size": 12, "logicalType": "duration"},
        b"\x01\x00\x00\x00\x02\x00\x00\x00\x03\x00\x00\x00",
        {"months": 1, "days": 2, "milliseconds": 3},
    ),
]


@pytest.mark.parametrize(("schema", "data", "value"), VALUES)
def test_values(schema: Any, data: bytes, value: Any) -> None:
    """One of each type."""
    assert read(schema, data) == value
    assert type(read(schema, data)) is type(value)


def doubled(levels: int) -> Any:
    """Records of two records each, which hold nothing in the end."""
    inner: Any = record(name="R0")
    for level in range(1, levels):
        inner = record(("a", inner), ("b", f"R{level - 1}"), name=f"R{level}")
    return inner


BROKEN = [
    ("int", b"", "ends in the middle"),
    ("int", b"\x80", "ends in the middle"),
    ("long", b"\x80" * 11, "more than 64 bits"),
    ("long", b"\x80" * 1_000_000, "more than 64 bits"),
    ("boolean", b"\x02", "neither true nor false"),
    ("double", b"\x00" * 7, "ends in the middle"),
    ("string", b"\x01", "ends in the middle"),
    ("string", b"\x04a", "ends in the middle"),
    ("string", b"\x02\xff", "not in UTF-8"),
    (["null", "int"], b"\x04", "a branch"),
    (["null", "int"], b"\x01", "a branch"),
    ({"type": "enum", "name": "E", "symbols": ["A"]}, b"\x02", "a symbol"),
    (logical("bytes", "decimal", precision=2), number(600) + bytes(600), "a decimal of more than 512 bytes"),
    (logical("bytes", "big-decimal"), b"\x06\x04\xff\x85", "ends in the middle"),
    (logical("bytes", "big-decimal"), b"\x08\x02\x07\x04\x00", "a big decimal that is none"),
    (logical("bytes", "big-decimal"), number(8) + b"\x02\x07" + number(2**40), "a big decimal that is none"),
    (logical("bytes", "big-decimal"), number(603) + number(600) + bytes(600) + b"\x00", "a big decimal that is none"),
    (array("null"), number(2**62), "more values than it has bytes"),
    (array("null"), number(-(2**62)) + number(0), "more values than it has bytes"),
    (array(record()), number(2**62), "more values than it has bytes"),
    (array({"type": "fixed", "name": "F", "size": 0}), number(2**40), "more values than it has bytes"),
    (array(array("null")), number(2**40) + number(2**40), "more values than it has bytes"),
    (doubled(40), b"", "more values than it has bytes"),
    ({"type": "map", "values": "null"}, number(2**62) + b"\x02a", "ends in the middle"),
    (record(("next", ["null", "R"])), b"\x02" * 1000 + b"\x00", "more than 100 records and collections"),
    (record(("next", "R")), b"", "more than 100 records and collections"),
]


@pytest.mark.parametrize(("schema", "data", "message"), BROKEN)
def test_broken_and_hostile_bodies(schema: Any, data: bytes, message: str) -> None:
    """Refused with what is wrong, before they take memory."""
    decode = reader(parse(schema))
    tracemalloc.start()
    with pytest.raises(InvalidBody, match=message):
        decode(Body(data, 0))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 500_000 + 4 * len(data)


def test_what_takes_no_bytes_may_come_now_and_then() -> None:
    """A thousand nulls are none too many."""
    assert read(array("null"), number(900) + b"\x00") == [None] * 900


unhurried = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])


@unhurried
@given(st.data())
def test_fastavro_writes_what_is_read(data: st.DataObject) -> None:
    """Whatever the schema, the same value."""
    schema = data.draw(schemas())
    value = value_of(data.draw, schema)
    stream = BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(json.loads(json.dumps(schema))), value)
    assert read(schema, stream.getvalue()) == value


@unhurried
@given(schemas(), st.binary(max_size=60))
def test_any_bytes(schema: Any, data: bytes) -> None:
    """They are a value, or refused in words."""
    with suppress(InvalidBody):
        reader(parse(schema))(Body(data, 0))
