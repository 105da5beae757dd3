"""Fewer calls, the same answers: who shares whose, what is kept, and empty histories that are asked for again."""

import asyncio
from itertools import pairwise
from typing import Any

import pytest

from enricher.as_of import AsOf
from enricher.model import FailureKind, LookupFailure, Offer, Outgoing, TopicPartition
from enricher.retry import RetryPolicy
from enricher.sharing import EmptyPolicy
from enricher.testing.memory import MemoryClient, MemorySink
from tests.pipeline_world import INPUT, Letter, World, run_world, until

OFFERS = (Offer(name="one", outcome_time=500),)


def test_what_waits_in_the_lane_shares_the_answer() -> None:
    """Ten events of a customer that were there when the call began: one call, all in order, each with its output."""

    async def main() -> None:
        world = World()
        for _ in range(10):
            world.send("a")
        worker = world.worker(coalesce=True)
        await world.all_resolved()
        await worker.stop()
        assert [output.offset for output in world.outputs] == list(range(10))
        assert [output.attempts for output in world.outputs] == [1] + [0] * 9
        assert len({output.looked_up_at for output in world.outputs}) == 1
        assert len(world.client.calls) == 1
        assert (worker.pipeline.stats.lookups, worker.pipeline.stats.coalesced) == (1, 9)

    run_world(main)


def test_what_came_after_the_call_began_asks_anew() -> None:
    """Nobody gets an answer to a call that is older than the event; those that came meanwhile share the next one."""

    async def main() -> None:
        world = World(client=MemoryClient(latency=1.0))
        worker = world.worker(coalesce=True)
        world.send("a")
        await until(lambda: len(world.client.calls) == 1)
        for key in ("a", "a", "other", None):
            world.send("a", key=key)
        await world.all_resolved()
        await worker.stop()
        assert len(world.client.calls) == 2
        first, *others = sorted(world.outputs)
        assert {output.looked_up_at - first.looked_up_at for output in others} == {1_000}
        assert worker.pipeline.stats.coalesced == 3

    run_world(main)


def test_keys_of_one_customer_share_a_call() -> None:
    """Events of one customer under a hundred keys, all there before: one call, and never two at a time."""

    async def main() -> None:
        world = World(3)
        for number in range(100):
            world.send("a", key=f"k{number}", partition=number % 3)
        world.send("b", key="k0")
        worker = world.worker(source=world.source(batch=1_000), coalesce=True, max_in_flight=2)
        await world.all_resolved()
        await worker.stop()
        assert sorted(call.customer_id for call in world.client.calls) == ["a", "b"]
        assert {output.as_of for output in world.outputs} == {output.looked_up_at for output in world.outputs}

    run_world(main)


def test_others_do_not_wait_for_the_customer() -> None:
    """Whose calls hang: those that wait for them take no place from other customers."""

    async def main() -> None:
        world = World(client=MemoryClient(latency=lambda call: 100.0 if call.customer_id == "slow" else 0.02))
        for number in range(50):
            world.send("slow", key=f"k{number}")
        for number in range(50):
            world.send(f"c{number}")
        worker = world.worker(coalesce=True, max_in_flight=2)
        await until(lambda: len(world.outputs) == 50, limit=5.0)
        await world.all_resolved(limit=250.0)
        await worker.stop()
        assert world.client.most_in_flight == 2

    run_world(main)


def test_another_customer_in_the_lane_asks_for_himself() -> None:
    """The key keeps its order; what is shared is shared by neighbours."""

    async def main() -> None:
        world = World()
        for name in ("a", "a", "b", "b", "a"):
            world.send(name, key="k")
        worker = world.worker(coalesce=True)
        await world.all_resolved()
        await worker.stop()
        assert [output.offset for output in world.outputs] == list(range(5))
        assert [call.customer_id for call in world.client.calls] == ["a", "b", "a"]

    run_world(main)


