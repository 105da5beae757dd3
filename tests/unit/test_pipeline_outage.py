"""What becomes of look-ups that fail: retries, deadlines, dead letters, and waiting for the service."""

import asyncio

import pytest

from enricher.model import FailureKind, LookupFailure, TopicPartition
from enricher.retry import OnUnavailable, RetryPolicy
from enricher.testing.memory import Call, MemoryClient, MemorySink
from tests.pipeline_world import INPUT, Letter, World, run_world, until


def failing(kind: FailureKind, *customers: str, retry_after: float | None = None) -> MemoryClient:
    """A service that answers these customers with a failure, and others after 20 ms."""

    def fails(call: Call) -> LookupFailure | None:
        return LookupFailure(kind, "as scripted", retry_after=retry_after) if call.customer_id in customers else None

    return MemoryClient(latency=0.02, fails=fails)


def down(begin: float, end: float, kind: FailureKind = FailureKind.CONNECTION) -> MemoryClient:
    """A service that is down for a while, in virtual seconds."""
    return MemoryClient(
        latency=0.02, fails=lambda call: LookupFailure(kind, "down") if begin <= call.at < end else None
    )


def test_a_failed_look_up_is_tried_again() -> None:
    """A failure that passes costs attempts, not the event; the attempts are told in the output."""

    async def main() -> None:
        world = World()
        world.client.fails = lambda call: (
            LookupFailure(FailureKind.UNAVAILABLE, "busy") if call.customer_id == "a" and call.attempt < 3 else None
        )
        world.send("a")
        world.send("b")
        worker = world.worker()
        await world.all_resolved()
        await worker.stop()
        assert {(output.offset, output.attempts) for output in world.outputs} == {(0, 4), (1, 1)}
        assert worker.pipeline.stats.retries == 3
        assert worker.pipeline.stats.failures == {FailureKind.UNAVAILABLE: 3}

    run_world(main)


def test_a_retry_keeps_the_order_of_its_key_and_delays_no_other() -> None:
    """While an event waits to be tried again, its key waits with it, and everybody else goes on."""

    async def main() -> None:
        world = World()
        world.client.fails = lambda call: (
            LookupFailure(FailureKind.SERVER_ERROR, "ill") if call.customer_id == "a" and call.attempt < 5 else None
        )
        for number in range(20):
            world.send("a" if number % 2 == 0 else f"c{number}", key="a" if number % 2 == 0 else None)
        worker = world.worker(max_in_flight=2)
        await world.all_resolved()
        await worker.stop()
        assert [output.offset for output in world.outputs if output.key == b"a"] == list(range(0, 20, 2))
        assert all(output.offset % 2 for output in world.outputs[:10])

    run_world(main)


def test_retry_after_is_respected() -> None:
    """The service said when to come back: not a call before."""

    async def main() -> None:
        world = World()
        world.client.fails = lambda call: (
            LookupFailure(FailureKind.TOO_MANY_REQUESTS, "slow down", retry_after=7.0) if call.attempt == 0 else None
        )
        world.send("a")
        worker = world.worker()
        await world.all_resolved()
        await worker.stop()
        first, second = world.client.calls
        assert 7.0 <= second.at - first.at < 7.5

    run_world(main)


def test_a_bad_request_is_a_dead_letter_at_once() -> None:
    """400 is the event's fault: one attempt."""

    async def main() -> None:
        world = World(client=failing(FailureKind.BAD_REQUEST, "a"))
        world.send("a")
        world.send("b")
        worker = world.worker()
        await world.all_resolved()
        await worker.stop()
        assert world.letters == [Letter(0, 0, "lookup", "BadRequest")]
        assert len(world.client.calls) == 2

    run_world(main)


def test_a_broken_contract_is_tried_once_more() -> None:
    """An answer that cannot be typed is asked for twice, then it is a dead letter."""

    async def main() -> None:
        world = World(client=failing(FailureKind.CONTRACT_VIOLATION, "a"))
        world.send("a")
        worker = world.worker()
        await world.all_resolved()
        await worker.stop()
        assert world.letters == [Letter(0, 0, "lookup", "ContractViolation")]
        assert len(world.client.calls) == 2

    run_world(main)


def test_an_event_that_fails_while_others_succeed_is_given_up_at_its_deadline() -> None:
    """It does not wait for a service that is there; its last attempt is within the deadline."""

    async def main() -> None:
        world = World(client=failing(FailureKind.SERVER_ERROR, "a"))
        world.send("a")
        worker = world.worker(retry=RetryPolicy(deadline=10.0))

        async def feed() -> None:
            for number in range(200):
                world.send(f"c{number}")
                await asyncio.sleep(0.1)

        await feed()
        await world.all_resolved()
        await worker.stop()
        assert world.letters == [Letter(0, 0, "lookup", "ServerError")]
        calls = [call.at for call in world.client.calls if call.customer_id == "a"]
        assert len(calls) > 3
        assert calls[-1] - calls[0] <= 10.0

    run_world(main)


