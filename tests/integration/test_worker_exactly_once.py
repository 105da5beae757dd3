"""Exactly-once: a ``read_committed`` reader sees each record's output once, whatever is killed, frozen or restarted."""

import json
import random
import signal

import pytest

from enricher.testing.contacts import contacts
from enricher.testing.faults import Faults
from enricher.testing.threaded import ThreadedHistoryServer
from tests.conftest import StartProgram
from tests.harness.broker import KafkaBroker
from tests.harness.waiting import wait_until
from tests.integration.worker_world import CAUSES, World, contact, sent_contacts

pytestmark = pytest.mark.kafka

ONCE = {"delivery.guarantee": "exactly-once", "delivery.commit_interval": "100ms"}


def test_every_record_comes_out_once(world: World) -> None:
    """Good events are enriched and broken ones dead-lettered, in transactions, and nothing comes twice."""
    made = list(contacts(2_000, customers=400, broken_rate=0.02))
    world.service.faults = Faults(latency="10ms", status={"503": 0.01})
    places = world.send(sent_contacts(made))
    worker = world.worker(ONCE)
    world.await_committed()
    assert worker.terminate() == 0
    world.audit({p: CAUSES[c.broken] for p, c in zip(places, made, strict=True) if c.broken})


def test_killed_workers_repeat_nothing(world: World) -> None:
    """Killed twice in the middle, with a transaction open: what was not committed was not seen either."""
    world.service.faults = Faults(latency="50ms")
    world.send(sent_contacts(contacts(1_500, customers=300)))
    for target in (300, 700):
        worker = world.worker(ONCE)
        world.await_published(target)
        worker.kill9()
    world.service.faults = Faults()
    last = world.worker(ONCE)
    last.wait_for_log("partitions_assigned", 60)  # it may be that there is nothing left to do
    world.await_committed()
    assert last.terminate() == 0
    world.audit()


def test_a_frozen_worker_that_wakes_up_repeats_nothing(world: World) -> None:
    """A worker is frozen until its partitions are another's; what it holds when it wakes up is refused."""
    world.service.faults = Faults(latency="50ms")
    world.send(sent_contacts(contacts(1_500, customers=300)))
    zombie = world.worker(ONCE)
    world.await_published(300)
    zombie.send(signal.SIGSTOP)
    heir = world.worker(ONCE)
    heir.wait_for_log("partitions_assigned", 60)
    world.await_published(900)
    zombie.send(signal.SIGCONT)
    world.await_committed()
    wait_until(lambda: zombie.running, "the zombie lives on")
    assert (zombie.terminate(), heir.terminate()) == (0, 0)
    world.audit()


def test_workers_that_come_and_go_repeat_nothing(world: World) -> None:
    """Workers join and leave while the others go on."""
    world.service.faults = Faults(latency="20ms")
    world.send(sent_contacts(contacts(3_000, customers=600)))
    first = world.worker(ONCE)
    world.await_published(300)
    second = world.worker(ONCE)
    second.wait_for_log("partitions_assigned", 60)
    world.await_published(900)
    assert first.terminate() == 0
    third = world.worker(ONCE)
    third.wait_for_log("partitions_assigned", 60)
    world.await_published(1_500)
    assert second.terminate() == 0
    world.await_committed()
    assert third.terminate() == 0
    world.audit()


@pytest.mark.timeout(400)
def test_a_broker_restart_repeats_nothing(
    private_kafka: KafkaBroker, start_program: StartProgram, service: ThreadedHistoryServer
) -> None:
    """The broker is stopped, and later killed, in the middle: the worker goes on by itself.

    Or it ends, as it must when its Kafka client does not return from a call, and the one that takes its place goes on.
    """
    world = World(private_kafka.bootstrap_servers, start_program, service)
    service.faults = Faults(latency="50ms")
    world.send(sent_contacts(contacts(1_500, customers=300)))
    world.supervised_worker(ONCE)
    world.await_published(300)
    private_kafka.stop()
    private_kafka.start()
    world.await_published(800)
    private_kafka.kill()
    private_kafka.start()
    world.await_committed(120)
    assert world.workers[-1].terminate() == 0
    world.audit()


def test_an_output_that_is_too_large_becomes_a_dead_letter(
    kafka: KafkaBroker, start_program: StartProgram, service: ThreadedHistoryServer
) -> None:
    """The transaction that holds it is aborted, and written again with a dead letter in its place, but for no other."""
    world = World(kafka.bootstrap_servers, start_program, service, limits={"output": 20_000})
    world.send(contact(f"CUST-{number:06d}", number) for number in range(100))
    event = {
        "customerId": "CUST-WIDE",
        "note": random.Random(1).randbytes(30_000).hex(),
    }  # nothing compresses it enough
    [wide] = world.send([contact("CUST-WIDE")._replace(value=json.dumps(event).encode())])
    world.send(contact(f"CUST-{number:06d}", number) for number in range(100, 200))
    worker = world.worker(ONCE)
    world.await_committed()
    assert worker.terminate() == 0
    world.audit({wide: "OutputTooLarge"})
