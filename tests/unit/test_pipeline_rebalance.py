"""What happens when partitions come, go, and come back."""

import asyncio
import math

from enricher.model import FailureKind, LookupFailure, Position, TopicPartition
from enricher.protocols import CommitFailed
from enricher.testing.memory import MemoryClient, MemorySink
from tests.pipeline_world import INPUT, World, run_world, until

P0, P1 = TopicPartition(INPUT, 0), TopicPartition(INPUT, 1)


def now() -> float:
    """Virtual seconds."""
    return asyncio.get_running_loop().time()


def slow_and_others(slow: float) -> MemoryClient:
    """A service that takes long for the customer ``slow``, and 20 ms for others."""
    return MemoryClient(latency=lambda call: slow if call.customer_id == "slow" else 0.02)


def test_what_is_resolved_is_committed_before_partitions_go() -> None:
    """Whoever gets the partition next repeats nothing, though no interval has passed."""

    async def main() -> None:
        world = World(2)
        for number in range(20):
            world.send(f"c{number}", partition=number % 2)
        worker = world.worker(commit_interval=100.0)
        await world.all_resolved()
        await worker.source.revoke([P0])
        assert world.commits == [{P0: Position(10)}]
        await worker.stop()
        assert world.commits == [{P0: Position(10)}, {P1: Position(10)}]

    run_world(main)


def test_what_is_in_flight_gets_a_grace() -> None:
    """Look-ups under way end and count; queued ones are left, and the revocation waits for no more than it must."""

    async def main() -> None:
        world = World(client=MemoryClient(latency=1.0))
        for number in range(9):
            world.send(f"c{number % 3}")
        worker = world.worker(commit_interval=100.0)
        await until(lambda: worker.in_flight == 3)
        begin = now()
        await worker.source.revoke([P0])
        assert 0.9 < now() - begin < 1.1
        assert world.commits == [{P0: Position(3)}]
        assert worker.pipeline.stats.dropped == 6
        await worker.stop()
        assert len(world.client.calls) == 3

    run_world(main)


def test_the_grace_is_bounded_and_late_results_are_dropped() -> None:
    """A look-up that takes longer is not waited for, and its result is not published."""

    async def main() -> None:
        world = World(client=slow_and_others(10.0))
        for customer in ("a", "slow", "b"):
            world.send(customer)
        worker = world.worker(commit_interval=100.0, revoke_grace=3.0)
        await until(lambda: len(world.outputs) == 2)
        begin = now()
        await worker.source.revoke([P0])
        assert 2.9 < now() - begin < 3.1
        await until(lambda: worker.in_flight == 0, "the late result")
        await worker.stop()
        assert {output.offset for output in world.outputs} == {0, 2}
        assert [at[P0].offset for at in world.commits] == [1]

    run_world(main)


def test_other_partitions_go_on_during_a_revocation() -> None:
    """What is queued of partitions that stay is looked up and published meanwhile."""

    async def main() -> None:
        world = World(2, client=slow_and_others(10.0))
        world.send("slow", partition=0)
        for number in range(100):
            world.send(f"c{number}", partition=1)
        worker = world.worker(max_in_flight=2)
        await until(lambda: worker.in_flight == 2)
        revoking = asyncio.create_task(worker.source.revoke([P0]))
        await until(lambda: len(world.outputs) == 100, limit=2.5)
        assert not revoking.done()
        await revoking
        await until(lambda: worker.in_flight == 0, "the late result")
        await worker.stop()

    run_world(main)


def test_partitions_that_are_lost_commit_nothing() -> None:
    """They belong to somebody else already: neither now nor at the stop, nor do late results come out."""

    async def main() -> None:
        world = World(2, client=slow_and_others(5.0))
        for customer in ("a", "slow", "b"):
            world.send(customer, partition=0)
        world.send("c", partition=1)
        worker = world.worker(commit_interval=100.0)
        await until(lambda: len(world.outputs) == 3)
        worker.source.lose([P0])
        await until(lambda: worker.in_flight == 0, "the late result")
        await worker.stop()
        assert world.commits == [{P1: Position(1)}]
        assert len(world.outputs) == 3

    run_world(main)


def test_a_partition_that_comes_straight_back_waits_for_the_old_call() -> None:
    """A redelivered record is looked up after the call for it that is still under way: its key stays in order."""

    async def main() -> None:
        world = World(client=MemoryClient(latency=lambda call: 10.0 if call.attempt == 0 else 0.02))
        for _ in range(3):
            world.send("k")
        worker = world.worker(revoke_grace=1.0)
        await until(lambda: worker.in_flight == 1)
        await worker.source.revoke([P0])
        worker.source.assign([P0])
        await asyncio.sleep(5.0)
        assert len(world.client.calls) == 1
        await world.all_resolved()
        await worker.stop()
        assert [output.offset for output in world.outputs] == [0, 1, 2]
        assert world.client.most_in_flight == 1
        assert world.committed() == 3

    run_world(main)


def test_a_late_acknowledgement_does_not_count_for_the_new_assignment() -> None:
    """The output of the old assignment is written late; the partition came back in between and is read again."""

    async def main() -> None:
        world = World()
        world.send("k")
        worker = world.worker(revoke_grace=1.0, sink=MemorySink(world.broker, latency=5.0))
        await until(lambda: worker.sink.outstanding == 1)
        await worker.source.revoke([P0])
        worker.source.assign([P0])
        await until(lambda: len(world.outputs) == 2, "both are written")
        await worker.stop()
        assert world.committed() == 1

    run_world(main)


