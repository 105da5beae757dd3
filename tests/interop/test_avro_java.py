"""The reference implementation of Avro and ours read what the other writes: 10,000 histories in each framing."""

import json
import random
from pathlib import Path

import msgspec
import pytest

from enricher.codec import Encoder
from enricher.history.wire import decode_history
from enricher.model import Enriched, Enrichment, Event, OfferHistory, Status
from enricher.reader import Reader
from enricher.schemas import ENRICHED_CONTACT
from enricher.testing.histories import GeneratedHistories
from tests.interop.avro_java import HERE, Framed, Java, read, write

pytestmark = [pytest.mark.java, pytest.mark.slow, pytest.mark.timeout(600)]

COUNT = 10_000
SINGLE, PREFIX, HEADER = 10, 5, 0  # bytes before the body


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


def in_every_framing(output: Enriched) -> list[Framed]:
    """As they are on the wire; of ids in a header only the body is in the value."""
    single = Encoder().encode(output)
    return [Framed(SINGLE, single), Framed(PREFIX, b"\0\0\0\0\1" + single[SINGLE:]), Framed(HEADER, single[SINGLE:])]


def test_java_reads_ours_and_we_read_javas(tmp_path: Path) -> None:
    """Value by value: what Java says that it has read, and what our reader makes of the bytes that Java writes."""
    java = Java(tmp_path)
    java.compile(HERE / "Interop.java")
    written = outputs()
    assert sum(len(output.offer_history.offers) for output in written) >= 10 * COUNT
    write(tmp_path / "ours", (framed for output in written for framed in in_every_framing(output)))
    (tmp_path / "schema").write_text(ENRICHED_CONTACT.text, "utf-8")
    java.run("Interop", tmp_path / "schema", tmp_path / "ours", tmp_path / "javas")

    reader = Reader(ids={1: 1})
    header: list[tuple[str, bytes | None]] = [("__value_schema_id", b"\0\0\0\0\1")]
    javas = read(tmp_path / "javas")
    for output in written:
        ours = msgspec.json.encode(output)
        builtins, typed = json.loads(ours), reader.decode(ours)
        for framing in (SINGLE, PREFIX, HEADER):
            theirs = next(javas)
            assert theirs.framing == framing
            assert json.loads(theirs.json) == builtins
            assert reader.decode(theirs.data, header if framing == HEADER else None) == typed
    assert next(javas, None) is None
