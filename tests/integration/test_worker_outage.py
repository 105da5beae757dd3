"""The service or the broker is away for a while: the worker goes on by itself, and nothing is lost or given up."""

import time

import pytest

from enricher.testing.contacts import contacts
from enricher.testing.faults import Faults
from enricher.testing.threaded import ThreadedHistoryServer
from tests.conftest import StartProgram
from tests.harness.broker import KafkaBroker
from tests.harness.clients import group_members
from tests.harness.waiting import wait_until
from tests.integration.worker_world import World, sent_contacts

pytestmark = pytest.mark.kafka


def _last(seconds: float) -> None:
    """Let an outage last: longer than the limits of which it is to be shown that they do not matter."""
    begun = time.monotonic()
    wait_until(lambda: time.monotonic() - begun > seconds, f"{seconds:g} s of outage", 2 * seconds)


def test_while_the_service_is_down_the_worker_waits(world: World) -> None:
    """Down at the start and again in the middle, for longer than every deadline: no dead letter, no rebalance."""
    world.service.faults = Faults(down="refuse")
    world.send(sent_contacts(contacts(1_500, customers=300)))
    worker = world.worker(
        {
            "kafka.consumer.max.poll.interval.ms": "3000",
            "service.timeout": "2s",
            "service.deadline": "2s",
        }
    )
    worker.wait_for_log("service_unavailable")
    _last(4)
    assert world.published() == 0
    assert world.committed_places() == set()
    world.service.faults = Faults(latency="50ms")
    world.await_published(200)
    seen = len(worker.err)
    world.service.faults = Faults(down="reset")
    worker.wait_for_log("service_unavailable", start=seen)
    published = world.published()
    assert published < 1_500
    _last(4)
    assert world.published() - published <= 64  # what was already answered
    assert group_members(world.bootstrap_servers, world.group) == 1
    world.service.faults = Faults()
    world.await_committed()
    assert worker.terminate() == 0
    world.audit()
    assert [e["event"] for e in worker.events() if e["event"].startswith("partitions_")] == [
        "partitions_assigned",
        "partitions_revoked",
    ]
    assert [e["event"] for e in worker.events() if e["event"].startswith("service_")][-1] == "service_back"


def test_while_the_service_is_down_requests_are_few(world: World) -> None:
    """An outage is probed about once a second, whatever waits."""
    world.service.faults = Faults(status={"503": 1.0})
    world.send(sent_contacts(contacts(500, customers=300)))
    worker = world.worker()
    worker.wait_for_log("service_unavailable")
    wait_until(lambda: world.service.stats.in_flight == 0, "no look-up in flight")
    world.service.reset_stats()
    _last(4)
    assert 2 <= world.service.stats.requests <= 6
    world.service.faults = Faults()
    world.await_committed()
    assert worker.terminate() == 0
    world.audit()


@pytest.mark.timeout(400)
def test_a_broker_that_restarts_finds_the_worker_waiting(
    private_kafka: KafkaBroker, start_program: StartProgram, service: ThreadedHistoryServer
) -> None:
    """The only broker restarts in the middle of the work: the worker goes on, keeps its partitions, repeats nothing."""
    world = World(private_kafka.bootstrap_servers, start_program, service)
    service.faults = Faults(latency="100ms")
    # The broker forgets, when it starts, what it knows of a producer whose newest record has a time of a day ago or
    # more (producer.id.expiration.ms); then it cannot tell a batch that is sent again from a new one.
    world.send(sent_contacts(contacts(1_500, customers=500), round(time.time() * 1000)))
    worker = world.worker({"kafka.consumer.session.timeout.ms": "45000"})
    world.await_published(300)
    private_kafka.stop()
    worker.wait_for_log("kafka_")
    private_kafka.start()
    world.await_committed(90)
    assert worker.terminate() == 0
    world.audit()


@pytest.mark.timeout(400)
def test_a_broker_that_was_killed_finds_the_worker_waiting(
    private_kafka: KafkaBroker, start_program: StartProgram, service: ThreadedHistoryServer
) -> None:
    """The only broker crashes, for longer than the group's session: partitions are lost and come back, no event is."""
    world = World(private_kafka.bootstrap_servers, start_program, service)
    service.faults = Faults(latency="100ms")
    world.send(sent_contacts(contacts(1_500, customers=500)))
    worker = world.worker()
    world.await_published(300)
    private_kafka.kill()
    worker.wait_for_log("partitions_lost")
    private_kafka.start()
    world.await_committed(90)
    assert worker.terminate() == 0
    # Outputs that the producer held when the partitions were lost are written after all, and not committed; and the
    # broker that was killed may have forgotten a producer of old times, and take a batch twice.
    audit = world.audit(repeatable=set(world.sent))
    losses = sum("partitions_lost" in line for line in worker.err)
    assert all(len(times) <= 2 + losses for times in audit.outputs.values())
