"""A worker whose outputs are the input's own records: on a real Kafka and a real registry, as both types evolve."""

import json
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from enricher.codec import OutputReader
from enricher.reader import EnrichmentStatus, Reader
from enricher.registry import RegistryClient
from enricher.testing.contacts import START
from tests.conftest import StartProgram
from tests.harness.apicurio import Apicurio
from tests.harness.clients import Sent, read_topic
from tests.integration.worker_world import World, offers_of

pytestmark = [pytest.mark.java, pytest.mark.timeout(400)]  # the registry is fetched and started first

FIRST = {
    "type": "record",
    "name": "Call",
    "namespace": "acme",
    "fields": [
        {"name": "customerId", "type": "string"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "cost", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
    ],
}
SECOND = {**FIRST, "fields": [*FIRST["fields"], {"name": "shop", "type": ["null", "int"], "default": None}]}
COUNT = 24


@pytest.mark.parametrize("guarantee", ["at-least-once", "exactly-once"])
def test_an_event_type_evolves_and_its_outputs_with_it(
    guarantee: str, world: World, apicurio: Apicurio, start_program: StartProgram, tmp_path: Path
) -> None:
    """Events of a version whose derived schema is not registered wait for that; nothing is lost or out of order."""
    used = {
        "schema_registry.url": apicurio.url,
        "output.schema": "derived",
        "delivery.guarantee": guarantee,
        "input.fields.event_time": "at",
    }
    files = []
    for name, raw in (("first", FIRST), ("second", SECOND)):
        files.append(tmp_path / f"{name}.avsc")
        files[-1].write_text(json.dumps(raw), "utf-8")
    with closing(SchemaRegistryClient({"url": apicurio.url})) as client:
        first, second = (AvroSerializer(client, json.dumps(raw)) for raw in (FIRST, SECOND))
        published = start_program("schema", "publish", "--derived", str(files[0]), *world.sets(used))
        assert published.wait(120) == 0, published.tail()

        worker = world.worker(used)
        world.send(_sent(world, first, number, {}) for number in range(COUNT))
        world.send([Sent(b"CUST-1", b'{"customerId": "CUST-1"}', [], START)])
        world.await_committed(90)
        world.send(_sent(world, second, number, {"shop": number}) for number in range(COUNT, 2 * COUNT))
        worker.wait_for_log("output_schema_missing", 60)
        checked = start_program("check", "--json", *world.sets(used))
        assert checked.wait(120) == 3, checked.tail()
        assert any("is not registered under" in line for line in checked.out), checked.tail()
        assert [len(read_topic(world.bootstrap_servers, topic)) for topic in (world.output, world.dead)] == [COUNT, 1]
        published = start_program("schema", "publish", "--derived", f"{world.input}-value", *world.sets(used))
        assert published.wait(120) == 0, published.tail()
        world.await_committed(90)

        with closing(RegistryClient(apicurio.url, 60.0)) as ours:
            world.reader = OutputReader(ours)
            (letter,) = [place for place, sent in world.sent.items() if (sent.value or b"").startswith(b"{")]
            world.audit({letter: "NotAvro"})
        _read(world, client)
    verified = start_program("verify", *world.sets(used))
    assert verified.wait(120) == 0, verified.tail()
    shown = start_program("tail", "--json", "--last=3", *world.sets(used))
    assert shown.wait(120) == 0, shown.tail()
    assert {json.loads(line)["contact"]["attributes"]["cost"] for line in shown.out} == {"0.50"}


def _sent(world: World, serialize: AvroSerializer, number: int, more: dict[str, object]) -> Sent:
    customer = f"CUST-{number % 7}"
    call = {"customerId": customer, "at": START + number, "cost": Decimal("0.50"), **more}
    value = serialize(call, SerializationContext(world.input, MessageField.VALUE))
    return Sent(customer.encode(), value, [], START + number)


def _read(world: World, client: SchemaRegistryClient) -> None:
    """Confluent's deserializer reads the outputs by their own schema and by the input's; our reader does, typed."""
    reading = SerializationContext(world.output, MessageField.VALUE)
    records = read_topic(world.bootstrap_servers, world.output)
    whole, plain, ours = AvroDeserializer(client), AvroDeserializer(client, json.dumps(FIRST)), Reader(client)
    shops = set()
    for record in records:
        found = whole(record.value, reading)
        history = found.pop("offerHistory")
        shops.add(found.pop("shop", None))
        assert plain(record.value, reading) == found
        assert found["customerId"] == history["customerId"] == (record.key or b"").decode()
        assert [offer["identifier"] for offer in history["offers"]] == offers_of(found["customerId"])
        event = ours.decode_event(record.value)
        assert (event.type, event.event["customerId"]) == ("acme.Call", found["customerId"])
        assert event.event["cost"] == found["cost"]
        assert event.enrichment.status in (EnrichmentStatus.ENRICHED, EnrichmentStatus.NO_HISTORY)
        assert event.enrichment.topic == world.input
    assert shops == {None, *range(COUNT, 2 * COUNT)}
