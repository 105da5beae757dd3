"""What cannot be enriched, as a program on a real Kafka: dead letters of untouched bytes, and nobody disturbed."""

import base64
import itertools
import json
import random

import msgspec
import pytest

from enricher.schemas import CUSTOMER_CONTACT
from enricher.testing.contacts import START
from enricher.testing.faults import Behaviour, Faults
from enricher.testing.histories import FixedHistories
from enricher.testing.threaded import ThreadedHistoryServer
from tests.conftest import StartProgram
from tests.harness.broker import KafkaBroker
from tests.harness.clients import Sent, end_offsets
from tests.harness.waiting import wait_until
from tests.integration.worker_world import World, contact

pytestmark = pytest.mark.kafka

MIB = 1 << 20
LARGE = 5 * MIB
HEADERS: list[tuple[str, bytes | None]] = [("trace", b"\x00\xff"), ("trace", None), ("", b"")]


def _noise(size: int) -> bytes:
    """Text that no compression makes fit below a limit."""
    return base64.b64encode(random.Random(1).randbytes(size * 3 // 4))


def _event(**fields: object) -> bytes:
    return json.dumps({"eventId": "E-1", "customerId": "CUST-000001"} | fields).encode()


GARBAGE: dict[str, tuple[bytes | None, str]] = {
    "empty": (b"", "EmptyValue"),
    "tombstone": (None, "EmptyValue"),
    "white space": (b"  \n ", "InvalidJson"),
    "not JSON": (b"<contact/>", "UnknownEncoding"),
    "binary": (bytes(range(128, 256)), "UnknownEncoding"),
    "list": (b'[{"customerId": "CUST-000001"}]', "NotAnObject"),
    "null": (b"null", "NotAnObject"),
    "truncated JSON": (_event()[:-5], "InvalidJson"),
    "two objects": (_event() + _event(), "InvalidJson"),
    "no customer": (_event(customerId=None), "MissingCustomerId"),
    "blank customer": (_event(customerId="  "), "InvalidCustomerId"),
    "customer is an object": (_event(customerId={"id": "CUST-000001"}), "InvalidCustomerId"),
    "customer is a fraction": (_event(customerId=1.5), "InvalidCustomerId"),
    "event id is a list": (_event(eventId=["E-1"]), "InvalidEventId"),
    "time is a word": (_event(contactTime="yesterday"), "InvalidEventTime"),
    "time is out of range": (_event(contactTime=10**30), "InvalidEventTime"),
    "channel is a number": (_event(channel=7), "InvalidField"),
    "attributes is text": (_event(attributes="x"), "InvalidField"),
    "deep": (b'{"customerId": "CUST-000001", "a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "TooDeep"),
    "deep and cut": (b'{"a":' * 100_000, "TooDeep"),
    "invalid UTF-8": (_event(reason="#").replace(b"#", b"\xff\xfe"), "InvalidUtf8"),
    "unknown schema id": (b"\x00\x00\x00\x30\x39" + b"\x02a", "UnknownSchemaId"),
    "short Confluent framing": (b"\x00\x00", "UnknownEncoding"),
    "unknown fingerprint": (b"\xc3\x01" + b"\x07" * 8 + b"\x02a", "UnknownFingerprint"),
    "Avro without a body": (b"\xc3\x01" + CUSTOMER_CONTACT.fingerprint, "InvalidAvro"),
    "truncated Avro": (b"\xc3\x01" + CUSTOMER_CONTACT.fingerprint + b"\x06E-", "InvalidAvro"),
    "Avro of endless attributes": (
        b"\xc3\x01" + CUSTOMER_CONTACT.fingerprint + b"\x02E\x02C\x00" + b"\x00" * 4 + b"\xfe\xff\xff\xff\x0f",
        "InvalidAvro",
    ),
    "five megabytes": (b'{"customerId": "CUST-000001", "reason": "' + _noise(LARGE) + b'"}', "TooLarge"),
}
"""Values, and the cause that each becomes a dead letter with."""


def test_garbage_becomes_dead_letters(
    kafka: KafkaBroker, start_program: StartProgram, service: ThreadedHistoryServer
) -> None:
    """Garbage of every kind, with and without a key, between good events: each has its cause, the good ones pass."""
    limits = {"input": 8 * MIB, "dead": 8 * MIB}
    world = World(kafka.bootstrap_servers, start_program, service, limits=limits)
    records = []
    causes: list[str | None] = []
    for number, (value, cause) in enumerate(GARBAGE.values()):
        for key in (b"CUST-000001", None):
            records.append(Sent(key, value, HEADERS, START + number, partition=number % 4))
            causes.append(cause)
        for key in (b"", None):
            records.append(contact(f"CUST-{number:06d}", number, partition=number % 4, key=key))
            causes.append(None)
    places = world.send(records)
    expected = {place: cause for place, cause in zip(places, causes, strict=True) if cause is not None}
    worker = world.worker({"logging.level": "debug"})
    world.await_committed()
    assert worker.terminate() == 0
    audit = world.audit(expected)
    assert len(audit.outputs) == len(audit.dead) == 2 * len(GARBAGE)
    letters = [letter for letters in audit.dead.values() for letter in letters]
    assert {(letter.stage, letter.attempts, letter.times) for letter in letters} == {("decode", 0, 1)}


def test_an_output_too_large_becomes_a_dead_letter(
    kafka: KafkaBroker, start_program: StartProgram, service: ThreadedHistoryServer
) -> None:
    """An event that fits into the input, but with its history not into the output, is no reason to stop."""
    limits = {"input": 8 * MIB, "output": MIB, "dead": 8 * MIB}
    world = World(kafka.bootstrap_servers, start_program, service, limits=limits)
    large = contact("CUST-000001")
    value = (large.value or b"").replace(b"{", b'{"reason": "' + _noise(LARGE) + b'",', 1)
    world.send([contact("CUST-000001", 1, partition=0)])
    [place] = world.send([large._replace(value=value, partition=0)])
    world.send([contact("CUST-000001", 2, partition=0), contact("CUST-000002", 3, partition=0)])
    worker = world.worker({"input.max_record": "8MiB"})
    world.await_committed()
    assert worker.terminate() == 0
    audit = world.audit({place: "OutputTooLarge"})
    assert audit.dead[place][0].stage == "produce"


def test_what_the_service_refuses_becomes_a_dead_letter(world: World) -> None:
    """Bad requests and broken answers of some customers are dead letters with their cause; others are unaffected.

    And no log line, though it says everything that there is to say, holds a customer's id.
    """
    behaviours = {
        "CUST-CUT": (Behaviour(truncated_json=1.0), "InvalidJson"),
        "CUST-HTML": (Behaviour(html=1.0), "NotJson"),
        "CUST-PLAIN": (Behaviour(wrong_content_type=1.0), "NotJson"),
        "CUST-HUGE": (Behaviour(oversize=1.0), "ResponseTooLarge"),
        "CUST-500": (Behaviour(status={"500": 1.0}), "ServerError"),
        "CUST-RESET": (Behaviour(reset=1.0), "ConnectionFailed"),
        "CUST-HALF": (Behaviour(truncated_body=1.0), "ConnectionFailed"),
        "CUST-LATE": (Behaviour(hang=1.0), "Timeout"),
    }
    world.service.faults = Faults(latency="30ms", customers={name: how for name, (how, _) in behaviours.items()})
    causes = {name: cause for name, (_, cause) in behaviours.items()} | {"BAD-1": "BadRequest", "BAD-2": "BadRequest"}
    records = [contact(name, number) for number in range(2) for name in causes]
    places = world.send(records)
    dead = {
        place: causes[name]
        for place, record in zip(places, records, strict=True)
        if (name := (record.key or b"").decode()) in causes
    }
    worker = world.worker(
        {
            "logging.level": "debug",
            "service.timeout": "500ms",
            "service.deadline": "1500ms",
            "service.method": "get",
        }
    )
    # Good answers all along, so that the service counts as available and these events as failing alone.
    good = itertools.count()

    def all_dead() -> bool:
        world.send([contact(f"CUST-{next(good) % 200:06d}", number) for number in range(100)])
        return sum(end_offsets(world.bootstrap_servers, world.dead).values()) >= len(dead)

    wait_until(all_dead, "dead letters")
    world.await_committed()
    assert worker.terminate() == 0
    audit = world.audit(dead)
    for place, letters in audit.dead.items():
        assert letters[0].stage == "lookup"
        bad = causes[(world.sent[place].key or b"").decode()] == "BadRequest"
        assert letters[0].attempts == 1 if bad else letters[0].attempts > 1
    everything = "\n".join((*worker.out, *worker.err, *(letters[0].message for letters in audit.dead.values())))
    assert "worker_started" in everything
    for name in (*causes, "CUST", "BAD-"):
        assert name not in everything


def test_a_value_that_cannot_be_typed_breaks_the_contract(kafka: KafkaBroker, start_program: StartProgram) -> None:
    """An OutcomeTime that is none makes the whole answer a contract violation: not dropped, not guessed."""
    offers = {"CUST-WRONG": [{"Name": "MI", "OutcomeTime": "20160230T125501.526 GMT"}]}
    with ThreadedHistoryServer(FixedHistories.of(offers)) as service:
        world = World(kafka.bootstrap_servers, start_program, service, partitions=1)
        [place] = world.send([contact("CUST-WRONG")])
        worker = world.worker()
        world.await_committed()
        assert worker.terminate() == 0
        audit = world.audit({place: "ContractViolation"})
    assert audit.dead[place][0].attempts == 2
    assert "20160230" not in msgspec.json.encode([audit.dead[place], worker.err]).decode()
