"""Which events wait for which: order, concurrency, and back-pressure."""

import asyncio
import math

import pytest

from enricher.model import TopicPartition
from enricher.scheduler import Order
from enricher.testing.memory import MemoryClient, MemorySink
from enricher.work import RECORD
from tests.pipeline_world import INPUT, World, run_world, until


def offsets_of(world: World, key: str) -> list[int]:
    """Offsets of a key's outputs, in the order in which they were written."""
    return [output.offset for output in world.outputs if output.key == key.encode()]


def test_one_key_keeps_its_order() -> None:
    """Events of one key are looked up one after the other and published in their order, however long each takes."""

    async def main() -> None:
        world = World(client=MemoryClient(latency=lambda call: [0.5, 0.01, 0.2, 0.0][call.attempt % 4]))
        for number in range(24):
            world.send(f"c{number % 3}")
        worker = world.worker()
        await world.all_resolved()
        await worker.stop()
        assert offsets_of(world, "c0") == list(range(0, 24, 3))
        assert offsets_of(world, "c1") == list(range(1, 24, 3))
        assert world.client.most_in_flight == 3

    run_world(main)


def test_another_key_overtakes_within_a_partition() -> None:
    """A slow look-up holds up its own key alone: later events of the same partition are published before it."""

    async def main() -> None:
        world = World(client=MemoryClient(latency=lambda call: 5.0 if call.customer_id == "slow" else 0.01))
        world.send("slow")
        world.send("slow")
        for number in range(10):
            world.send(f"c{number}")
        worker = world.worker()
        await world.all_resolved()
        await worker.stop()
        assert [output.offset for output in world.outputs[-2:]] == [0, 1]
        assert {output.offset for output in world.outputs[:-2]} == set(range(2, 12))

    run_world(main)


def test_order_by_partition() -> None:
    """With order ``partition`` a partition's events follow each other whatever their key; partitions do not wait."""

    async def main() -> None:
        world = World(2, client=MemoryClient(latency=lambda call: 1.0 if call.customer_id == "a0" else 0.01))
        for number in range(10):
            world.send(f"a{number}", partition=0)
            world.send(f"b{number}", partition=1)
        worker = world.worker(order=Order.PARTITION)
        await world.all_resolved()
        await worker.stop()
        assert [(output.partition, output.offset) for output in world.outputs] == [
            *((1, number) for number in range(10)),
            *((0, number) for number in range(10)),
        ]
        assert world.client.most_in_flight == 2

    run_world(main)


def test_no_order() -> None:
    """With order ``none`` even events of one key are looked up at the same time and overtake each other."""

    async def main() -> None:
        world = World(client=MemoryClient(latency=lambda call: 1.0 - call.attempt / 10))
        for _ in range(5):
            world.send("c")
        worker = world.worker(order=Order.NONE)
        await world.all_resolved()
        await worker.stop()
        assert offsets_of(world, "c") == [4, 3, 2, 1, 0]

    run_world(main)


def test_events_without_key_wait_for_nobody() -> None:
    """A record without a key has no order to keep."""

    async def main() -> None:
        world = World(client=MemoryClient(latency=lambda call: 1.0 - call.attempt / 10))
        for _ in range(5):
            world.broker.append(INPUT, b"c", partition=0)
        worker = world.worker()
        await world.all_resolved()
        await worker.stop()
        assert [output.offset for output in world.outputs] == [4, 3, 2, 1, 0]

    run_world(main)


def test_a_hanging_customer_delays_no_other() -> None:
    """A customer whose look-ups never end keeps neither others of its partition nor those of other partitions."""

    async def main() -> None:
        world = World(2, client=MemoryClient(latency=lambda call: math.inf if call.customer_id == "hang" else 0.02))
        for _ in range(50):
            world.send("hang", partition=0)
        for number in range(400):
            world.send(f"c{number}", partition=number % 2)
        worker = world.worker(max_in_flight=8, shutdown_deadline=6.0)
        await until(lambda: len(world.outputs) == 400, "the others are published", limit=2.0)
        worker.pipeline.stop()
        await worker.task
        assert world.committed(0) == 0
        assert world.committed(1) == 200

    run_world(main)


