"""How a worker ends on SIGTERM while look-ups hang: in time, with what is resolved committed and nothing else."""

import os
import signal
import time

import pytest

from enricher.config.tree import leaves
from enricher.testing.faults import Behaviour, Faults
from tests.harness.clients import Written, group_members
from tests.harness.program import Program
from tests.harness.waiting import wait_until
from tests.integration.worker_world import World, contact

pytestmark = pytest.mark.kafka

PATIENT = {"service.timeout": "60s", "service.deadline": "60s"}

SOON = 20.0
"""Seconds within which a worker has to end: enough for a process that waits for a CPU, and less than the 22 s and more
for which it would be held up. That deadlines are kept to the point is tested in virtual time (test_pipeline_stop)."""

STOPS = int(os.environ.get("TEST_STOPS", "0"))
"""How many workers with 128 look-ups in flight are stopped, in each engine; 0 for one, which may take ``SOON``. With a
number, as in a run by hand on a machine with time to spare, each is held to the deadline (CONTRIBUTING.md)."""


def _hang(world: World, changes: dict[str, str]) -> tuple[Program, list[Written], list[Written]]:
    """A worker that has done all but what hangs; the places of what hangs and of the rest."""
    world.service.faults = Faults(customers={f"CUST-HANG-{number}": Behaviour(hang=1.0) for number in range(8)})
    hanging = world.send(contact(f"CUST-HANG-{number}", number, partition=number % 4) for number in range(8))
    others = world.send(contact(f"CUST-{number:06d}", number, partition=number % 4) for number in range(400))
    behind = world.send(contact(f"CUST-HANG-{number}", number + 8, partition=number % 4) for number in range(8))
    worker = world.worker({**PATIENT, **changes})
    world.await_published(len(others))
    wait_until(lambda: world.service.stats.in_flight == 8, "look-ups that hang")
    return worker, hanging + behind, others


def _finish(world: World) -> None:
    """The service is well again, and the next worker does what is left, and only that."""
    world.service.faults = Faults()
    world.service.reset_stats()
    worker = world.worker({"history.coalesce": "false"})  # so that requests tell events
    world.await_committed()
    assert worker.terminate() == 0
    world.audit()
    assert world.service.stats.requests == 16


def test_a_stop_ends_within_its_deadline(world: World) -> None:
    """Look-ups that hang hold a stop up until its deadline; then all that is resolved is committed: exit code 0."""
    worker, hanging, others = _hang(world, {"shutdown.deadline": "3s", "delivery.commit_interval": "60s"})
    assert worker.terminate(SOON) == 0
    assert world.committed_places() == set(others)
    assert not world.committed_places() & set(hanging)
    assert group_members(world.bootstrap_servers, world.group) == 0
    assert [e["unresolved"] for e in worker.events() if e["event"] == "drained"] == [0]
    _finish(world)


@pytest.mark.parametrize("engine", ["httpx", "pyreqwest"])
@pytest.mark.parametrize("_stop", range(max(1, STOPS)))
def test_a_stop_with_many_look_ups_in_flight_ends_within_its_deadline(world: World, engine: str, _stop: int) -> None:
    """128 calls that hang, in either engine, and more events behind them: the worker ends in time, with exit code 0."""
    deadline = 3.0
    world.service.faults = Faults(hang=1.0)
    world.send(contact(f"CUST-{number:06d}", number, partition=number % 4) for number in range(200))
    changes = {"service.engine": engine, "service.max_in_flight": "128", "shutdown.deadline": f"{deadline:g}s"}
    if "service.limiter" in leaves():
        changes["service.limiter"] = "fixed"
    worker = world.worker({**PATIENT, **changes})
    wait_until(lambda: world.service.stats.in_flight == 128, "128 look-ups that hang", 60)
    begun = time.monotonic()
    assert worker.terminate(SOON) == 0
    took = time.monotonic() - begun
    print(f"stopped in {took:.2f} s")  # noqa: T201  the figure that a run by hand is made for
    assert took <= (deadline if STOPS else SOON)
    assert world.committed_places() == set()
    world.check_logs()


def test_a_stop_does_not_wait_for_what_is_not_there(world: World) -> None:
    """With nothing in flight a stop takes a moment, whatever its deadline; also when no event ever came."""
    worker = world.worker()
    worker.wait_for_log("partitions_assigned")
    assert worker.terminate(SOON) == 0
    assert group_members(world.bootstrap_servers, world.group) == 0
    world.audit()


def test_a_second_signal_ends_at_once(world: World) -> None:
    """SIGTERM again ends the worker with an exit code that tells so, and nothing unresolved is committed."""
    worker, hanging, _ = _hang(world, {"shutdown.deadline": "60s"})
    wait_until(lambda: len(world.committed_places()) == 400, "the others committed")
    worker.send(signal.SIGTERM)
    worker.wait_for_log("draining")
    assert worker.running
    assert worker.terminate(SOON) not in (0, None)
    assert not world.committed_places() & set(hanging)
    world.workers.remove(worker)
    _finish(world)


def test_a_stop_while_the_service_is_down_waits_for_nobody(world: World) -> None:
    """Events that wait for the service to come back are left to the next worker: a stop does not wait for it."""
    world.service.faults = Faults(down="refuse")
    world.send(contact(f"CUST-{number:06d}", number) for number in range(16))
    worker = world.worker()
    wait_until(lambda: any(e["event"] == "service_unavailable" for e in worker.events()), "the breaker open")
    assert worker.terminate(SOON) == 0
    assert world.committed_places() == set()
    _finish(world)
