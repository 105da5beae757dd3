"""The reference implementation of Avro, fastavro and we read the same: 10,000 histories in each framing."""

import json
import random
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import UUID

import fastavro
import msgspec
import pytest
from fastavro.schema import fingerprint, to_parsing_canonical_form

from enricher.codec import Encoder
from enricher.codec.framing import Framing
from enricher.history.wire import decode_history
from enricher.model import Enriched, Enrichment, Event, OfferHistory, Record, Status
from enricher.reader import Reader
from enricher.schemas import ENRICHED_CONTACT
from enricher.testing.histories import GeneratedHistories
from tests.interop.avro_java import HERE, Framed, Java, read, write

pytestmark = [pytest.mark.java, pytest.mark.slow, pytest.mark.timeout(600)]

COUNT = 10_000
SINGLE, PREFIX, HEADER = 10, 5, 0  # bytes before the body
GUID = UUID(int=7)
FINGERPRINT = bytes.fromhex(fingerprint(to_parsing_canonical_form(ENRICHED_CONTACT.raw), "CRC-64-AVRO"))


def outputs() -> list[Enriched]:
    """Generated ones, with what is hard among them: odd texts, the ends of numbers, bundles, nothing at all."""
    rng = random.Random(7)
    histories = GeneratedHistories()
    texts = ["", "Web", "é", "日本語", "🎉", '"quoted"', "a\\b\n", "\u2028", "x" * 200]
    made = []
    for number in range(COUNT):
        offers = decode_history(histories.body(f"C{number}"))
        text = rng.choice(texts)
        contact = Event(
            f"e-{number}", f"C{number}", rng.randrange(-(2**40), 2**41), rng.choice([None, text]),
            rng.choice([None, "Inbound"]), text, None, {f"k{n}": rng.choice(texts) for n in range(number % 4)},
        )  # fmt: skip
        made.append(
            Enriched(
                contact,
                OfferHistory(contact.customer_id, rng.randrange(2**41), rng.randrange(2**41), offers),
                Enrichment("contacts", number % 7, rng.randrange(2**63), "1.0", 1, rng.choice(list(Status))),
            )
        )
    return made


ENCODERS = {
    SINGLE: Encoder(),
    PREFIX: Encoder(Framing.prefixed(1)),
    HEADER: Encoder(Framing.headed(GUID.bytes)),
}


def in_every_framing(output: Enriched) -> list[Framed]:
    """As they are on the wire; of ids in a header only the body is in the value."""
    return [Framed(framing, encoder.encode(output)) for framing, encoder in ENCODERS.items()]


def plain(value: Any) -> Any:
    """What fastavro reads, with the instants as Avro has them."""
    if isinstance(value, datetime):
        return (value - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list) else value


def read_by_fastavro(framed: Framed) -> Any:
    """The value behind the framing, with the schema as it is published; nothing is left behind it."""
    stream = BytesIO(framed.data)
    start = stream.read(framed.framing)
    assert start == {SINGLE: b"\xc3\x01" + FINGERPRINT, PREFIX: b"\0\0\0\0\1", HEADER: b""}[framed.framing]
    value = fastavro.schemaless_reader(stream, ENRICHED_CONTACT.parsed, None)
    assert stream.read() == b""
    return plain(value)


def test_java_reads_ours_and_we_read_javas(tmp_path: Path) -> None:
    """Value by value: what Java and fastavro say that they have read, and what our reader makes of what Java writes."""
    java = Java(tmp_path)
    java.compile(HERE / "Interop.java")
    written = outputs()
    assert sum(len(output.offer_history.offers) for output in written) >= 10 * COUNT
    write(tmp_path / "ours", (framed for output in written for framed in in_every_framing(output)))
    (tmp_path / "schema").write_text(ENRICHED_CONTACT.text, "utf-8")
    java.run("Interop", tmp_path / "schema", tmp_path / "ours", tmp_path / "javas")

    reader = Reader(ids={1: 1, GUID: 1})
    source = Record("contacts", 0, 0, 0, None, b"", [])
    javas = read(tmp_path / "javas")
    for output in written:
        ours = msgspec.json.encode(output)
        builtins, typed = json.loads(ours), reader.decode(ours)
        for framed in in_every_framing(output):
            theirs = next(javas)
            assert theirs.framing == framed.framing
            assert json.loads(theirs.json) == read_by_fastavro(framed) == builtins
            assert reader.decode(theirs.data, ENCODERS[framed.framing].headers(source)) == typed
    assert next(javas, None) is None
