"""How a worker ends: drained in time, or with the fault that ended it, and nothing left behind."""

import asyncio
import math

import pytest

from enricher.model import FailureKind, LookupFailure, Outgoing, Position, TopicPartition
from enricher.protocols import CommitFailed
from enricher.retry import RetryPolicy
from enricher.testing.memory import MemoryClient, MemorySink
from tests.pipeline_world import INPUT, World, run_world, until

P0 = TopicPartition(INPUT, 0)


def now() -> float:
    """Virtual seconds."""
    return asyncio.get_running_loop().time()


def test_a_stop_finishes_what_is_in_flight_and_starts_nothing() -> None:
    """Look-ups under way are published and committed; queued events are left to the next worker."""

    async def main() -> None:
        world = World(client=MemoryClient(latency=2.0))
        for number in range(20):
            world.send(f"c{number % 10}")
        worker = world.worker(max_in_flight=4, commit_interval=100.0)
        await until(lambda: worker.in_flight == 4, "four in flight")
        begin = now()
        await worker.stop()
        assert now() - begin < 2.2
        assert len(world.client.calls) == 4
        assert {output.offset for output in world.outputs} == {0, 1, 2, 3}
        assert world.committed() == 4

    run_world(main)


def test_a_stop_waits_for_acknowledgements() -> None:
    """What was handed to the broker is resolved before the last commit."""

    async def main() -> None:
        world = World()
        for number in range(10):
            world.send("broken" if number == 3 else f"c{number}")
        sink = MemorySink(world.broker, latency=5.0)
        worker = world.worker(sink=sink)
        await until(lambda: sink.outstanding == 10, "all are handed over")
        await worker.stop()
        assert world.unresolved == set()
        assert world.committed() == 10

    run_world(main)


def test_a_stop_finishes_dead_letters_that_wait_for_room() -> None:
    """A record that was rejected while the producer's queue was full is in flight too."""

    async def main() -> None:
        world = World()
        for number in range(8):
            world.send("broken", key=f"k{number}")
        worker = world.worker(sink=MemorySink(world.broker, latency=0.5, capacity=1))
        await until(lambda: len(world.letters) == 1, "the first is written")
        await worker.stop()
        assert len(world.letters) == 8
        assert world.committed() == 8

    run_world(main)


def test_a_stop_does_not_wait_for_retries() -> None:
    """An event that waits to be tried again is left to the next worker."""

    async def main() -> None:
        world = World()
        world.client.fails = lambda _call: LookupFailure(FailureKind.UNAVAILABLE, "down", retry_after=60.0)
        for number in range(5):
            world.send(f"c{number}")
        worker = world.worker(retry=RetryPolicy(deadline=1000.0))
        await until(lambda: worker.pipeline.stats.retries == 5, "all wait")
        begin = now()
        await worker.stop()
        assert now() - begin < 0.1
        assert world.resolved == set()

    run_world(main)


@pytest.mark.parametrize("deadline", [25.0, 3.0, 0.5])
def test_a_stop_keeps_its_deadline_when_look_ups_hang(deadline: float) -> None:
    """What does not end is given up in time for a last commit; the rest is committed."""

    async def main() -> None:
        world = World(client=MemoryClient(latency=lambda call: math.inf if call.customer_id == "hang" else 0.02))
        for customer in ("a", "hang", "b", "hang", "c"):
            world.send(customer)
        worker = world.worker(shutdown_deadline=deadline, commit_interval=100.0)
        await until(lambda: len(world.outputs) == 3, "the others are published")
        begin = now()
        worker.pipeline.stop()
        await worker.task
        assert now() - begin <= deadline
        assert world.committed() == 1
        assert "e1" in world.broker.committed("workers")[P0].metadata

    run_world(main)


def test_a_stop_keeps_its_deadline_when_the_broker_is_gone() -> None:
    """Acknowledgements and commits that never come hold nothing up for longer."""

    async def main() -> None:
        world = World()
        worker = world.worker(sink=MemorySink(world.broker, latency=math.inf), source=world.source(commit_latency=1e9))
        for number in range(10):
            world.send(f"c{number}")
        await until(lambda: worker.sink.outstanding == 10, "all are handed over")
        begin = now()
        worker.pipeline.stop()
        await worker.task
        assert now() - begin <= 26.0
        assert world.commits == []

    run_world(main)


def test_a_stop_before_the_start_is_done() -> None:
    """The broker is down at the start: a stop ends the worker all the same."""

    async def main() -> None:
        world = World()
        sink = MemorySink(world.broker)
        sink.connected.clear()
        worker = world.worker(sink=sink)
        await asyncio.sleep(30.0)
        begin = now()
        await worker.stop()
        assert now() - begin < 0.1

    run_world(main)