def test_a_retry_does_not_outlive_its_partition() -> None:
    """An event that fails during the grace, or waits to be tried again, is not looked up once its partition is gone."""

    async def main() -> None:
        world = World(client=MemoryClient(latency=2.0))
        world.client.fails = lambda _call: LookupFailure(FailureKind.SERVER_ERROR, "ill", retry_after=4.0)
        world.send("a")
        worker = world.worker(revoke_grace=3.0)
        await until(lambda: worker.in_flight == 1)
        await worker.source.revoke([P0])
        await asyncio.sleep(20.0)
        assert len(world.client.calls) == 1
        await worker.stop()

    run_world(main)


def test_late_results_release_the_room_that_they_held() -> None:
    """A partition that is paused for what another one holds is resumed when that is gone, though that one is too."""

    async def main() -> None:
        world = World(2, client=MemoryClient(latency=lambda call: 10.0 if call.customer_id == "slow" else 0.02))
        for number in range(8):
            world.send("slow", key=f"k{number}", partition=0)
        worker = world.worker(source=world.source([P0]), max_records=4, max_in_flight=8, revoke_grace=0.1)
        await until(lambda: worker.in_flight == 8)
        await worker.source.revoke([P0])
        worker.source.assign([P1])
        world.send("other", partition=1)
        await until(lambda: worker.source.paused == {P1}, "no room")
        await until(lambda: len(world.outputs) == 1, "the other partition goes on")
        await worker.stop()

    run_world(main)


def test_an_answer_that_takes_too_long_is_not_waited_for() -> None:
    """The source gives up waiting for the answer; the partitions are lost to the pipeline, and nothing is committed."""

    async def main() -> None:
        world = World(client=slow_and_others(60.0))
        world.send("a")
        world.send("slow")
        worker = world.worker(source=world.source(revoke_deadline=2.0), commit_interval=100.0, revoke_grace=30.0)
        await until(lambda: len(world.outputs) == 1)
        begin = now()
        await worker.source.revoke([P0])
        assert now() - begin < 2.1
        await until(lambda: worker.in_flight == 0, "the late result")
        await worker.stop()
        assert world.commits == []

    run_world(main)


def test_a_commit_under_way_when_its_partition_goes() -> None:
    """The broker refuses it; the revocation's own commit has the same offsets, and nothing goes back."""

    async def main() -> None:
        world = World(2)
        for number in range(10):
            world.send(f"c{number}", partition=number % 2)
        worker = world.worker(source=world.source(commit_latency=4.0))
        await until(lambda: now() > 1.5, "a commit is under way")
        await worker.source.revoke([P0])
        await until(lambda: world.committed(1) == 5, limit=15.0)
        await worker.stop()
        assert [world.committed(0), world.committed(1)] == [5, 5]
        assert worker.pipeline.stats.commit_failures >= 1

    run_world(main)


def test_a_revocation_whose_commit_fails_loses_nothing() -> None:
    """The records are done again by whoever gets the partition."""

    async def main() -> None:
        world = World()
        world.send("a")
        worker = world.worker(commit_interval=100.0)
        await world.all_resolved()
        worker.source.refuse_commit = lambda _positions: CommitFailed("REBALANCE_IN_PROGRESS")
        await worker.source.revoke([P0])
        worker.source.refuse_commit = lambda _positions: None
        worker.source.assign([P0])
        await until(lambda: len(world.outputs) == 2, "it is done again")
        await worker.stop()
        assert world.committed() == 1

    run_world(main)


def test_two_workers_share_and_one_leaves() -> None:
    """The partitions of a worker that stops go on where it stood; nothing is lost, nothing is done twice."""

    async def main() -> None:
        world = World(4)
        partitions = world.broker.partitions([INPUT])
        first = world.worker(source=world.source(partitions[:2]))
        second = world.worker(source=world.source(partitions[2:]), seed=1)
        for number in range(400):
            world.send(f"c{number % 50}", partition=number % 4)
            await asyncio.sleep(0.001)
        await first.stop()
        second.source.assign(partitions[:2])
        await world.all_resolved()
        await second.stop()
        assert len(world.outputs) == 400
        assert [world.committed(number) for number in range(4)] == [100] * 4

    run_world(main)


def test_a_revocation_during_a_stop_does_not_wait() -> None:
    """The group takes a partition while the worker drains: it gets what is resolved, at once."""

    async def main() -> None:
        world = World(client=slow_and_others(math.inf))
        world.send("a")
        world.send("slow")
        worker = world.worker(commit_interval=100.0, shutdown_deadline=10.0)
        await until(lambda: len(world.outputs) == 1)
        worker.pipeline.stop()
        await asyncio.sleep(1.0)
        begin = now()
        await worker.source.revoke([P0])
        assert now() - begin < 0.1
        assert world.commits == [{P0: Position(1)}]
        await worker.task

    run_world(main)


def test_partitions_come_and_go_while_paused() -> None:
    """A pause does not survive the assignment that it was made for."""

    async def main() -> None:
        world = World(2)
        for number in range(400):
            world.send(f"c{number}", partition=number % 2)
        worker = world.worker(source=world.source(batch=5), max_records=10, max_in_flight=1)
        for _ in range(20):
            await until(lambda: P0 in worker.source.paused or not world.unresolved)
            await worker.source.revoke([P0])
            worker.source.assign([P0])
        await world.all_resolved()
        assert worker.source.paused == set()
        await worker.stop()

    run_world(main)
