"""Our writer of enriched events writes what fastavro writes, byte for byte."""

from io import BytesIO

import fastavro
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from enricher.codec import avro_writer
from enricher.codec.avro_writer import TooDeep, write_enriched
from enricher.model import Enriched, Event, Offer, OfferHistory, Status
from enricher.schemas import ENRICHED_CONTACT
from tests.codec_talk import enriched_with
from tests.strategies import INT64, enriched

SCHEMA = fastavro.parse_schema(ENRICHED_CONTACT.raw)
LEVELS = 16


def by_fastavro(value: Enriched) -> bytes:
    """The reference."""
    stream = BytesIO()
    fastavro.schemaless_writer(stream, SCHEMA, msgspec.to_builtins(value))
    return stream.getvalue()


def with_offers(*offers: Offer) -> Enriched:
    """An output with these offers."""
    value = enriched_with(Event("E1", "C1", 1))
    return msgspec.structs.replace(value, offer_history=OfferHistory("C1", 2, 3, offers))


@given(value=enriched)
def test_any_output(value: Enriched) -> None:
    """Whatever its values."""
    assert write_enriched(value, LEVELS) == by_fastavro(value)


@given(number=INT64)
def test_any_number(number: int) -> None:
    """Of 64 bits."""
    value = with_offers(Offer(interaction_id=number))
    assert write_enriched(value, LEVELS) == by_fastavro(value)


@pytest.mark.parametrize("bits", range(64))
def test_numbers_at_each_length(bits: int) -> None:
    """Around each power of two, where the number of bytes changes."""
    numbers = [n for n in (2**bits - 1, 2**bits, -(2**bits), -(2**bits) - 1) if -(2**63) <= n < 2**63]
    value = with_offers(*(Offer(interaction_id=number, outcome_time=number) for number in numbers))
    assert write_enriched(value, LEVELS) == by_fastavro(value)


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 2**200])
def test_numbers_that_are_too_large(number: int) -> None:
    """They are refused and not cut."""
    with pytest.raises(OverflowError):
        write_enriched(with_offers(Offer(interaction_id=number)), LEVELS)


@pytest.mark.parametrize(
    "value",
    [
        enriched_with(Event("E", "C", 0)),
        enriched_with(Event("E", "C", -1, "Web", "Inbound", "", "A-1", {"a": "", "": "b", "\u00e4": "\U0001f600"})),
        with_offers(Offer(), Offer("N", external_id="S-1", bundle=(Offer("B"), Offer(bundle=(Offer(),)))), Offer("N")),
        with_offers(*(Offer(f"N{n}") for n in range(200))),
        with_offers(Offer("long" * 16), Offer("longer" * 16), Offer("longest" * 10_000), Offer("longer" * 16)),
    ],
)
def test_shapes(value: Enriched) -> None:
    """Nothing in it, everything in it, bundles, many offers, long texts."""
    assert write_enriched(value, LEVELS) == by_fastavro(value)


@pytest.mark.parametrize("status", Status)
def test_each_status(status: Status) -> None:
    """The enum's order is the schema's."""
    value = enriched_with(Event("E", "C", 0))
    value = msgspec.structs.replace(value, enrichment=msgspec.structs.replace(value.enrichment, status=status))
    assert write_enriched(value, LEVELS) == by_fastavro(value)


def test_bundles_end_at_the_limit() -> None:
    """So that nothing is written that a reader would follow too deep."""
    value = with_offers(Offer("A", bundle=(Offer("B"),)))
    assert write_enriched(value, 2) == by_fastavro(value)
    with pytest.raises(TooDeep):
        write_enriched(value, 1)


@given(texts=st.lists(st.text(max_size=6), min_size=1, max_size=30))
def test_texts_that_are_remembered_are_bounded(texts: list[str]) -> None:
    """The same bytes come from a memory that is full, and it holds no more than it may."""
    remembered = avro_writer._Texts()
    remembered.MOST, remembered.LONGEST = 4, 4
    for text in texts * 2:
        assert remembered[text] == avro_writer.write_text(text)
        assert len(remembered) <= 4
        assert all(len(known) <= 4 for known in remembered)


def test_a_full_memory_of_texts_begins_anew() -> None:
    """As it is held to by the property above, in plain terms."""
    remembered = avro_writer._Texts()
    remembered.MOST = 2
    for text in ("a", "b", "c"):
        assert remembered[text] == b"\x02" + text.encode()
    assert set(remembered) == {"c"}
