"""Events in Avro: round trips, and bytes that are cut, prolonged or hostile."""

import tracemalloc
from time import process_time

import pytest
from hypothesis import given

from enricher.codec import Decoder
from enricher.model import Event
from enricher.schemas import CUSTOMER_CONTACT
from tests.codec_talk import cause, decode, rejection, single_object
from tests.strategies import FIRST_INSTANT, LAST_INSTANT, events

HEADER = b"\xc3\x01" + CUSTOMER_CONTACT.fingerprint
CONTACT = Event("E1", "C1", 1_790_000_000_000, "Web", None, "Upgrade", None, {"a": "1", "b": "x"})
IDS = b"\x02e\x02c"
FIELDS = IDS + b"\x02" + b"\x00" * 4
"""A contact up to its attributes."""


def number(value: int) -> bytes:
    """A long as Avro has it: zigzag, seven bits a byte."""
    rest = ((value << 1) ^ (value >> 63)) & (2**64 - 1)
    encoded = bytearray()
    while rest > 127:
        encoded.append(rest & 127 | 128)
        rest >>= 7
    return bytes(encoded) + bytes([rest])


@given(event=events)
def test_any_contact_comes_back(event: Event) -> None:
    """As it was written."""
    assert decode(single_object(event)) == event


def test_every_truncation_is_rejected() -> None:
    """At each byte, with a cause that says how far it got."""
    value = single_object(CONTACT)
    causes = [cause(value[:length]) for length in range(len(value))]
    expected = ["EmptyValue", *["UnknownEncoding"] * 9, *["InvalidAvro"] * (len(value) - 10)]
    assert causes == expected


def test_bytes_behind_the_body_are_rejected() -> None:
    """Nothing of the input is lost unnoticed."""
    for count in (1, 2, 100):
        rejected = rejection(single_object(CONTACT) + b"\x00" * count)
        assert (rejected.cause, rejected.message) == ("InvalidAvro", f"{count} bytes follow the Avro body")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"\xc3\x02" + CUSTOMER_CONTACT.fingerprint + b"\x00", "UnknownEncoding"),
        (b"\xc3\x01" + b"\x00" * 8 + b"\x02a", "UnknownFingerprint"),
        (b"\x00\x00\x00\x30\x39\x02a", "UnknownSchemaId"),
        (b"\x00\x00\x00\x30", "UnknownEncoding"),
        (HEADER + b"\x00\x02c\x02" + b"\x00" * 5, "InvalidEventId"),
        (HEADER + b"\x02e\x00\x02" + b"\x00" * 5, "InvalidCustomerId"),
        (HEADER + b"\x02e\x02 \x02" + b"\x00" * 5, "InvalidCustomerId"),
        (HEADER + b"\x02e\x02\xff\x02" + b"\x00" * 5, "InvalidAvro"),
        (HEADER + IDS + number(FIRST_INSTANT - 1) + b"\x00" * 5, "InvalidEventTime"),
        (HEADER + IDS + number(LAST_INSTANT + 1) + b"\x00" * 5, "InvalidEventTime"),
        (HEADER + IDS + number(2**63 - 1) + b"\x00" * 5, "InvalidEventTime"),
    ],
)
def test_causes(value: bytes, expected: str) -> None:
    """Each has its name and a message."""
    rejected = rejection(value)
    assert rejected.cause == expected
    assert len(rejected.message) > 20


def test_messages_name_the_schema() -> None:
    """So that the producer's schema can be looked for."""
    assert "12345" in rejection(b"\x00\x00\x00\x30\x39\x02a").message
    unknown = rejection(b"\xc3\x01" + bytes(range(8)) + b"\x02a").message
    assert "0001020304050607" in unknown
    assert CUSTOMER_CONTACT.fingerprint.hex() in unknown


@pytest.mark.parametrize("time", [FIRST_INSTANT, -1, 0, LAST_INSTANT])
def test_instants_in_range(time: int) -> None:
    """The years 1 to 9999, as in JSON."""
    assert decode(HEADER + IDS + number(time) + b"\x00" * 5).contact_time == time


@pytest.mark.parametrize("field", range(4))
@pytest.mark.parametrize("index", [2, 3, 64, 2**31, 2**62, -(2**63)])
def test_a_union_index_out_of_range(field: int, index: int) -> None:
    """There is no such branch."""
    body = IDS + b"\x02" + b"\x00" * field + number(index) + b"\x02x" + b"\x00" * 8
    assert cause(HEADER + body) == "InvalidAvro"


HOSTILE = {
    "an endless block": FIELDS + number(2**62) + b"\x02k\x02v" * 10,
    "the largest block": FIELDS + number(2**63 - 1),
    "the smallest block": FIELDS + number(-(2**63)) + number(2**40),
    "a block of a negative size": FIELDS + number(-(2**40)) + number(-5) + b"\x02k\x02v",
    "an endless text": number(2**62) + b"text",
    "the largest text": number(2**63 - 1) + b"text",
    "a text of a negative length": number(-4) + b"text" + b"\x00" * 20,
    "the smallest text": number(-(2**63)) + b"text" + b"\x00" * 20,
    "a value of a negative length": FIELDS + number(1) + b"\x02k" + number(-1) + b"\x00",
    "an endless number": b"\x80" * 1_000_000,
    "a number of a million bytes": FIELDS + b"\x80" * 1_000_000 + b"\x01",
    "a number of a million bytes, all ones": FIELDS + b"\xff" * 1_000_000 + b"\x01",
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_bodies(body: bytes) -> None:
    """They are rejected with no more memory than the value has several times over, and quickly."""
    value = HEADER + body
    decode(single_object(CONTACT))  # what is allocated once does not count
    tracemalloc.start()
    start = process_time()
    assert cause(value) == "InvalidAvro"
    assert process_time() - start < 2
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100_000 + 4 * len(value)


def test_blocks_in_either_form() -> None:
    """A map may be in several blocks, with or without their sizes; the last of a repeated key counts."""
    body = FIELDS + number(1) + b"\x02a\x02x" + number(-2) + number(8) + b"\x02b\x02y\x02a\x02z" + b"\x00"
    assert decode(HEADER + body).attributes == {"a": "z", "b": "y"}


def test_a_map_of_nothing_but_empty_texts() -> None:
    """The least that an element takes is two bytes: no bytes, no elements."""
    start = process_time()
    event = decode(HEADER + FIELDS + number(500_000) + b"\x00\x00" * 500_000 + b"\x00")
    assert (event.attributes, process_time() - start < 5) == ({"": ""}, True)


def test_a_closing_byte_more_or_less() -> None:
    """The end of the map belongs to the value."""
    assert decode(HEADER + FIELDS + b"\x00") == Event("e", "c", 1)
    assert cause(HEADER + FIELDS) == "InvalidAvro"


def test_avro_where_only_avro_is_read() -> None:
    """As asked for in the settings."""
    assert decode(single_object(CONTACT), Decoder(encoding="avro")) == CONTACT
