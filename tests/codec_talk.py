"""How the tests of the codec talk to it: records of a value, and what was rejected."""

from io import BytesIO

import fastavro
import msgspec
import pytest

from enricher.codec import Decoder
from enricher.model import Enriched, Enrichment, Event, OfferHistory, Record, Rejected, Status
from enricher.schemas import CUSTOMER_CONTACT

TIMESTAMP = 1_790_000_000_123

_decoder = Decoder()


def record(value: bytes | None, *, timestamp: int = TIMESTAMP) -> Record:
    """A record at contacts-3@42."""
    return Record("contacts", 3, 42, timestamp, b"key", value, [])


def decode(value: bytes | None, decoder: Decoder = _decoder, *, timestamp: int = TIMESTAMP) -> Event:
    """The event in a value."""
    return decoder.decode(record(value, timestamp=timestamp))


def rejection(value: bytes | None, decoder: Decoder = _decoder, *, timestamp: int = TIMESTAMP) -> Rejected:
    """How a value is rejected."""
    with pytest.raises(Rejected) as caught:
        decode(value, decoder, timestamp=timestamp)
    assert caught.value.stage == "decode"
    return caught.value


def cause(value: bytes | None, decoder: Decoder = _decoder, *, timestamp: int = TIMESTAMP) -> str:
    """Why a value is rejected."""
    return rejection(value, decoder, timestamp=timestamp).cause


def single_object(event: Event) -> bytes:
    """The event in Avro's single-object encoding, by fastavro's own writer."""
    stream = BytesIO()
    fastavro.schemaless_writer(stream, CUSTOMER_CONTACT.parsed, msgspec.to_builtins(event))
    return b"\xc3\x01" + CUSTOMER_CONTACT.fingerprint + stream.getvalue()


def enriched_with(event: Event) -> Enriched:
    """An output with this event, and no history."""
    return Enriched(
        event,
        OfferHistory(event.customer_id, TIMESTAMP, TIMESTAMP),
        Enrichment("contacts", 3, 42, "1.0", 1, Status.NO_HISTORY),
    )
