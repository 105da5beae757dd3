"""Enriched events as bytes: what is written is read again, by us and by fastavro alone."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fastavro
import msgspec
import pytest
from hypothesis import given

from enricher.codec import Encoder, JsonEncoder, OutputReader, UndecodableOutput, decode_enriched
from enricher.codec.framing import Framing
from enricher.codec.output import SINGLE_OBJECT
from enricher.history.wire import MAX_DEPTH, decode_history
from enricher.model import Enriched, Enrichment, Event, Headers, Offer, OfferHistory, Record, Rejected, Status
from enricher.reader.building import MAX_LEVELS
from enricher.schemas import CUSTOMER_CONTACT, ENRICHED_CONTACT
from tests.strategies import enriched

RESPONSE = Path(__file__).parent.parent / "data" / "service" / "response.json"
HEADER = b"\xc3\x01" + ENRICHED_CONTACT.fingerprint
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def output(*offers: Offer, reason: str | None = None, offset: int = 42, status: Status = Status.ENRICHED) -> Enriched:
    """An enriched event with these offers."""
    return Enriched(
        Event("E1", "CONNOR", 1_790_000_000_000, reason=reason),
        OfferHistory("CONNOR", 1_790_000_000_500, 1_790_000_000_500, offers),
        Enrichment("contacts", 3, offset, "1.0", 1, status),
    )


def bundled(levels: int) -> Offer:
    """An offer in an offer in an offer."""
    offer = Offer("innermost")
    for _ in range(levels - 1):
        offer = Offer(bundle=(offer,))
    return offer


def in_plain_terms(value: Any) -> Any:
    """What fastavro makes of logical types, as the model has it."""
    if isinstance(value, datetime):
        return (value - EPOCH) // timedelta(milliseconds=1)
    if isinstance(value, dict):
        return {name: in_plain_terms(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [in_plain_terms(inner) for inner in value]
    return value


@given(value=enriched)
def test_any_output_comes_back(value: Enriched) -> None:
    """As it was written."""
    assert decode_enriched(Encoder().encode(value)) == value


@given(value=enriched)
def test_others_read_the_same(value: Enriched) -> None:
    """With the schema as it is published, logical types and all."""
    data = Encoder().encode(value)
    assert data.startswith(HEADER)
    stream = BytesIO(data[len(HEADER) :])
    assert in_plain_terms(fastavro.schemaless_reader(stream, ENRICHED_CONTACT.raw, None)) == in_plain_terms(
        msgspec.to_builtins(value)
    )
    assert stream.read() == b""


def test_the_documented_response() -> None:
    """From the service's own example to bytes and back, with its exact values."""
    value = output(*decode_history(RESPONSE.read_bytes()))
    read = decode_enriched(Encoder().encode(value))
    assert read == value
    assert read.offer_history.offers == (
        Offer(
            "Negotiation",
            "Negotiation",
            "Negotiation",
            "CallCenter",
            "Inbound",
            7_382_338_912_749_122_452,
            "S-13805",
            1_456_404_901_526,
            "Rejected",
            "Negative",
            "/Negotiation/Negotiation/Negotiation",
            (Offer("Handsets_fromGoogleNexus4"), Offer("DataPlan100Min"), Offer("MemoryCard_V2_M3")),
        ),
        Offer(
            "MI",
            "Sales",
            "Handsets",
            "CallCenter",
            "Inbound",
            -7_714_067_498_846_096_636,
            None,
            1_456_308_658_055,
            "Accepted",
            "Positive",
            "/Sales/Handsets/MI",
        ),
    )
    as_documented = [datetime(2016, 2, 25, 12, 55, 1, 526_000, UTC), datetime(2016, 2, 24, 10, 10, 58, 55_000, UTC)]
    assert [(moment - EPOCH) // timedelta(milliseconds=1) for moment in as_documented] == [
        offer.outcome_time for offer in read.offer_history.offers
    ]


@pytest.mark.parametrize("number", [-(2**63), -1, 0, 2**63 - 1])
def test_numbers_of_64_bits(number: int) -> None:
    """All of them can be written."""
    value = output(Offer(interaction_id=number), offset=number)
    assert decode_enriched(Encoder().encode(value)) == value


@pytest.mark.parametrize(
    ("value", "cause"),
    [
        (output(offset=2**63), "NotEncodable"),
        (output(Offer(interaction_id=2**63)), "NotEncodable"),
        (output(Offer(interaction_id=-(2**63) - 1)), "NotEncodable"),
        (output(Offer(outcome_time=2**64)), "NotEncodable"),
        (output(reason="half \ud800 of it"), "NotEncodable"),
        (output(Offer("\udfff")), "NotEncodable"),
        (output(Offer(bundle=(Offer(external_id="\ud800"),))), "NotEncodable"),
        (output(bundled(MAX_LEVELS + 1)), "TooDeep"),
        (output(bundled(5_000)), "TooDeep"),
    ],
)
def test_what_cannot_be_written_is_rejected(value: Enriched, cause: str) -> None:
    """With a name, and without a word of the customer, not even in what led to it."""
    with pytest.raises(Rejected) as caught:
        Encoder().encode(value)
    error = caught.value
    assert (error.stage, error.cause) == ("encode", cause)
    assert "CONNOR" not in error.message
    assert error.__cause__ is None
    assert error.__suppress_context__ or error.__context__ is None


