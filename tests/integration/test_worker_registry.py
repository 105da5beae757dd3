"""A worker with a schema registry: a real one, and one in this process that goes away and comes back."""

from collections.abc import Iterator
from contextlib import closing
from io import BytesIO
from typing import Any
from uuid import UUID

import fastavro
import msgspec
import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from enricher.codec import OutputReader
from enricher.codec.framing import SCHEMA_ID_HEADER
from enricher.model import Record
from enricher.registry import RegistryClient
from enricher.schemas import CUSTOMER_CONTACT, ENRICHED_CONTACT
from enricher.testing.contacts import START
from enricher.testing.registry import RegistryServer
from tests.conftest import StartProgram
from tests.harness.apicurio import Apicurio
from tests.harness.clients import Sent, read_topic
from tests.integration.worker_world import World


@pytest.fixture
def registry() -> Iterator[RegistryServer]:
    """A registry that has nothing yet."""
    with RegistryServer() as server:
        yield server


def call(customer: str, number: int) -> dict[str, object]:
    """A contact as another team's program has it."""
    return {"customerId": customer, "eventId": f"E-{number}", "contactTime": START + number, "shop": number}


CALL = {
    "type": "record",
    "name": "Call",
    "fields": [
        {"name": "eventId", "type": "string"},
        {"name": "customerId", "type": "string"},
        {"name": "contactTime", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "shop", "type": "int"},
    ],
}


@pytest.mark.java
@pytest.mark.timeout(400)  # the registry is fetched and started first
def test_others_write_and_read_by_the_registry(world: World, apicurio: Apicurio, start_program: StartProgram) -> None:
    """Confluent's own serializer writes the input, and its deserializer reads the output; so does ``verify``."""
    with closing(SchemaRegistryClient({"url": apicurio.url})) as client:
        _exchange(world, apicurio.url, client, start_program)


def _exchange(world: World, url: str, client: SchemaRegistryClient, start_program: StartProgram) -> None:
    serialize = AvroSerializer(client, msgspec.json.encode(CALL).decode())
    context = SerializationContext(world.input, MessageField.VALUE)
    records = []
    for number in range(40):
        customer = f"CUST-{number % 7}"
        records.append(Sent(customer.encode(), serialize(call(customer, number), context), [], START + number))
    used = {"schema_registry.url": url, "schema_registry.auto_register": "true"}
    world.worker(used)
    world.send(records)
    world.await_committed(90)
    with closing(RegistryClient(url, 60.0)) as ours:
        world.reader = OutputReader(ours)
        world.audit()
    deserialize = AvroDeserializer(client)
    reading = SerializationContext(world.output, MessageField.VALUE)
    found = [deserialize(record.value, reading) for record in read_topic(world.bootstrap_servers, world.output)]
    assert {output["contact"]["attributes"]["shop"] for output in found} == {str(number) for number in range(40)}
    verified = start_program("verify", *world.sets(used))
    assert verified.wait(120) == 0, verified.tail()
    shown = start_program("tail", "--json", "--last=3", *world.sets(used))
    assert shown.wait(120) == 0, shown.tail()
    assert len(shown.out) == 3