def test_failures_are_not_shared() -> None:
    """Each event has attempts of its own, and a dead letter for these alone; what is answered later is shared."""

    async def main() -> None:
        world = World()
        kinds = {"bad": FailureKind.BAD_REQUEST, "ill": FailureKind.CONTRACT_VIOLATION, "slow": FailureKind.TIMEOUT}
        world.client.fails = lambda call: (
            LookupFailure(kinds[call.customer_id], "as scripted")
            if call.customer_id in ("bad", "ill") or call.attempt < 3
            else None
        )
        for name in ("bad", "ill", "slow"):
            for key in ("k", "k", "l"):
                world.send(name, key=f"{name}-{key}")
        worker = world.worker(coalesce=True)
        await world.all_resolved()
        await worker.stop()
        causes = [Letter(0, offset, "lookup", "BadRequest") for offset in range(3)]
        causes += [Letter(0, offset, "lookup", "ContractViolation") for offset in range(3, 6)]
        assert sorted(world.letters) == causes
        asked = [call.customer_id for call in world.client.calls]
        assert (asked.count("bad"), asked.count("ill")) == (3, 6)
        assert asked.count("slow") in (4, 5)

    run_world(main)


@pytest.mark.parametrize("how", ["lost", "revoked", "stopped"])
def test_who_waits_for_a_call_may_go_with_its_partition(how: str) -> None:
    """Events that wait for a call under another key are dropped with their partition, and nothing is left over."""

    async def main() -> None:
        world = World(2, client=MemoryClient(latency=10.0, fails=lambda _call: LookupFailure(FailureKind.TIMEOUT, "")))
        for partition in range(2):
            for number in range(5):
                world.send("a", key=f"k{number}", partition=partition)
        worker = world.worker(coalesce=True)
        await until(lambda: worker.in_flight == 10)
        gone = [TopicPartition(INPUT, 1)]
        if how == "lost":
            worker.source.lose(gone)
        if how == "revoked":
            await worker.source.revoke(gone)
        if how != "stopped":
            world.client.latency, world.client.fails = 0.02, lambda _call: None
            await until(lambda: len(world.outputs) == 5)
        await worker.stop()
        assert all(output.partition == 0 for output in world.outputs)

    run_world(main)


@pytest.mark.parametrize(
    ("keys", "options"),
    [(1, {"coalesce": True}), (300, {"coalesce": True}), (300, {"cache_ttl": 9.0, "max_in_flight": 1})],
)
def test_a_customer_of_many_events_lets_others_on_the_event_loop(keys: int, options: dict[str, Any]) -> None:
    """Hundreds of events that are served without a call of their own: never many in one turn of the loop."""

    async def main() -> None:
        world = World()
        sink = MemorySink(world.broker)
        loop = asyncio.get_running_loop()
        turns: list[int] = []
        new_turn = True

        def turn() -> None:
            nonlocal new_turn
            new_turn = True

        def watch(_output: Outgoing) -> None:
            nonlocal new_turn
            if new_turn:
                turns.append(0)
                new_turn = False
                loop.call_soon(turn)
            turns[-1] += 1

        sink.refuse = watch
        if "cache_ttl" in options:
            world.send("a")
        for number in range(300):
            world.send("a", key=f"k{number % keys}")
        worker = world.worker(sink=sink, **{"max_in_flight": 2, **options})
        await world.all_resolved()
        await worker.stop()
        assert len(world.client.calls) == 1
        assert max(turns) <= 40

    run_world(main)


def test_an_answer_is_kept_where_one_says_so() -> None:
    """For its time, from the call's beginning; the output tells when it was looked up."""

    async def main() -> None:
        world = World()
        worker = world.worker(coalesce=True, cache_ttl=10.0)
        loop = asyncio.get_running_loop()
        for _ in range(25):
            world.send("a")
            world.send("b", key="k")
            await asyncio.sleep(1.0)
        await world.all_resolved()
        await worker.stop()
        asked = [call.at for call in world.client.calls if call.customer_id == "a"]
        assert len(asked) == 3
        assert all(second - first >= 10.0 for first, second in pairwise(asked))
        assert worker.pipeline.stats.cache_hits == 44
        assert len({output.looked_up_at for output in world.outputs}) <= 6
        assert loop.time() > 25.0

    run_world(main)


