"""The worker's main job, as a program on a real Kafka: every event enriched or a dead letter, nothing else."""

import json
from collections import Counter
from collections.abc import Mapping
from io import BytesIO

import fastavro
import pytest

from enricher.model import Status
from enricher.schemas import CUSTOMER_CONTACT
from enricher.testing.contacts import START, contacts
from enricher.testing.faults import Faults
from tests.harness.clients import Sent, end_offsets
from tests.integration.worker_world import CAUSES, World, contact, sent_contacts

pytestmark = pytest.mark.kafka


def test_every_event_is_accounted_for(world: World) -> None:
    """Two thousand events with broken ones, a slow service that fails now and then: all are where they belong."""
    world.service.faults = Faults(latency="20ms", status={"503": 0.01}, seed=1)
    made = list(contacts(2_000, customers=300, broken_rate=0.01))
    places = world.send(sent_contacts(made))
    dead = {place: CAUSES[one.broken] for place, one in zip(places, made, strict=True) if one.broken is not None}
    assert dead
    worker = world.worker()
    world.await_committed()
    assert worker.terminate() == 0
    audit = world.audit(dead)
    ends = end_offsets(world.bootstrap_servers, world.input)
    positions = world.positions()
    assert {partition: at.offset for partition, at in positions.items()} == ends
    assert {at.metadata for at in positions.values()} == {""}
    attempts = [how.enrichment.attempts for outputs in audit.outputs.values() for how in outputs]
    assert max(attempts) > 1  # what met a 503 was asked for again
    summary = json.loads(worker.out[-1])
    assert (summary["received"], summary["enriched"], summary["dead_letters"]) == (2_000, 2_000 - len(dead), len(dead))
    assert {c["cause"]: c["count"] for c in summary["dead_letter_causes"]} == Counter(dead.values())
    assert summary["retries"] == world.service.stats.by_status["503"]
    assert summary["loop_lag_p99_ms"] > 0


def test_avro_events_are_read(world: World) -> None:
    """Avro single objects and JSON share a topic; what Avro says comes out unchanged."""
    events = [
        {
            "eventId": f"A-{number}",
            "customerId": f"CUST-{number % 20:06d}",
            "contactTime": START + number,
            "channel": "Web",
            "direction": None,
            "reason": "Überprüfung",
            "agentId": None,
            "attributes": {"queue": str(number)},
        }
        for number in range(200)
    ]
    avro = [
        Sent(str(event["customerId"]).encode(), _single_object(event), [("h", None)], START + number)
        for number, event in enumerate(events)
    ]
    places = world.send(avro)
    world.send(contact(f"CUST-{number:06d}", number) for number in range(20))
    worker = world.worker({"service.method": "get"})
    world.await_committed()
    assert worker.terminate() == 0
    audit = world.audit()
    for place, event in zip(places, events, strict=True):
        [enriched] = audit.outputs[place]
        found = enriched.contact
        assert (found.event_id, found.customer_id, found.contact_time) == (
            event["eventId"],
            event["customerId"],
            event["contactTime"],
        )
        assert (found.channel, found.direction, found.reason) == ("Web", None, "Überprüfung")
        assert found.attributes == event["attributes"]
        assert enriched.enrichment.status is Status.ENRICHED


def _single_object(event: Mapping[str, object]) -> bytes:
    body = BytesIO()
    fastavro.schemaless_writer(body, CUSTOMER_CONTACT.parsed, event)
    return b"\xc3\x01" + CUSTOMER_CONTACT.fingerprint + body.getvalue()