@pytest.mark.timeout(300)
def test_an_outage_of_the_registry_holds_up_only_what_is_new(world: World, registry: RegistryServer) -> None:
    """What is known goes on; a partition with an event of another schema waits, and goes on when the registry is back.

    Ids are in headers here: an input's goes not to the output, which has another schema; a dead letter keeps it.
    """
    registry.register(f"{world.input}-value", CUSTOMER_CONTACT.raw)
    registry.register(f"{world.input}-value", CALL)
    contacts, calls = (_guid(registry, schema_id) for schema_id in (1, 2))
    new = _contact(contacts, "CUST-1", 0, partition=0)
    worker = world.worker(
        {
            "schema_registry.url": registry.url,
            "schema_registry.framing": "header",
            "schema_registry.auto_register": "true",
        }
    )
    world.send([new])
    world.await_published(1, 90)
    registry.stop()
    world.send(_contact(contacts, f"CUST-{number}", number, partition=number % 4) for number in range(1, 21))
    world.await_published(21)
    waiting = [_call(calls, "CUST-2", 30), _contact(contacts, "CUST-3", 31, partition=0)]
    world.send([*waiting, *(_contact(contacts, f"CUST-{n}", n, partition=1 + n % 3) for n in range(40, 52))])
    world.await_published(33)
    worker.wait_for_log("schema_registry_unavailable", 60)
    assert not {b"E-30", b"E-31"} & {dict(record.headers)["number"] for record in _outputs(world)}
    registry.start()
    world.await_committed(90)
    outputs = _outputs(world)
    assert len(outputs) == len(world.sent) == 35
    with closing(RegistryClient(registry.url, 60.0)) as client:
        ours = client.look_up(f"{world.output}-value", ENRICHED_CONTACT.text)
        assert ours is not None
        guid = (SCHEMA_ID_HEADER, b"\x01" + bytes.fromhex((ours.guid or "").replace("-", "")))
        assert {tuple(record.headers[1:]) for record in outputs} == {(guid,)}
        reader = OutputReader(client)
        assert {reader.decode(record.value, record.headers).enrichment.topic for record in outputs} == {world.input}
    broken = Sent(b"K", b"\x02E", [("__key_schema_id", b"\x01" + bytes(16)), (SCHEMA_ID_HEADER, b"\x01" + contacts)])
    world.send([broken])
    world.await_committed(90)
    [letter] = read_topic(world.bootstrap_servers, world.dead)
    assert (letter.key, letter.value, letter.headers[:2]) == (broken.key, broken.value, broken.headers)
    world.check_logs()


@pytest.mark.timeout(300)
def test_a_worker_does_not_start_without_its_id(registry: RegistryServer, start_program: StartProgram) -> None:
    """Neither while the registry is away nor before the schema is registered; it says which, and what to do."""
    sets = [
        "--set=kafka.bootstrap_servers=127.0.0.1:9",
        "--set=input.topics=in",
        "--set=output.topic=out",
        "--set=service.url=http://127.0.0.1:9/",
        f"--set=schema_registry.url={registry.url}",
    ]
    unregistered = start_program("run", *sets)
    assert unregistered.wait(120) == 1
    assert any("run `enricher schema publish`" in line for line in unregistered.err), unregistered.tail()
    registry.stop()
    away = start_program("run", *sets)
    assert away.wait(120) == 1
    assert any("enricher: the worker failed: the schema registry at" in line for line in away.err), away.tail()


def _contact(guid: bytes, customer: str, number: int, *, partition: int) -> Sent:
    fields: dict[str, object] = {"eventId": f"E-{number}", "customerId": customer, "contactTime": START + number}
    return _sent(guid, CUSTOMER_CONTACT.parsed, fields, partition)


def _call(guid: bytes, customer: str, number: int) -> Sent:
    return _sent(guid, fastavro.parse_schema(CALL), call(customer, number), 0)


def _sent(guid: bytes, schema: Any, fields: dict[str, object], partition: int) -> Sent:
    body = BytesIO()
    fastavro.schemaless_writer(body, schema, fields)
    number = str(fields["eventId"]).encode()  # by which the output is known, whatever can be read of it
    headers: list[tuple[str, bytes | None]] = [("number", number), (SCHEMA_ID_HEADER, b"\x01" + guid)]
    return Sent(str(fields["customerId"]).encode(), body.getvalue(), headers, START, partition)


def _guid(registry: RegistryServer, schema_id: int) -> bytes:
    _, found = registry.answer("GET", f"/schemas/ids/{schema_id}", None, None)
    return UUID(found["guid"]).bytes


def _outputs(world: World) -> list[Record]:
    """All of them; there are no dead letters."""
    assert read_topic(world.bootstrap_servers, world.dead) == []
    return read_topic(world.bootstrap_servers, world.output)
