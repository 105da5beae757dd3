"""Workers that join and leave all the time: every event comes out, and no partition is left lying."""

import os
import random
import signal
import time

import pytest

from enricher.testing.contacts import contacts
from enricher.testing.faults import Faults
from enricher.testing.threaded import ThreadedHistoryServer
from tests.conftest import StartProgram
from tests.harness.broker import KafkaBroker
from tests.harness.clients import group_members
from tests.harness.patience import patiently
from tests.harness.program import Program
from tests.harness.waiting import wait_until
from tests.integration.worker_world import World, contact, sent_contacts

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(900)]

SECONDS = float(os.environ.get("TEST_STORM_SECONDS", "12"))
"""How long it blows: short among the other tests, and two minutes by hand (CONTRIBUTING.md)."""

SOON = 10.0 if "TEST_STORM_SECONDS" in os.environ else 60.0
"""Seconds after the last change in which all has to be committed: by hand, on a machine with time to spare, as few as
are promised; among the other tests enough for processes that wait for a CPU."""

MOST = 10
PARTITIONS = 12
PAUSE = 1.5  # between two changes: less than a rebalance takes, so that they run into each other


def _has_started(worker: Program) -> bool:
    """Whether it hears signals: one whose program is still loading would just die."""
    return any("worker_started" in line for line in list(worker.err))


@pytest.mark.parametrize("guarantee", ["at-least-once", "exactly-once"])
def test_a_storm_of_workers_leaves_nothing_lying(
    guarantee: str, kafka: KafkaBroker, start_program: StartProgram, service: ThreadedHistoryServer
) -> None:
    """Up to ten join and leave in rebalances that run into each other, by SIGTERM as in a scaling.

    After the last change each partition goes on. Nothing is lost; under exactly-once nothing comes out twice.
    """
    rng = random.Random(4)
    world = World(kafka.bootstrap_servers, start_program, service, partitions=PARTITIONS)
    service.faults = Faults(latency="uniform:10ms,200ms")
    settings = {
        "delivery.guarantee": guarantee,
        "kafka.consumer.session.timeout.ms": "30000",  # on a busy machine ten starting workers starve each other
        "kafka.consumer.heartbeat.interval.ms": "500",
    }
    running = [world.worker(settings) for _ in range(2)]
    running[0].wait_for_log("partitions_assigned", 60)
    end, number = time.monotonic() + SECONDS, 0
    while time.monotonic() < end:
        number += 1
        world.send(sent_contacts(contacts(60, customers=300, seed=number)))
        leavers = [worker for worker in running if _has_started(worker)]
        if len(running) < MOST and (len(leavers) < 2 or rng.random() < 0.7):
            running.append(world.worker(settings))
        elif leavers:
            leaver = rng.choice(leavers)
            running.remove(leaver)
            leaver.send(signal.SIGTERM)
        time.sleep(PAUSE)  # the storm's own rhythm: nothing is waited for
    wait_until(lambda: all(map(_has_started, running)), "the last ones to start", 60)
    while len(running) > 3:
        running.pop(0).send(signal.SIGTERM)
    leaving = [worker for worker in world.workers if worker not in running]
    assert {worker.wait(60) for worker in leaving} == {0}
    changed = time.monotonic()
    wait_until(
        lambda: patiently(lambda: group_members(kafka.bootstrap_servers, world.group)) == len(running),
        "only those that stay are members",
        60,
    )
    last = world.send(contact(f"CUST-LAST-{at}", at, partition=at) for at in range(PARTITIONS))
    world.await_committed_places(last, SOON)
    world.await_committed(changed + SOON - time.monotonic())
    print(  # noqa: T201  for who looks by hand
        f"{guarantee}: {len(world.workers)} workers came; {len(world.sent)} events; "
        f"all is committed {time.monotonic() - changed:.1f} s after the last change"
    )
    assert [worker.terminate() for worker in running] == [0, 0, 0]
    world.audit(repeatable=world.sent if guarantee == "at-least-once" else ())