def test_a_stop_in_the_first_moment() -> None:
    """Nothing has happened yet, and nothing happens."""

    async def main() -> None:
        world = World()
        world.send("a")
        await world.worker().stop()
        assert world.client.calls == []

    run_world(main)


def test_a_stop_twice() -> None:
    """An impatient second signal changes nothing."""

    async def main() -> None:
        world = World(client=MemoryClient(latency=1.0))
        world.send("a")
        worker = world.worker()
        await until(lambda: worker.in_flight == 1)
        worker.pipeline.stop()
        await asyncio.sleep(0.5)
        await worker.stop()
        assert world.committed() == 1

    run_world(main)


def test_a_commit_that_fails_at_the_stop_is_made_again() -> None:
    """The last commit is refused once; leaving the group offers another chance."""

    async def main() -> None:
        world = World()
        world.send("a")
        worker = world.worker(commit_interval=100.0)
        await world.all_resolved()
        answers = iter([CommitFailed("once")])
        worker.source.refuse_commit = lambda _positions: next(answers, None)
        await worker.stop()
        assert world.commits == [{P0: Position(1)}]

    run_world(main)


def test_records_that_arrive_during_a_stop_are_not_taken() -> None:
    """What was fetched already is left to the next worker."""

    async def main() -> None:
        world = World(client=MemoryClient(latency=2.0))
        world.send("a")
        worker = world.worker(source=world.source(overshoot=10))
        await until(lambda: worker.in_flight == 1)
        worker.pipeline.stop()
        await asyncio.sleep(1.0)
        world.send("b")
        await worker.stop()
        assert world.committed() == 1
        assert len(world.client.calls) == 1

    run_world(main)


def test_a_fault_of_the_decoder_ends_the_worker() -> None:
    """An exception that nobody expected is no dead letter: it ends the worker, with what was resolved committed."""

    async def main() -> None:
        world = World()
        worker = world.worker()
        world.send("a")
        await world.all_resolved()
        world.send("fault")
        error = await worker.failure()
        assert (type(error), str(error)) == (RuntimeError, "the decoder has a fault")
        assert world.committed() == 1

    run_world(main)


def test_a_fault_of_the_client_ends_the_worker() -> None:
    """The history client raised what it may not raise."""

    async def main() -> None:
        def broken(_call: object) -> float:
            raise ZeroDivisionError("a fault in the client")

        world = World(client=MemoryClient(latency=broken))
        world.send("a")
        assert isinstance(await world.worker().failure(), ZeroDivisionError)
        assert world.commits == []

    run_world(main)


def test_a_fault_in_a_delivery_callback_ends_the_worker() -> None:
    """A callback of the loop that raises is heard of, not only logged."""

    async def main() -> None:
        def broken(_record: Outgoing) -> None:
            raise KeyError("a fault in a callback")

        world = World()
        worker = world.worker(shutdown_deadline=2.0)
        worker.sink.refuse = broken
        world.send("a")
        assert isinstance(await worker.failure(), KeyError)
        assert world.commits == []

    run_world(main)


def test_a_source_that_fails_ends_the_worker_and_what_is_acknowledged_counts() -> None:
    """The source cannot go on: the worker ends with its error, and commits what it can."""

    async def main() -> None:
        world = World(client=MemoryClient(latency=lambda call: 500.0 if call.customer_id == "slow" else 0.02))
        worker = world.worker(commit_interval=100.0)
        world.send("a")
        world.send("slow")
        await until(lambda: len(world.outputs) == 1)
        begin = now()
        worker.source.fail(OSError("no such broker"))
        assert isinstance(await worker.failure(), OSError)
        assert now() - begin < 1.0
        assert world.committed() == 1

    run_world(main)


@pytest.mark.parametrize("after", [0.0, 0.5, 1.0, 1.01, 3.0])
def test_a_cancelled_run_leaves_nothing_behind(after: float) -> None:
    """Whoever cancels ``run`` gets a drained worker and the cancellation."""

    async def main() -> None:
        world = World(client=MemoryClient(latency=1.0))
        for number in range(5):
            world.send(f"c{number % 2}")
        worker = world.worker()
        await asyncio.sleep(after)
        worker.task.cancel()
        await asyncio.wait([worker.task])
        assert worker.task.cancelled()
        assert worker.pipeline._tasks.running == set()

    run_world(main)
