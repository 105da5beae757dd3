"""A worker that is killed, or that cannot go on: what is committed is done, and the next one does the rest."""

import random

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource

from enricher.testing.contacts import contacts
from enricher.testing.faults import Behaviour, Faults
from enricher.testing.threaded import ThreadedHistoryServer
from tests.conftest import StartProgram
from tests.harness.broker import KafkaBroker
from tests.harness.waiting import wait_until
from tests.integration.worker_world import World, contact, sent_contacts

pytestmark = pytest.mark.kafka


def test_a_killed_worker_loses_nothing(world: World) -> None:
    """Killed with 64 look-ups in flight: the next one does all that was not committed, and repeats nothing else."""
    world.service.faults = Faults(latency="100ms")
    world.send(sent_contacts(contacts(1_500, customers=500)))
    worker = world.worker(
        {"delivery.commit_interval": "1s", "service.limiter": "fixed", "history.coalesce": "false"}
    )  # so that there are 64
    world.await_published(400)
    wait_until(lambda: world.service.stats.in_flight == 64, "64 look-ups in flight")
    worker.kill9()
    done = world.committed_places()
    before = set(world.found().outputs)
    assert done <= before, "something was committed that was not published"
    assert len(before) < 1_500
    world.service.faults = Faults()
    second = world.worker()
    world.await_committed()
    assert second.terminate() == 0
    audit = world.audit(repeatable=before - done)
    assert audit.repeated <= before


def test_what_was_committed_as_complete_is_not_done_again(world: World) -> None:
    """One look-up hangs, so the offset stands still; what is resolved beyond it is told to the next worker."""
    world.service.faults = Faults(customers={"CUST-HANG": Behaviour(hang=1.0)})
    hanging = world.send([contact("CUST-HANG", 0, partition=0), contact("CUST-HANG", 1, partition=2)])
    others = world.send(contact(f"CUST-{number:06d}", number, partition=number % 4) for number in range(800))
    worker = world.worker({"service.timeout": "60s", "service.deadline": "60s"})
    wait_until(lambda: world.committed_places() == set(others), "the others committed as complete")
    worker.kill9()
    positions = world.positions()
    assert (positions[0].offset, positions[2].offset) == (hanging[0].offset, hanging[1].offset)
    world.service.faults = Faults()
    world.service.reset_stats()
    second = world.worker({"history.coalesce": "false"})  # so that requests tell events
    world.await_committed()
    assert second.terminate() == 0
    world.audit()
    assert world.service.stats.requests == 2


def test_a_dead_letter_that_cannot_be_written_stops_the_worker(
    kafka: KafkaBroker, start_program: StartProgram, service: ThreadedHistoryServer
) -> None:
    """The worker ends rather than dropping the record; once the topic takes it, the next worker does it."""
    world = World(kafka.bootstrap_servers, start_program, service, limits={"dead": 2_000})
    service.faults = Faults(latency="20ms")
    world.send(contact(f"CUST-{number:06d}", number) for number in range(300))
    [place] = world.send(
        [contact("CUST-LARGE")._replace(value=b"<" + random.Random(1).randbytes(5_000))]
    )  # nothing compresses it
    world.send(contact(f"CUST-{number:06d}", number) for number in range(300))
    worker = world.worker()
    assert worker.wait(30) == 1
    [reason] = [line for line in worker.err if line.startswith("enricher: the worker failed")]
    assert "dead letter" in reason
    assert world.dead in reason
    assert place not in world.committed_places()
    assert world.committed_places() <= set(world.found().outputs)
    _set_limit(world, 1_000_000)
    second = world.worker()
    world.workers.remove(worker)  # which has failed, as it should
    world.await_committed()
    assert second.terminate() == 0
    world.audit({place: "UnknownEncoding"})


def _set_limit(world: World, limit: int) -> None:
    """Let the dead-letter topic take larger records."""
    entry = ConfigEntry("max.message.bytes", str(limit), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.TOPIC, world.dead, incremental_configs=[entry])
    admin = AdminClient({"bootstrap.servers": world.bootstrap_servers})
    admin.incremental_alter_configs([resource])[resource].result(30)


def test_a_missing_topic_is_told(
    kafka: KafkaBroker, start_program: StartProgram, service: ThreadedHistoryServer
) -> None:
    """Without a topic to write to the worker ends by itself, names the topic, and has touched no event."""
    started = []
    for role in ("output", "dead"):
        world = World(kafka.bootstrap_servers, start_program, service, partitions=1, without=[role])
        world.send([contact("CUST-000001")])
        started.append((world, world.worker(), world.output if role == "output" else world.dead))
    for world, worker, missing in started:
        assert worker.wait(30) == 1
        [reason] = [line for line in worker.err if line.startswith("enricher: the worker failed")]
        assert missing in reason
        assert "create it" in reason
        assert world.committed_places() == set()
        world.check_logs()
    assert service.stats.requests == 0
