"""Records whose schema has to be fetched first: they keep their order, and hold up nobody else's partition."""

import asyncio

from enricher.codec.framing import SchemaKey
from enricher.codec.writer_schemas import SchemaNeeded
from enricher.model import Event, Record, TopicPartition
from tests.pipeline_world import INPUT, Output, PlainCodec, World, run_world, until

P0 = TopicPartition(INPUT, 0)


class Schemas(PlainCodec):
    """A decoder that needs schema 1 for customers whose id begins with ``one``, and 2 for ``two``; and a registry."""

    def __init__(self) -> None:
        self.known: set[SchemaKey] = set()
        self.asked: list[SchemaKey] = []
        self.up = asyncio.Event()

    def decode(self, record: Record) -> Event:
        """See ``PlainCodec``."""
        for key, name in ((1, b"one"), (2, b"two")):
            if (record.value or b"").startswith(name) and key not in self.known:
                raise SchemaNeeded(key)
        return super().decode(record)

    async def fetch(self, key: SchemaKey) -> None:
        """Answer when the registry is up, after a while."""
        self.asked.append(key)
        await self.up.wait()
        await asyncio.sleep(0.1)
        self.known.add(key)


def offsets(outputs: list[Output], partition: int = 0) -> list[int]:
    """The offsets of a partition's outputs."""
    return [output.offset for output in outputs if output.partition == partition]


def test_a_partition_waits_for_a_schema_and_the_others_do_not() -> None:
    """What stands behind such a record waits with it, and comes out in order; a broken one becomes a dead letter."""

    async def main() -> None:
        world, schemas = World(2), Schemas()
        for customer in ("a", "one", "a", "two", "a", "broken", "one"):
            world.send(customer, key="k")
        for _ in range(3):
            world.send("b", partition=1)
        worker = world.worker(decoder=schemas, fetcher=schemas)
        await until(lambda: len(world.outputs) == 4)
        assert (offsets(world.outputs), offsets(world.outputs, 1)) == ([0], [0, 1, 2])
        await asyncio.sleep(10)
        assert worker.held == 6
        schemas.up.set()
        await world.all_resolved()
        assert offsets(world.outputs) == [0, 1, 2, 3, 4, 6]
        assert [letter.offset for letter in world.letters] == [5]
        assert schemas.asked == [1, 2]
        await worker.stop()

    run_world(main)


def test_what_waits_is_left_when_its_partition_goes() -> None:
    """And fetched for again if it comes back; nothing is lost or done twice."""

    async def main() -> None:
        world, schemas = World(), Schemas()
        for customer in ("a", "one", "b"):
            world.send(customer)
        worker = world.worker(decoder=schemas, fetcher=schemas, commit_interval=100.0)
        await until(lambda: len(world.outputs) == 1)
        await worker.source.revoke([P0])
        assert worker.pipeline.stats.dropped == 2
        assert world.committed() == 1
        worker.source.assign([P0])
        await until(lambda: len(schemas.asked) == 2)
        schemas.up.set()
        await world.all_resolved()
        world.check_once()
        assert offsets(world.outputs) == [0, 1, 2]
        await worker.stop()

    run_world(main)


def test_what_waits_pauses_its_partition() -> None:
    """Memory is bounded while the registry is away."""

    async def main() -> None:
        world, schemas = World(), Schemas()
        for _ in range(100):
            world.send("one")
        worker = world.worker(decoder=schemas, fetcher=schemas, max_records=10)
        await until(lambda: P0 in worker.pipeline._held.buffer.paused)
        schemas.up.set()
        await world.all_resolved()
        world.check_once()
        await worker.stop()

    run_world(main)


def test_a_stop_does_not_wait_for_a_registry() -> None:
    """What waits is left to the next worker."""

    async def main() -> None:
        world, schemas = World(), Schemas()
        for customer in ("a", "one", "b"):
            world.send(customer)
        worker = world.worker(decoder=schemas, fetcher=schemas, shutdown_deadline=30.0)
        await until(lambda: len(world.outputs) == 1)
        begin = asyncio.get_running_loop().time()
        await worker.stop()
        assert asyncio.get_running_loop().time() - begin < 1
        assert world.committed() == 1

    run_world(main)
