"""What docs/downstream.md tells people of Java and of Kafka Connect, tried with Kafka's own libraries."""

import json
import re
from io import BytesIO
from pathlib import Path

import fastavro
import msgspec
import pytest

from enricher.codec import Encoder, JsonEncoder
from enricher.model import Enriched, Enrichment, Event, Offer, OfferHistory, Status
from enricher.schemas import ENRICHED_CONTACT, schema_of
from tests.conftest import MakeTopic, StartProgram
from tests.harness.broker import KafkaBroker
from tests.harness.clients import Sent, produce
from tests.harness.waiting import wait_until
from tests.interop.avro_java import HERE, Java

DOCS = Path(__file__).parents[2] / "docs"
EXAMPLE = DOCS / "examples" / "downstream" / "ReadEnriched.java"
PAGE = (DOCS / "downstream.md").read_text("utf-8")


def output(name: str, status: Status = Status.ENRICHED) -> Enriched:
    """An output with one accepted offer, unless there is none."""
    offers = (Offer("UltraMobile", outcome="Accepted", interaction_id=-(2**63)), Offer("Other", outcome="Rejected"))
    event = Event(name, "CONNOR", 1_700_000_000_123, reason="é", attributes={"n": "1.5"})
    history = OfferHistory("CONNOR", 1, 1, offers if status is Status.ENRICHED else ())
    return Enriched(event, history, Enrichment("in", 0, 7, "1", 1, status))


def of_a_later_version(value: Enriched, text: str) -> bytes:
    """A single object of another version."""
    schema = schema_of(text, "EnrichedContact", 2)
    body = BytesIO()
    fastavro.schemaless_writer(body, schema.parsed, {**msgspec.to_builtins(value), "added": 7})
    return b"\xc3\x01" + schema.fingerprint + body.getvalue()


def blocks(language: str) -> list[str]:
    """The page's code in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_what_the_page_shows_is_in_the_example() -> None:
    """Line by line, so that it compiles as the example does."""
    lines = {line.strip() for line in EXAMPLE.read_text("utf-8").splitlines()}
    [shown] = blocks("java")
    assert [line for line in shown.splitlines() if line.strip() not in lines] == []


@pytest.mark.java
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_java_example_reads_the_topic(
    kafka: KafkaBroker, make_topic: MakeTopic, start_program: StartProgram, tmp_path: Path
) -> None:
    """Compiled and run as it stands there, against a topic with two versions and a value of something else."""
    java, topic = Java(tmp_path), make_topic("enriched")
    java.compile(EXAMPLE)
    later = json.loads(ENRICHED_CONTACT.text)
    later["fields"].append({"name": "added", "type": "int", "default": 0})
    current, other = tmp_path / "EnrichedContact.avsc", tmp_path / "later.avsc"
    current.write_text(ENRICHED_CONTACT.text, "utf-8")
    other.write_text(json.dumps(later), "utf-8")
    encode = Encoder().encode
    values = [
        encode(output("E-1")),
        encode(output("E-2", Status.UNAVAILABLE)),
        b"{}",
        of_a_later_version(output("E-3"), other.read_text("utf-8")),
        encode(output("E-4", Status.NO_HISTORY)),
    ]
    produce(kafka.bootstrap_servers, topic, [Sent(b"k", value) for value in values], compression_type="lz4")
    program = start_program(
        kafka.bootstrap_servers, topic, str(current), str(other), command=java.command("ReadEnriched")
    )
    wait_until(lambda: len(program.out) >= 4 or not program.running, "the example's lines", 120)
    time = "2023-11-14T22:13:20.123Z"
    first, skipped, third, fourth = program.out
    assert [first, third, fourth] == [f"E-1 {time} [UltraMobile]", f"E-3 {time} [UltraMobile]", f"E-4 {time} []"]
    assert skipped.startswith(f"skipped {topic}[0]@2: ")


@pytest.mark.java
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_kafka_connect_reads_json_as_it_is_configured_there(tmp_path: Path) -> None:
    """By the converter of the sink for JSON, with its settings: 64-bit numbers and all."""
    java = Java(tmp_path)
    java.compile(HERE / "ReadAsConnect.java")
    _avro, configured = map(json.loads, blocks("json"))
    prefix = "value.converter."
    told = {name.removeprefix(prefix): value for name, value in configured.items() if name.startswith(prefix)}
    values = [JsonEncoder().encode(output(f"E-{status}", status)) for status in Status]
    (tmp_path / "values").write_bytes(b"\n".join(values))
    told["class"] = configured["value.converter"]
    read = java.run("ReadAsConnect", json.dumps(told), tmp_path / "values").splitlines()
    assert [json.loads(line) for line in read] == [json.loads(value) for value in values]


def test_the_configurations_say_what_their_connectors_require() -> None:
    """What has no default there, by the connectors' documentation; and both leave out what was aborted."""
    required = {
        "io.confluent.connect.s3.S3SinkConnector": {"s3.bucket.name", "storage.class", "format.class", "flush.size"},
        "io.confluent.connect.elasticsearch.ElasticsearchSinkConnector": {"connection.url"},
    }
    configured = [json.loads(block) for block in blocks("json")]
    assert [each["connector.class"] for each in configured] == [*required]
    for each in configured:
        assert required[each["connector.class"]] < each.keys()
        assert each["consumer.override.isolation.level"] == "read_committed"
