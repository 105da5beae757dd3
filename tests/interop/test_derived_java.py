"""The reference implementation of Avro and fastavro read derived outputs, in each framing, to the same values."""

import json
import random
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
import pytest

from enricher.avroschema.derived import derive
from enricher.codec import Decoder
from enricher.codec.derived import DerivedEncoder, DerivedOutputs, derived_schema
from enricher.codec.framing import Framing, fingerprint_of
from enricher.codec.writer_schemas import WriterSchema
from enricher.history.wire import decode_history
from enricher.model import Enriched, Enrichment, OfferHistory, Record, Status
from enricher.testing.histories import GeneratedHistories
from tests.avro_strategies import array, record
from tests.interop.avro_java import HERE, Framed, Java, read, write
from tests.interop.test_avro_java import GUID, HEADER, PREFIX, SINGLE, plain

pytestmark = [pytest.mark.java, pytest.mark.slow, pytest.mark.timeout(600)]

COUNT = 2_000
CALL = {
    **record(
        ("customerId", "string"),
        ("at", {"type": "long", "logicalType": "timestamp-millis"}),
        ("kind", {"type": "enum", "name": "Kind", "symbols": ["IN", "OUT"]}),
        ("agent", ["null", record(("id", "int"), ("skills", array("string")), name="Agent")]),
        ("score", ["null", "double", "string"]),
        ("last", "Agent"),
        name="Call",
    ),
    "namespace": "acme.calls",
}
KEY = fingerprint_of(CALL)
FRAMINGS = {
    SINGLE: Framing.single_object(fingerprint_of(derive(CALL))),
    PREFIX: Framing.prefixed(1),
    HEADER: Framing.headed(GUID.bytes),
}


def events() -> list[bytes]:
    """Bodies of the input."""
    rng = random.Random(7)
    schema = fastavro.parse_schema(json.loads(json.dumps(CALL)))
    made = []
    for number in range(COUNT):
        agent = {"id": rng.randrange(-(2**31), 2**31), "skills": ["é", "日本語", ""][: number % 4]}
        event = {
            "customerId": f"C{number}", "at": rng.randrange(2**41), "kind": rng.choice(["IN", "OUT"]),
            "agent": rng.choice([None, agent]), "score": rng.choice([None, rng.random(), "none"]), "last": agent,
        }  # fmt: skip
        stream = BytesIO()
        fastavro.schemaless_writer(stream, schema, event)
        made.append(stream.getvalue())
    return made


def outputs(bodies: list[bytes]) -> list[tuple[Framed, bytes]]:
    """In each framing, each with the body of the input that it was made of."""
    written = WriterSchema("AVRO", CALL)
    decoder = Decoder(schemas={KEY: CALL})
    histories = GeneratedHistories()
    made = []
    for framing, way in FRAMINGS.items():
        derived = DerivedOutputs({KEY: CALL})
        derived.add(KEY, derived_schema(written), way)
        encoder = DerivedEncoder(derived)
        for number, body in enumerate(bodies):
            source = Record("calls", 0, number, 1, None, b"\xc3\x01" + KEY + body, [])
            event = decoder.decode(source)
            offers = decode_history(histories.body(event.customer_id))
            history = OfferHistory(event.customer_id, 1, 2, offers)
            enriched = Enriched(event, history, Enrichment("calls", 0, number, "1.0", 1, Status.ENRICHED))
            made.append((Framed(framing, encoder.encode(enriched, source)), body))
    return made


def test_java_reads_derived_outputs(tmp_path: Path) -> None:
    """Value by value; what Java writes of them again is the same to the byte, and the input's record is in it."""
    java = Java(tmp_path)
    java.compile(HERE / "Interop.java")
    schema: Any = derive(CALL)
    made = outputs(events())
    write(tmp_path / "ours", (framed for framed, _ in made))
    (tmp_path / "schema").write_text(json.dumps(schema), "utf-8")
    java.run("Interop", tmp_path / "schema", tmp_path / "ours", tmp_path / "javas")

    parsed = fastavro.parse_schema(json.loads(json.dumps(schema)))
    offers = 0
    for (framed, body), theirs in zip(made, read(tmp_path / "javas"), strict=True):
        value = plain(fastavro.schemaless_reader(BytesIO(framed.data[framed.framing :]), parsed, None))
        offers += len(value["offerHistory"]["offers"])
        assert json.loads(theirs.json) == value
        assert theirs.data == framed.data
        assert framed.data[framed.framing :].startswith(body)
    assert offers >= 10 * COUNT
