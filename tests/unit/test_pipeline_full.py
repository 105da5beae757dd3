"""A partition whose map of completed offsets might outgrow the metadata takes no more records until it fits."""

import asyncio

import pytest

from enricher.completed import LIMIT
from enricher.model import TopicPartition
from enricher.offsets import SPARSE, WINDOW
from enricher.testing.memory import MemoryClient
from tests.pipeline_world import INPUT, Worker, World, run_world, until

P0, P1 = TopicPartition(INPUT, 0), TopicPartition(INPUT, 1)
SLOW = SPARSE + 10


def full(worker: Worker) -> set[TopicPartition]:
    """The partitions that the worker reports as full."""
    return {TopicPartition(at.topic, at.partition) for at in worker.pipeline.state().partitions if at.full}


@pytest.mark.parametrize("guarantee", ["at-least-once", "exactly-once"])
def test_a_full_partition_stops_alone_is_counted_and_goes_on(guarantee: str) -> None:
    """Others do not stall, the counters say so, nothing is lost, and no commit is ever too large."""

    async def main() -> None:
        slow = MemoryClient(latency=lambda call: 30.0 if call.customer_id == "slow" else 0.02)
        world = World(2, client=slow)
        for number in range(SLOW):
            world.send("slow", key=f"k{number}", gap=WINDOW // SPARSE + 1)
        worker = world.worker(guarantee=guarantee, max_in_flight=2 * SLOW)
        stats = worker.pipeline.stats
        await until(lambda: worker.in_flight == SLOW, "look-ups that take long")
        assert (full(worker), stats.filled) == ({P0}, 1)
        assert worker.source.paused == {P0}
        received = stats.received
        world.send("late")
        for number in range(500):
            world.send(f"c{number}", partition=1)
        await until(lambda: len(world.outputs) == 500, "the other partition goes on", limit=20.0)
        assert stats.received == received + 500
        await until(lambda: not full(worker), "it fits again", limit=30.0)
        await world.all_resolved()
        assert (stats.filled, worker.source.paused) == (1, set())
        await worker.stop()
        assert max(len(at.metadata) for commit in world.commits for at in commit.values()) <= LIMIT

    run_world(main)


def test_a_full_partition_that_goes_is_not_counted_any_more() -> None:
    """The gauges tell of what is ours."""

    async def main() -> None:
        world = World(client=MemoryClient(latency=30.0))
        for number in range(SLOW):
            world.send("slow", key=f"k{number}", gap=WINDOW // SPARSE + 1)
        worker = world.worker(max_in_flight=2 * SLOW)
        stats = worker.pipeline.stats
        await until(lambda: worker.in_flight == SLOW, "look-ups that take long")
        assert full(worker) == {P0}
        worker.source.lose([P0])
        await asyncio.sleep(0.1)
        assert (full(worker), stats.filled) == (set(), 1)
        await until(lambda: worker.in_flight == 0, "the late results")
        await worker.stop()

    run_world(main)