def test_all_that_the_client_lets_through_can_be_written() -> None:
    """Its limit on bundles within bundles is not above the encoder's."""
    assert MAX_DEPTH <= MAX_LEVELS
    for levels in (1, MAX_DEPTH, MAX_LEVELS):
        value = output(bundled(levels), bundled(1))
        assert decode_enriched(Encoder().encode(value)) == value


def test_every_truncation_is_undecodable() -> None:
    """At each byte; so is a byte more."""
    data = Encoder().encode(output(Offer("A", bundle=(Offer("B"),))))
    for length in range(len(data)):
        with pytest.raises(UndecodableOutput):
            decode_enriched(data[:length])
    with pytest.raises(UndecodableOutput, match="bytes follow"):
        decode_enriched(data + b"\x00")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"{}", "not the fields of an enriched event"),
        (b"plain", "neither Avro nor JSON"),
        (b"\x00\x00\x00\x00\x01", "the id 1: give the reader a registry"),
        (b"\xc3", "does not begin with c3 01"),
        (b"\xc3\x01\x00", "does not begin with c3 01 and a fingerprint"),
        (b"\xc3\x01" + CUSTOMER_CONTACT.fingerprint + b"\x00", CUSTOMER_CONTACT.fingerprint.hex()),
        (HEADER, "ends in the middle"),
        (HEADER + b"\x02\xff" * 20, "not in UTF-8"),
        (HEADER + b"\x02a" * 8, "does not match the schema"),
    ],
)
def test_what_is_no_output(data: bytes, message: str) -> None:
    """The message says how it differs."""
    with pytest.raises(UndecodableOutput, match=message):
        decode_enriched(data)


def test_an_output_of_a_status_that_does_not_exist() -> None:
    """An index beyond the enum's symbols is no status."""
    data = Encoder().encode(output(status=Status.UNKNOWN))
    with pytest.raises(UndecodableOutput):
        decode_enriched(data[:-1] + b"\x08")


SOURCE = Record("contacts", 3, 42, 0, None, b"", [("a", b"1"), ("__value_schema_id", b"x"), ("b", None)])


@pytest.mark.parametrize(
    ("framing", "start", "headers"),
    [
        (Framing.prefixed(258), b"\x00\x00\x00\x01\x02", []),
        (Framing.headed(bytes(16)), b"", [("__value_schema_id", b"\x01" + bytes(16))]),
        (SINGLE_OBJECT, HEADER, []),
    ],
)
def test_framings(framing: Framing, start: bytes, headers: Headers) -> None:
    """What stands before the body, and what in the headers; the input's own header of that name goes."""
    encoder, value = Encoder(framing), output(Offer("A"))
    data = encoder.encode(value, SOURCE)
    assert data == start + Encoder().encode(value)[len(HEADER) :]
    assert encoder.headers(SOURCE) == [("a", b"1"), ("b", None), *headers]
    of_the_key: Headers = [("a", b"1"), ("__key_schema_id", b"\x01" + bytes(16))]
    plain = Record("contacts", 3, 42, 0, None, b"", of_the_key)
    assert encoder.headers(plain) == [*of_the_key, *headers]
    registry = SimpleNamespace(
        get_schema=lambda _: SimpleNamespace(schema_str=ENRICHED_CONTACT.text),
        get_schema_by_guid=lambda _: SimpleNamespace(schema_str=ENRICHED_CONTACT.text),
    )
    assert OutputReader(registry).decode(data, encoder.headers(SOURCE)) == value


@given(enriched)
def test_json(value: Enriched) -> None:
    """The same value, in JSON."""
    encoder = JsonEncoder()
    data = encoder.encode(value)
    assert decode_enriched(data) == value
    assert json.loads(data)["contact"]["contactTime"] == value.contact.contact_time
    assert encoder.headers(SOURCE) == [("a", b"1"), ("b", None)]


@pytest.mark.parametrize(
    ("value", "cause"), [(output(reason="\ud800"), "NotEncodable"), (output(bundled(MAX_LEVELS + 1)), "TooDeep")]
)
def test_what_json_cannot_say_is_rejected(value: Enriched, cause: str) -> None:
    """As in Avro."""
    with pytest.raises(Rejected) as caught:
        JsonEncoder().encode(value)
    assert (caught.value.stage, caught.value.cause) == ("encode", cause)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_hostile_bundles_do_not_end_the_process() -> None:
    """Bundles within bundles without end: fastavro would follow them until the C stack is full.

    In a process of its own, as the failure would take this one with it.
    """
    head = HEADER + b"\x02e\x02c\x02" + b"\x00" * 5 + b"\x02c\x02\x02"
    program = f"""
from enricher.codec import UndecodableOutput, decode_enriched
head = bytes.fromhex({head.hex()!r})
offer = b"\\x00" * 11
for levels in (1, {MAX_LEVELS}, {MAX_LEVELS + 1}, 1_000, 80_000):
    try:
        decode_enriched(head + (b"\\x02" + offer) * levels)
    except UndecodableOutput:
        print(levels)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()) == (0, ["1", str(MAX_LEVELS), str(MAX_LEVELS + 1), "1000", "80000"])
