"""Several workers of one group: partitions move between them, and nothing is lost or done for nothing."""

import pytest

from enricher.testing.contacts import contacts
from enricher.testing.faults import Faults
from tests.harness.program import Program
from tests.harness.waiting import wait_until
from tests.integration.worker_world import World, sent_contacts

pytestmark = pytest.mark.kafka

COUNT = 2_400


def _share(world: World) -> tuple[Program, Program]:
    """Two workers in the middle of their work, each with partitions of its own."""
    world.service.faults = Faults(latency="500ms")
    world.send(sent_contacts(contacts(COUNT // 2, customers=800)))
    first = world.worker()
    world.await_published(100)
    second = world.worker()
    second.wait_for_log("partitions_assigned")
    first.wait_for_log("partitions_revoked")
    # On a slow machine the first has done everything by now: there has to be work for two.
    world.send(sent_contacts(contacts(COUNT // 2, customers=800, seed=2)))
    begun = world.published()
    world.await_published(begun + 200)
    assert world.published() < COUNT - 200, "too fast to see anything"
    return first, second


def test_a_worker_that_leaves_in_order_costs_nothing(world: World) -> None:
    """One joins in the middle of the work, one leaves by SIGTERM: nothing is lost, and nothing comes out twice."""
    first, second = _share(world)
    assert first.terminate() == 0
    assert world.published() < COUNT
    world.await_committed()
    assert second.terminate() == 0
    world.audit()


def test_a_worker_that_is_killed_is_replaced_by_the_others(world: World) -> None:
    """One of two is killed: the other does its part too; only what it had not committed comes out again."""
    first, second = _share(world)
    second.kill9()
    done = world.committed_places()
    before = set(world.found().outputs)
    assert len(before) < COUNT
    # The other has gone on meanwhile, but what it did is its own: it is not killed, and repeats nothing.
    mine = _read_by(second, world)
    world.await_committed()
    wait_until(lambda: len([e for e in first.events() if e["event"] == "partitions_assigned"]) > 1, "its partitions")
    assert first.terminate() == 0
    world.audit(repeatable={place for place in before - done if place.partition in mine})


def _read_by(worker: Program, world: World) -> set[int]:
    """The numbers of the partitions that were a worker's."""
    names = {
        name for event in worker.events() if event["event"] == "partitions_assigned" for name in event["partitions"]
    }
    return {int(name.removeprefix(f"{world.input}[").rstrip("]")) for name in names}
