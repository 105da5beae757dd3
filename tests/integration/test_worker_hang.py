"""One look-up that hangs for half a minute, in a topic of twelve partitions: nobody else notices."""

import pytest

from enricher.testing.faults import Behaviour, Faults
from enricher.testing.threaded import ThreadedHistoryServer
from tests.conftest import StartProgram
from tests.harness.broker import KafkaBroker
from tests.harness.waiting import wait_until
from tests.integration.worker_world import World, contact

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

PARTITIONS = 12
HANG = "30s"
WAVES = 4


@pytest.mark.parametrize("guarantee", ["at-least-once", "exactly-once"])
def test_one_hanging_look_up_delays_no_other_key(
    guarantee: str, kafka: KafkaBroker, start_program: StartProgram, service: ThreadedHistoryServer
) -> None:
    """Each of some waves of events is out before the next is sent, while the one look-up still hangs.

    The waves fill all partitions, that of the hanging customer included: behind its event, with other keys. Only its
    own next event waits for it. (How little the others are delayed: ``test_pipeline_order``, in virtual time.)
    """
    world = World(kafka.bootstrap_servers, start_program, service, partitions=PARTITIONS)
    service.faults = Faults(latency="20ms", customers={"CUST-HANG": Behaviour(latency=HANG)})
    settings = {"service.timeout": "90s", "service.deadline": "90s", "delivery.guarantee": guarantee}
    worker = world.worker(settings)
    worker.wait_for_log("partitions_assigned", 60)
    hanging = world.send(contact("CUST-HANG", number, partition=5) for number in range(2))
    wait_until(lambda: service.stats.in_flight == 1, "the look-up that hangs")
    waves = 0
    while waves < WAVES:
        world.send(
            contact(f"CUST-{waves:02d}{number:04d}", number, partition=number % PARTITIONS) for number in range(120)
        )
        others = set(world.sent) - set(hanging)
        world.await_committed_places(others)
        out, committed = set(world.found_of(others).outputs), world.positions()[5].offset
        if service.stats.in_flight != 1:
            break  # a slow machine: half a minute is over
        assert out == others
        assert committed == hanging[0].offset
        waves += 1
    assert waves
    service.faults = Faults()  # the first one goes on hanging; the second is answered at once
    world.await_committed()
    assert worker.terminate() == 0
    world.audit()
