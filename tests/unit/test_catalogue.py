"""What broke elsewhere and must not here: each failure a test of its own, named after where it was seen.

Those that need a real Kafka, and those about rebalances and offsets, have their tests beside those of their subject.
"""

import asyncio
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from enricher.model import FailureKind, LookupFailure, Outgoing, Position, TopicPartition
from enricher.protocols import ProduceFailed
from enricher.retry import RetryPolicy
from enricher.testing.memory import Call, MemoryClient
from tests.pipeline_world import LETTERS, World, run_world, until


@pytest.mark.parametrize("kind", [FailureKind.SERVER_ERROR, FailureKind.TIMEOUT])
def test_poison_that_fills_the_window_does_not_starve_the_rest(kind: FailureKind) -> None:
    """Parallel Consumer (fork) 487: records that always fail filled the gate, and nothing else came through.

    Three times as many as fit in flight always fail, at once or after the whole timeout; they were there first, and
    those behind them come out long before the poison's deadline, at which it becomes dead letters.
    """

    def fails(call: Call) -> LookupFailure | None:
        return LookupFailure(kind, "poison") if call.customer_id.startswith("poison") else None

    async def main() -> None:
        slow = 1.0 if kind is FailureKind.TIMEOUT else 0.02
        latency = {"poison": slow}
        client = MemoryClient(latency=lambda call: latency.get(call.customer_id[:6], 0.02), fails=fails)
        world = World(client=client)
        poison = {world.send(f"poison{number}").offset for number in range(24)}
        worker = world.worker(max_in_flight=8, retry=RetryPolicy(deadline=60.0))
        good = {world.send(f"good{number}").offset for number in range(300)}
        await until(lambda: {output.offset for output in world.outputs} >= good, "the good ones", 45.0)
        assert world.letters == []

        async def others() -> None:
            while world.unresolved & {(0, offset) for offset in poison}:
                world.send("good")
                await asyncio.sleep(0.05)

        await others()
        await world.all_resolved()
        await worker.stop()
        assert {letter.offset for letter in world.letters} == poison
        assert world.client.most_in_flight == 8

    run_world(main)


@given(
    latencies=st.lists(st.sampled_from((0.0, 0.25, 0.5, 1.0)), min_size=1, max_size=4),
    failures=st.lists(st.integers(0, 4), min_size=1, max_size=8),
    retry_after=st.sampled_from((0.25, 0.5, 1.0)),
    deadline=st.sampled_from((0.5, 1.0, 2.0)),
    cap=st.integers(1, 3),
)
@example(latencies=[0.5], failures=[4, 0], retry_after=0.5, deadline=1.0, cap=1)
def test_a_timeout_that_races_a_retry_leaves_nothing_in_flight(
    latencies: list[float], failures: list[int], retry_after: float, deadline: float, cap: int
) -> None:
    """FLINK-40456: a timeout that fired together with a retry left its record in flight for ever.

    Everything falls on the same few instants here: attempts that time out, retries that are due, and deadlines. At the
    end every event has one output or dead letter, and nothing is in flight, deferred or held (``Worker.stop`` looks).
    """

    def fails(call: Call) -> LookupFailure | None:
        wanted = failures[int(call.customer_id) % len(failures)]
        return LookupFailure(FailureKind.TIMEOUT, "late", retry_after=retry_after) if call.attempt < wanted else None

    async def main() -> None:
        client = MemoryClient(latency=lambda call: latencies[call.attempt % len(latencies)], fails=fails)
        world = World(partitions=2, client=client)
        for number in range(len(failures) * 2):
            world.send(str(number), key=f"key{number % 3}", partition=number % 2)
        policy = RetryPolicy(initial=retry_after / 2, maximum=retry_after / 2, deadline=deadline)
        worker = world.worker(max_in_flight=cap, retry=policy)
        await world.all_resolved(600.0)
        assert worker.in_flight == 0
        await worker.stop()
        world.check_once()

    run_world(main)


@pytest.mark.parametrize("guarantee", ["at-least-once", "exactly-once"])
def test_a_dead_letter_that_cannot_be_written_is_not_dropped(guarantee: str) -> None:
    """Arroyo logged that a dead letter could not be written, and went on: the record was gone.

    Here the worker ends with the error, the record stays uncommitted, and the next worker writes its dead letter.
    """

    def refuse(record: Outgoing) -> ProduceFailed | None:
        return ProduceFailed("MSG_SIZE_TOO_LARGE") if record.topic == LETTERS else None

    def fault(records: Sequence[Outgoing], _: Mapping[TopicPartition, Position]) -> ProduceFailed | None:
        return next((failed for record in records if (failed := refuse(record))), None)

    async def main() -> None:
        world = World()
        world.send("a")
        worker = world.worker(guarantee=guarantee)
        worker.sink.refuse, worker.transactions.fault = refuse, fault
        await world.all_resolved()
        bad = world.send("broken").offset
        world.send("b")
        assert isinstance(await worker.failure(), ProduceFailed)
        assert world.committed() <= bad
        assert world.letters == []
        heir = world.worker(guarantee=guarantee)
        await world.all_resolved()
        await heir.stop()
        assert [letter.offset for letter in world.letters] == [bad]
        assert world.committed() == bad + 2

    run_world(main)