@pytest.mark.parametrize("events", [1, 3, 500])
@pytest.mark.parametrize("kind", [FailureKind.CONNECTION, FailureKind.NOT_FOUND, FailureKind.TIMEOUT])
def test_an_outage_is_waited_for(kind: FailureKind, events: int) -> None:
    """Down for two minutes, longer than any deadline: nothing is lost or dead-lettered, and all is done afterwards."""

    async def main() -> None:
        world = World(2, client=down(0.0, 120.0, kind))
        for number in range(events):
            world.send(f"c{number}", partition=number % 2)
        worker = world.worker()
        await until(lambda: asyncio.get_running_loop().time() >= 120.0, "the end of the outage", limit=130.0)
        assert world.resolved == set()
        assert world.commits == []
        await world.all_resolved(limit=10.0)
        await worker.stop()
        assert world.letters == []
        assert sum(world.committed(partition) for partition in range(2)) == events

    run_world(main)


def test_an_outage_soon_after_another_is_waited_for_as_well() -> None:
    """What an event has waited in the first is not held against it in the second, while that is not yet known as one.

    The events of the first are asked for again when the service has gone away for the second time: they fail past their
    deadline, and others were answered meanwhile.
    """

    async def main() -> None:
        away = [(0.0, 2.0), (2.95, 30.0)]

        def fails(call: Call) -> LookupFailure | None:
            if any(begin <= call.at < end for begin, end in away):
                return LookupFailure(FailureKind.UNAVAILABLE, "down", retry_after=3.0)
            return None

        world = World(client=MemoryClient(latency=0.02, fails=fails))
        for number in range(2_000):
            world.send(f"c{number}")
        worker = world.worker(retry=RetryPolicy(deadline=2.0))
        await world.all_resolved(limit=60.0)
        await worker.stop()
        assert world.letters == []
        assert world.committed() == 2_000

    run_world(main)


def test_probes_go_out_once_a_second() -> None:
    """While the service is down, it is asked at most once a second; when it is back, everything goes on at once."""

    async def main() -> None:
        world = World(client=down(10.0, 70.0))
        worker = world.worker()
        for number in range(700):
            world.send(f"c{number}")
            await asyncio.sleep(0.1)
        opened = 12.0
        for second in range(12, 69):
            calls = [call for call in world.client.calls if second <= call.at < second + 1.0 - 1e-6]
            assert len(calls) <= 1 + (second == opened), f"{len(calls)} calls in second {second}"
        assert len([call for call in world.client.calls if 12.0 <= call.at < 69.0]) >= 50
        await world.all_resolved(limit=15.0)
        await worker.stop()
        assert world.letters == []
        assert world.committed() == 700

    run_world(main)


def test_an_outage_becomes_dead_letters_where_one_says_so() -> None:
    """With ``dead-letter`` events are given up at their deadline, and those after the outage are not."""

    async def main() -> None:
        world = World(client=down(0.0, 40.0))
        policy = RetryPolicy(deadline=20.0, on_unavailable=OnUnavailable.DEAD_LETTER)
        worker = world.worker(retry=policy)
        for number in range(5):
            world.send(f"c{number}")
        await until(lambda: len(world.letters) == 5, "all are given up", limit=45.0)
        assert {letter.cause for letter in world.letters} == {"ConnectionFailed"}
        await until(lambda: asyncio.get_running_loop().time() > 40.0, "the end of the outage")
        world.send("later")
        await world.all_resolved()
        await worker.stop()
        assert [output.offset for output in world.outputs] == [5]

    run_world(main)


