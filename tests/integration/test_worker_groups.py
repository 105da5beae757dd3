"""Other ways to be a member of the group: the new consumer protocol (KIP-848), and static membership."""

from typing import Any

import pytest

from enricher.testing.contacts import contacts
from enricher.testing.faults import Faults
from tests.harness.program import Program
from tests.harness.waiting import wait_until
from tests.integration.worker_world import World, sent_contacts

pytestmark = pytest.mark.kafka

BOTH = pytest.mark.parametrize("guarantee", ["at-least-once", "exactly-once"])


def moves(worker: Program) -> list[dict[str, Any]]:
    """What a worker logged of partitions that came and went, in its order."""
    return [event for event in worker.events() if event["event"].startswith("partitions_")]


@BOTH
def test_partitions_move_by_the_new_protocol(world: World, guarantee: str) -> None:
    """One joins, the other leaves, in the middle of the work: nothing is lost, and nothing comes out twice."""
    new = {"kafka.group_protocol": "consumer", "delivery.guarantee": guarantee}
    world.service.faults = Faults(latency="200ms")
    world.send(sent_contacts(contacts(1_500, customers=900)))
    first = world.worker(new)
    world.await_published(50)
    second = world.worker(new)
    first.wait_for_log("partitions_revoked", 60)
    second.wait_for_log("partitions_assigned", 60)
    begun = world.published()
    world.send(sent_contacts(contacts(1_500, customers=900, seed=2)))
    world.await_published(begun + 100)
    assert first.terminate() == 0
    world.await_committed()
    assert second.terminate() == 0
    world.audit()


@BOTH
def test_a_static_member_that_restarts_moves_nothing(world: World, guarantee: str) -> None:
    """Within the session timeout the others hear nothing of it, and it has the partitions that it had."""
    own = {"delivery.guarantee": guarantee, "kafka.consumer.session.timeout.ms": "45000"}
    world.service.faults = Faults(latency="200ms")
    world.send(sent_contacts(contacts(500, customers=300)))
    stays = world.worker({**own, "kafka.group_instance_id": "stays"})
    stays.wait_for_log("partitions_assigned", 60)
    leaves = world.worker({**own, "kafka.group_instance_id": "leaves"})
    leaves.wait_for_log("partitions_assigned", 60)
    stays.wait_for_log(lambda line: "partitions_revoked" in line, 60)
    wait_until(lambda: moves(leaves)[-1]["partitions"], "the one that joined has partitions", 60)
    wait_until(lambda: moves(stays)[-1]["event"] == "partitions_assigned", "the other was told of it", 60)
    begun = world.published()
    world.send(sent_contacts(contacts(1_500, customers=900, seed=2)))
    world.await_published(begun + 100)
    before = moves(stays)
    had = moves(leaves)[-1]["partitions"]
    assert leaves.terminate() == 0
    again = world.worker({**own, "kafka.group_instance_id": "leaves"})
    again.wait_for_log("partitions_assigned", 60)
    world.await_committed()
    assert moves(stays) == before
    assert moves(again)[-1]["partitions"] == had
    assert (again.terminate(), stays.terminate()) == (0, 0)
    world.audit()


@pytest.mark.parametrize(("protocol", "ends"), [("classic", 0), ("consumer", 1)])
def test_of_two_with_one_name_one_ends(world: World, protocol: str, ends: int) -> None:
    """The broker refuses one of them: it ends with exit code 1 and says why; the other goes on."""
    same = {"kafka.group_protocol": protocol, "kafka.group_instance_id": "same"}
    workers = [world.worker(same)]
    workers[0].wait_for_log("partitions_assigned", 60)
    workers.append(world.worker(same))
    refused, other = workers[ends], workers[1 - ends]
    assert refused.wait(60) == 1
    [reason] = [line for line in refused.err if line.startswith("enricher: the worker failed")]
    assert "give each worker one of its own" in reason
    world.workers.remove(refused)
    world.send(sent_contacts(contacts(100, customers=30)))
    world.await_committed()
    wait_until(lambda: other.running, "the other goes on")
    assert other.terminate() == 0
    world.audit()