@pytest.mark.parametrize("cap", [1, 7, 64])
def test_the_cap_on_look_ups_holds_and_is_used(cap: int) -> None:
    """As many look-ups as allowed are in flight, from a single partition, and never more."""

    async def main() -> None:
        world = World()
        for number in range(300):
            world.send(f"c{number}")
        worker = world.worker(max_in_flight=cap)
        await world.all_resolved()
        await worker.stop()
        assert world.client.most_in_flight == cap

    run_world(main)


def test_a_cap_on_records_pauses_and_resumes() -> None:
    """No more records are taken than the cap and what was fetched already; when they are done, reading goes on."""

    async def main() -> None:
        world = World(2)
        for number in range(500):
            world.send(f"c{number}", partition=number % 2)
        worker = world.worker(source=world.source(batch=10, overshoot=5), max_records=40, max_in_flight=4)
        most = 0

        def done() -> bool:
            nonlocal most
            most = max(most, worker.held)
            return not world.unresolved

        await until(done, "all are resolved")
        assert 40 <= most <= 40 + 10 + 2 * 5
        assert worker.source.paused == set()
        await worker.stop()
        assert [world.committed(0), world.committed(1)] == [250, 250]

    run_world(main)


def test_a_cap_on_bytes_counts_outputs_too() -> None:
    """Large outputs that wait for the broker hold up reading as large records do."""

    async def main() -> None:
        world = World()
        for number in range(60):
            world.send(f"wide{number}")
        sink = MemorySink(world.broker, latency=10.0)
        cap = 10 * (RECORD + 1_050)  # with their outputs; sixteen would fit without
        worker = world.worker(source=world.source(batch=1, latency=0.1), sink=sink, max_bytes=cap)
        await until(lambda: worker.source.paused, "it is paused")
        await until(lambda: sink.outstanding == worker.held, "all look-ups are done")
        assert worker.held <= 11
        await world.all_resolved(limit=600.0)
        assert worker.source.paused == set()
        await worker.stop()

    run_world(main)


def test_no_look_up_is_begun_while_outputs_wait_past_the_cap() -> None:
    """What was taken before the cap was met adds no outputs to those that wait: memory stays near the cap."""

    async def main() -> None:
        world = World()
        for number in range(60):
            world.send(f"wide{number}")
        sink = MemorySink(world.broker, latency=10.0)
        cap = 60 * (RECORD + 50) + 10_000  # all records at once, and the outputs of some
        worker = world.worker(sink=sink, max_bytes=cap, max_in_flight=2)
        await until(lambda: worker.pipeline.state().bytes >= cap, "the cap is met")
        await asyncio.sleep(5.0)
        assert worker.pipeline.state().bytes < cap + 2 * 1_100
        assert sink.outstanding < 20
        await world.all_resolved(limit=600.0)
        await worker.stop()

    run_world(main)


@pytest.mark.parametrize("guarantee", ["at-least-once", "exactly-once"])
def test_a_cap_that_one_record_exceeds_does_not_stop_the_worker(guarantee: str) -> None:
    """With the cap exceeded by records alone, they go one after the other."""

    async def main() -> None:
        world = World()
        for number in range(20):
            world.send(f"wide{number}")
        worker = world.worker(guarantee=guarantee, max_bytes=1)
        await world.all_resolved(limit=600.0)
        await worker.stop()
        assert len(world.outputs) == 20

    run_world(main)


def test_a_stuck_partition_leaves_room_for_the_others() -> None:
    """A partition whose key hangs is paused at its share; the other goes on with the rest of the room."""

    async def main() -> None:
        world = World(2, client=MemoryClient(latency=lambda call: 100.0 if call.customer_id == "hang" else 0.01))
        for number in range(100):
            world.send("hang" if number == 0 else "behind", key="one", partition=0)
        for number in range(300):
            world.send(f"c{number}", partition=1)
        worker = world.worker(source=world.source(batch=4), max_records=40, max_in_flight=4)
        await until(lambda: len(world.outputs) == 300, "the other partition is done", limit=10.0)
        assert worker.source.paused == {TopicPartition(INPUT, 0)}
        assert worker.held <= 20 + 4
        await world.all_resolved(limit=200.0)
        assert worker.source.paused == set()
        await worker.stop()

    run_world(main)