@pytest.mark.parametrize("guarantee", ["at-least-once", "exactly-once"])
def test_an_outage_is_passed_through_where_one_says_so(guarantee: str) -> None:
    """With ``pass-through`` events are published without a history, first after their deadline, then at once."""

    async def main() -> None:
        world = World(client=down(10.0, 100.0))
        policy = RetryPolicy(deadline=20.0, on_unavailable=OnUnavailable.PASS_THROUGH)
        worker = world.worker(guarantee=guarantee, retry=policy)
        loop = asyncio.get_running_loop()
        world.send("before")
        await world.all_resolved()
        await until(lambda: loop.time() > 11.0)
        for number in range(500):
            world.send(f"c{number}")
        world.send("bad")
        await until(lambda: loop.time() > 25.0)
        assert len(world.outputs) == 1
        await until(lambda: len(world.outputs) == 502, "what waited is given up together", limit=30.0)
        given_up = loop.time()
        assert given_up < 11.0 + 20.0 + 6.0
        for number in range(500):
            world.send(f"late{number}")
        await world.all_resolved(limit=6.0)
        calls = [call.at for call in world.client.calls if call.at > 13.0]
        assert len(calls) <= loop.time() - 13.0 + 1
        await until(lambda: loop.time() > 100.0, limit=100.0)
        world.send("after")
        await world.all_resolved(limit=6.0)
        await worker.stop()
        assert world.letters == []
        status = {output.offset: output.status for output in world.outputs}
        assert [offset for offset, name in status.items() if name == "NO_HISTORY"] == [0, 1002]
        assert set(status.values()) == {"NO_HISTORY", "UNAVAILABLE"}
        assert worker.pipeline.stats.passed_through == 1001
        first = world.outputs[1]
        assert first.looked_up_at == first.as_of > 11_000

    run_world(main)


def test_what_the_service_refuses_is_not_passed_through() -> None:
    """A bad request is the event's fault whatever ``failures.on_unavailable`` says, and so is what cannot be written.

    One customer's failure that lasts while others are answered is passed through like any other.
    """

    async def main() -> None:
        def fails(call: Call) -> LookupFailure | None:
            kinds = {"bad": FailureKind.BAD_REQUEST, "ill": FailureKind.SERVER_ERROR, "odd": FailureKind.TIMEOUT}
            kind = kinds.get(call.customer_id)
            return None if kind is None else LookupFailure(kind, "as scripted")

        world = World(client=MemoryClient(latency=0.02, fails=fails))
        worker = world.worker(retry=RetryPolicy(deadline=3.0, on_unavailable=OnUnavailable.PASS_THROUGH))
        for name in ("bad", "ill", "odd", "good"):
            world.send(name)
        await world.all_resolved()
        await worker.stop()
        assert sorted(world.letters) == [Letter(0, 0, "lookup", "BadRequest"), Letter(0, 2, "encode", "NotEncodable")]
        assert {output.offset: output.status for output in world.outputs} == {1: "UNAVAILABLE", 3: "NO_HISTORY"}

    run_world(main)


def test_a_partition_that_goes_takes_what_was_to_be_given_up_with_it() -> None:
    """What is given up while the sink is full, and its partition lost meanwhile, is dropped and not published."""

    async def main() -> None:
        world = World(client=down(0.0, 1000.0))
        policy = RetryPolicy(deadline=5.0, on_unavailable=OnUnavailable.PASS_THROUGH)
        worker = world.worker(sink=MemorySink(world.broker, latency=50.0, capacity=1), retry=policy, max_in_flight=4)
        for number in range(100):
            world.send(f"c{number}")
        await until(lambda: worker.in_flight == 4 and asyncio.get_running_loop().time() > 15.0, limit=40.0)
        worker.source.lose([TopicPartition(INPUT, 0)])
        await until(lambda: worker.held == 0, limit=120.0)
        await worker.stop()
        assert len(world.outputs) <= 3

    run_world(main)


def test_an_outage_fills_the_buffer_and_no_more() -> None:
    """The input goes on while the service is down: partitions are paused at the cap, and resumed afterwards."""

    async def main() -> None:
        world = World(3, client=down(0.0, 60.0))
        worker = world.worker(source=world.source(batch=20), max_records=100)
        for number in range(900):
            world.send(f"c{number}", partition=number % 3)
            await asyncio.sleep(0.05)
        assert worker.held <= 100 + 20
        await world.all_resolved(limit=100.0)
        assert worker.source.paused == set()
        await worker.stop()
        assert world.letters == []

    run_world(main)


def test_a_retry_that_is_due_waits_for_room() -> None:
    """With every place in flight taken, a retry waits for one to be free, and costs nothing meanwhile."""

    async def main() -> None:
        world = World(client=MemoryClient(latency=lambda call: 100.0 if call.customer_id == "slow" else 0.02))
        world.client.fails = lambda call: (
            LookupFailure(FailureKind.SERVER_ERROR, "ill") if call.customer_id == "a" and call.attempt == 0 else None
        )
        world.send("a")
        world.send("slow")
        worker = world.worker(max_in_flight=1)
        await world.all_resolved(limit=110.0)
        await worker.stop()
        assert [call.customer_id for call in world.client.calls] == ["a", "slow", "a"]

    run_world(main)