def test_as_of_their_events_one_answer_serves_all_that_came_before_it() -> None:
    """Received after the call began, but of before: what had happened by then is in the answer."""

    async def main() -> None:
        for as_of, calls in ((AsOf.NOW, 2), (AsOf.EVENT, 1)):
            world = World(client=MemoryClient(latency=1.0))
            world.client.histories["a"] = OFFERS
            await asyncio.sleep(5.0)  # events of the world are of the instant 1,000
            worker = world.worker(coalesce=True, as_of=as_of)
            world.send("a")
            await until(lambda world=world: len(world.client.calls) == 1)  # type: ignore[misc]
            for key in ("a", "other"):
                world.send("a", key=key)
            await world.all_resolved()
            await worker.stop()
            assert len(world.client.calls) == calls
            assert {output.offers for output in world.outputs} == {1}

    run_world(main)


def test_an_empty_history_is_asked_for_again_where_one_says_so() -> None:
    """So often, after a wait each; then it is accepted. An answer ends it."""

    async def main() -> None:
        world = World()
        worker = world.worker(coalesce=True, cache_ttl=100.0, on_empty=EmptyPolicy(delay=5.0, attempts=3))
        for name in ("late", "late", "never"):
            world.send(name)
        await until(lambda: len(world.client.calls) >= 4)
        world.client.histories["late"] = OFFERS
        await world.all_resolved()
        await worker.stop()
        calls = {name: [c.at for c in world.client.calls if c.customer_id == name] for name in ("late", "never")}
        assert [len(times) for times in calls.values()] == [2, 4]
        assert all(5.0 <= b - a < 5.1 for times in calls.values() for a, b in pairwise(times))
        told = {output.offset: (output.status, output.attempts) for output in world.outputs}
        assert told == {0: ("ENRICHED", 2), 1: ("ENRICHED", 0), 2: ("NO_HISTORY", 4)}
        stats = worker.pipeline.stats
        assert (stats.empty_retries, stats.retries, stats.failures.total()) == (4, 0, 0)

    run_world(main)


def test_empty_histories_do_not_use_up_the_deadline() -> None:
    """Half a minute of empty answers, then a failure: the event has its whole deadline for that."""

    async def main() -> None:
        world = World()
        world.client.fails = lambda call: (
            LookupFailure(FailureKind.SERVER_ERROR, "ill")
            if call.customer_id == "a" and 3 <= call.attempt < 8
            else None
        )
        worker = world.worker(retry=RetryPolicy(deadline=10.0), on_empty=EmptyPolicy(delay=10.0, attempts=3))
        world.client.histories["b"] = OFFERS
        world.send("a")
        for _ in range(60):
            world.send("b", key=None)
            await asyncio.sleep(1.0)
        await world.all_resolved()
        await worker.stop()
        assert world.letters == []
        (output,) = [output for output in world.outputs if output.offset == 0]
        assert (output.status, output.attempts) == ("NO_HISTORY", 9)

    run_world(main)


def test_a_stop_does_not_wait_for_an_empty_history_to_fill() -> None:
    """What would be asked for again is left to the next worker."""

    async def main() -> None:
        world = World(client=MemoryClient(latency=2.0))
        world.send("a")
        worker = world.worker(on_empty=EmptyPolicy(delay=100.0, attempts=3))
        await until(lambda: worker.in_flight == 1)
        worker.pipeline.stop()
        await asyncio.wait([worker.task])
        assert asyncio.get_running_loop().time() < 10.0
        assert len(world.client.calls) == 1

    run_world(main)
