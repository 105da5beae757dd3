"""Memory: with large histories the worker stays within what ``buffer.max_bytes`` says, and a fixed base."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from enricher.testing.histories import GeneratedHistories
from enricher.testing.threaded import ThreadedHistoryServer
from tests.conftest import StartProgram
from tests.harness.broker import KafkaBroker
from tests.harness.clients import Sent
from tests.harness.metrics import metrics_of
from tests.harness.program import Program
from tests.harness.waiting import wait_until
from tests.integration.worker_world import World, contact

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(300)]

MIB = 1 << 20
CAP = 32 * MIB
BASE = 256 * MIB
EVENTS = 1_000


class Large:
    """Every customer has few offers of much text: 200 kB that cost little to read."""

    def __init__(self) -> None:
        [offer, *_] = json.loads(GeneratedHistories(unknown_rate=0.0).body("CUST-1"))["OfferHistory"]
        offers = [{**offer, "ExternalID": f"{number:02d}" * 5_000} for number in range(20)]
        self._body = json.dumps({"OfferHistory": offers}).encode()

    def body(self, customer_id: str) -> bytes:
        """The same for all."""
        del customer_id
        return self._body


class Peak:
    """The largest resident size that was seen."""

    rss = 0


@contextmanager
def watched(worker: Program) -> Iterator[Peak]:
    """Look at a worker's resident size all the time."""
    peak, done = Peak(), threading.Event()

    def watch() -> None:
        while not done.wait(0.05):
            peak.rss = max(peak.rss, worker.rss())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


def wide(number: int) -> Sent:
    """An event with some text in it."""
    sent = contact(f"CUST-{number:06d}", number)
    return sent._replace(value=json.dumps({**json.loads(sent.value or b""), "note": f"{number:06d}" * 600}).encode())


@pytest.mark.parametrize("guarantee", ["at-least-once", "exactly-once"])
def test_the_memory_is_bounded_with_large_histories(
    guarantee: str, private_kafka: KafkaBroker, start_program: StartProgram
) -> None:
    """Outputs that cannot be written pile up to the cap, and no further; the size of the process follows.

    At least once, the broker is frozen; exactly once, they wait for their transaction. Without a bound there would be
    200 MB of them.
    """
    with ThreadedHistoryServer(Large()) as service:
        world = World(private_kafka.bootstrap_servers, start_program, service)
        settings = {"delivery.guarantee": guarantee, "buffer.max_bytes": f"{CAP // MIB}MiB"}
        if guarantee == "exactly-once":
            settings["delivery.commit_interval"] = "5s"  # in which the cap is met by 35 outputs/s
        worker = world.worker(settings)
        worker.wait_for_log("partitions_assigned", 60)
        world.send(wide(number) for number in range(EVENTS))
        with watched(worker) as peak:
            if guarantee == "at-least-once":
                world.await_published(50)
                private_kafka.pause()
            wait_until(lambda: metrics_of(worker)["enricher_held_bytes"] >= CAP, "the cap is met", 60)
            if guarantee == "at-least-once":
                private_kafka.unpause()
            world.await_published(EVENTS, 120)
            world.await_committed()
        print(f"{guarantee}: {peak.rss / MIB:.0f} MiB at most, {worker.rss() / MIB:.0f} in the end")  # noqa: T201
        assert peak.rss < CAP + BASE, f"{peak.rss / MIB:.0f} MiB"
        assert worker.terminate() == 0
