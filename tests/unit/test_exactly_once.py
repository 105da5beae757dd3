"""Delivery in transactions: what one holds, what becomes of it, and what goes on meanwhile.

On the way ``World`` judges every commit: it holds the outputs of just what it calls resolved, and nothing twice.
"""

import asyncio
import gc
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from enricher.model import Outgoing, Position, TopicPartition
from enricher.protocols import CommitFailed, ProduceFailed, TransactionAborted
from enricher.testing.memory import MemoryClient
from tests.pipeline_world import INPUT, LETTERS, OUTPUT, Letter, Worker, World, run_world, until

P0, P1 = TopicPartition(INPUT, 0), TopicPartition(INPUT, 1)


def start(world: World, **options: Any) -> Worker:
    """A worker that promises exactly-once."""
    return world.worker(guarantee="exactly-once", **options)


def now() -> float:
    """Virtual seconds."""
    return asyncio.get_running_loop().time()


class Aborts:
    """Aborts the first transactions, and remembers what each that was tried held."""

    def __init__(self, count: int) -> None:
        self.left = count
        self.tried: list[tuple[list[Outgoing], dict[TopicPartition, Position]]] = []

    def __call__(
        self, records: Sequence[Outgoing], positions: Mapping[TopicPartition, Position]
    ) -> TransactionAborted | None:
        """Fits ``MemoryTransactions.fault``."""
        self.tried.append((list(records), dict(positions)))
        self.left -= 1
        return TransactionAborted("as scripted") if self.left >= 0 else None


def test_one_transaction_holds_what_was_resolved_in_an_interval() -> None:
    """Outputs, dead letters and positions of several partitions are written at one moment."""

    async def main() -> None:
        world = World(2)
        for number in range(10):
            world.send("broken" if number == 4 else f"c{number}", partition=number % 2)
        worker = start(world)
        worker.transactions.fault = tried = Aborts(0)
        await world.all_resolved()
        assert world.commits == [{P0: Position(5), P1: Position(5)}]
        assert [record.topic for record in tried.tried[0][0]].count(LETTERS) == 1
        assert len(world.outputs) == 9
        await worker.stop()
        assert worker.pipeline.stats.commits == len(tried.tried) == 1

    run_world(main)


def test_a_slow_customer_blocks_nobody() -> None:
    """Transactions go on past a record that is not resolved; their metadata tells of what lies beyond it."""

    async def main() -> None:
        world = World(client=MemoryClient(latency=lambda call: 30.0 if call.customer_id == "slow" else 0.01))
        for customer in ("a", "slow", "b", "c"):
            world.send(customer)
        worker = start(world)
        await until(lambda: len(world.outputs) == 3, "the others", limit=0.2)
        world.send("d")
        await until(lambda: len(world.outputs) == 4, "one that came later", limit=0.2)
        assert world.committed() == 1
        await world.all_resolved()
        await worker.stop()
        assert world.committed() == 5

    run_world(main)


def test_an_aborted_transaction_is_written_again_without_new_look_ups() -> None:
    """What it held waits in memory, and comes out in its order, together with what has come since."""

    async def main() -> None:
        world = World()
        worker = start(world)
        worker.transactions.fault = aborts = Aborts(3)
        for _ in range(5):
            world.send("k")
        await until(lambda: len(aborts.tried) == 2)
        world.send("k")
        assert (world.outputs, world.commits) == ([], [])
        await world.all_resolved()
        await worker.stop()
        assert [output.offset for output in world.outputs] == list(range(6))
        assert len(world.client.calls) == 6
        assert worker.pipeline.stats.commit_failures == 3

    run_world(main)


def test_look_ups_go_on_while_a_transaction_commits() -> None:
    """A broker that takes its time holds up what is written, not what is looked up."""

    async def main() -> None:
        world = World()
        worker = start(world, transactions=world.transactions(latency=5.0))
        world.send("first")
        await until(lambda: worker.transactions.under_way)
        for number in range(100):
            world.send(f"c{number}")
        await until(lambda: len(world.client.calls) == 101, "all are looked up", limit=1.0)
        assert world.outputs == []
        await world.all_resolved()
        assert len(world.commits) == 2
        await worker.stop()

    run_world(main)


def test_what_waits_for_a_transaction_counts_as_held() -> None:
    """A transaction that never ends fills the worker up to its cap, and no further."""

    async def main() -> None:
        world = World()
        for number in range(500):
            world.send(f"c{number}")
        source = world.source(batch=5)
        worker = start(
            world, source=source, transactions=world.transactions(latency=math.inf), max_records=20,
            shutdown_deadline=5.0,
        )  # fmt: skip
        await until(lambda: P0 in source.paused, "it is full")
        await asyncio.sleep(10.0)
        assert 20 <= worker.held <= 25
        assert len(world.client.calls) == worker.held
        worker.pipeline.stop()
        await worker.task

    run_world(main)


def test_nothing_new_needs_no_transaction() -> None:
    """An idle worker leaves the broker alone."""

    async def main() -> None:
        world = World()
        worker = start(world)
        worker.transactions.fault = tried = Aborts(0)
        world.send("a")
        await world.all_resolved()
        await asyncio.sleep(10.0)
        await worker.stop()
        assert len(tried.tried) == 1

    run_world(main)


def test_a_revocation_commits_what_is_resolved() -> None:
    """Before a partition goes its outputs are written, though no interval has passed; aborts are tried again."""

    async def main() -> None:
        world = World(2)
        for number in range(10):
            world.send(f"c{number}", partition=number % 2)
        worker = start(world, commit_interval=100.0)
        worker.transactions.fault = Aborts(2)
        await until(lambda: worker.in_flight == 0 and len(world.client.calls) == 10)
        begin = now()
        await worker.source.revoke([P0])
        assert now() - begin < 0.2
        assert world.commits == [{P0: Position(5), P1: Position(5)}]
        await worker.stop()

    run_world(main)


def test_the_consumer_itself_commits_nothing() -> None:
    """Karafka 2367: commits of the consumer beside those of transactions. All are the transactions' here.

    At intervals, as partitions go, and at the stop: the source is never asked to commit, nor told to by an answer.
    """

    async def main() -> None:
        world = World(2)
        worker = start(world)
        asked: list[object] = []
        worker.source.refuse_commit = asked.append
        for number in range(10):
            world.send(f"c{number}", partition=number % 2)
        await world.all_resolved()
        world.send("d", partition=0)
        await until(lambda: worker.in_flight == 0 and len(world.client.calls) == 11)
        await worker.source.revoke([P0])
        world.send("e", partition=1)
        await until(lambda: len(world.client.calls) == 12)
        await worker.stop()
        assert asked == []
        assert len(world.outputs) == 12
        assert world.unresolved == set()

    run_world(main)


@pytest.mark.parametrize("decided", ["in time", "too late"])
def test_a_revocation_that_cannot_commit_leaves_it_to_the_next(decided: str) -> None:
    """The transaction does not end within the grace: whether it was written is the broker's to say, and is known."""

    async def main() -> None:
        world = World(2)
        world.send("a", partition=0)
        late = decided == "in time"
        slow = world.transactions(latency=0.1, late=30.0) if late else world.transactions(latency=30.0)
        worker = start(world, transactions=slow, revoke_grace=1.0, revoke_floor=1.0)
        other = start(world, source=world.source([]), seed=1)
        await until(lambda: slow.under_way)
        for number in range(3):
            world.send(f"b{number}", partition=0)
        await until(lambda: worker.held == 4)
        begin = now()
        await worker.source.revoke([P0])
        assert 1.9 < now() - begin < 2.3
        assert world.committed() == late
        other.source.assign([P0])
        await until(lambda: not world.unresolved, limit=1.0)
        await asyncio.sleep(60.0)
        assert len(world.outputs) == 4
        await worker.stop()
        await other.stop()
        # Whose transaction was refused in the end, its look-ups were in vain.
        assert worker.pipeline.stats.enriched == late
        assert other.pipeline.stats.enriched == 4 - late

    run_world(main)


def test_an_abort_that_nobody_waits_for_is_no_fault() -> None:
    """The revocation that began the transaction has given it up when it is aborted; the worker goes on."""

    async def main() -> None:
        world = World()
        world.send("a")
        worker = start(world, transactions=world.transactions(latency=30.0), commit_interval=100.0)
        await until(lambda: len(world.client.calls) == 1 and worker.in_flight == 0)
        await worker.source.revoke([P0])
        await until(lambda: not worker.transactions.under_way)
        gc.collect()  # an error that nobody has asked for would be heard of now
        assert not worker.task.done()
        worker.source.assign([P0])
        await world.all_resolved(limit=200.0)
        await worker.stop()

    run_world(main)


def test_the_results_of_a_partition_that_went_are_not_written() -> None:
    """They waited for the next transaction when the partition was lost; what is left of others is written."""

    async def main() -> None:
        world = World(2)
        world.send("a", partition=0)
        world.send("b", partition=1)
        worker = start(world, commit_interval=1.0)
        await until(lambda: worker.in_flight == 0 and len(world.client.calls) == 2)
        worker.source.lose([P0])
        await until(lambda: worker.held == 0)
        assert world.commits == [{P1: Position(1)}]
        assert [output.partition for output in world.outputs] == [1]
        await worker.stop()

    run_world(main)


def test_a_partition_lost_in_the_middle_of_a_transaction() -> None:
    """The broker refuses the transaction, for the group has moved on; what the others had in it is written next."""

    async def main() -> None:
        world = World(2)
        world.send("a", partition=0)
        world.send("b", partition=1)
        worker = start(world, transactions=world.transactions(latency=1.0))
        other = start(world, source=world.source([]), seed=1)
        await until(lambda: worker.transactions.under_way)
        worker.source.lose([P0])
        other.source.assign([P0])
        await world.all_resolved()
        await worker.stop()
        await other.stop()
        assert (worker.pipeline.stats.enriched, other.pipeline.stats.enriched) == (1, 1)
        assert len(world.client.calls) == 3
        assert worker.pipeline.stats.commit_failures == 1

    run_world(main)


def test_a_partition_lost_in_the_moment_of_a_commit() -> None:
    """The commit was asked for before the loss was heard of, and begins after: it knows of it."""

    async def main() -> None:
        world = World(2)
        world.send("a", partition=0)
        world.send("b", partition=1)
        worker = start(world, commit_interval=100.0)
        worker.transactions.fault = Aborts(1)
        await until(lambda: worker.in_flight == 0 and len(world.client.calls) == 2)
        with pytest.raises(CommitFailed):
            await worker.pipeline._commit()
        commit = asyncio.create_task(worker.pipeline._commit())
        worker.source.lose([P0])
        await commit
        assert world.commits == [{P1: Position(1)}]
        await worker.stop()

    run_world(main)


def test_a_result_that_comes_after_its_partition_was_lost_is_dropped() -> None:
    """It is neither written nor held."""

    async def main() -> None:
        world = World(client=MemoryClient(latency=3.0))
        world.send("a")
        worker = start(world)
        await until(lambda: worker.in_flight == 1)
        worker.source.lose([P0])
        await until(lambda: worker.in_flight == 0)
        await worker.stop()
        assert (world.outputs, world.commits) == ([], [])

    run_world(main)


def test_a_dead_letter_that_comes_after_its_partition_was_lost_is_dropped() -> None:
    """The loss is heard of right after the record."""

    async def main() -> None:
        world = World()
        worker = start(world)
        await until(lambda: worker.source.assigned)
        world.send("broken")
        asyncio.get_running_loop().call_later(0.0, worker.source.lose, [P0])
        await until(lambda: worker.pipeline.stats.dropped == 1)
        await worker.stop()
        assert (world.letters, world.commits) == ([], [])

    run_world(main)


def test_a_partition_that_comes_straight_back_starts_from_what_was_written() -> None:
    """Results of the old assignment are not written for the new one, which looks them up itself."""

    async def main() -> None:
        world = World()
        for _ in range(4):
            world.send("k")
        worker = start(world, commit_interval=1.0)
        await until(lambda: len(world.client.calls) == 4 and worker.in_flight == 0)
        worker.source.lose([P0])
        worker.source.assign([P0])
        await world.all_resolved()
        await worker.stop()
        assert [output.offset for output in world.outputs] == [0, 1, 2, 3]
        assert len(world.client.calls) == 8

    run_world(main)


def test_a_killed_worker_repeats_nothing() -> None:
    """Killed before and after the broker decided: the next one goes on with just what was not written."""

    async def main() -> None:
        world = World()
        for number in range(4):
            world.send(f"a{number}")
            worker = start(world, transactions=world.transactions(latency=1.0, late=1.0))
            await until(lambda worker=worker: worker.transactions.under_way)  # type: ignore[misc]  # a default
            await asyncio.sleep(0.5 if number % 2 else 1.5)
            worker.kill()
            await asyncio.wait([worker.task])
        last = start(world)
        await world.all_resolved()
        await last.stop()
        assert [output.offset for output in world.outputs] == [0, 1, 2, 3]

    run_world(main)


@pytest.mark.parametrize("outcome", ["written", "aborted", "hangs"])
def test_a_drain_in_the_middle_of_a_transaction(outcome: str) -> None:
    """Its end is waited for: what it held is neither lost nor committed without its outputs, whatever came of it."""

    async def main() -> None:
        world = World()
        slow = world.transactions(latency=math.inf if outcome == "hangs" else 2.0, late=2.0)
        worker = start(world, transactions=slow, shutdown_deadline=9.0)
        slow.fault = Aborts(outcome == "aborted")
        world.send("a")
        await until(lambda: slow.under_way)
        world.send("b")
        await until(lambda: len(world.client.calls) == 2 and worker.in_flight == 0)
        begin = now()
        if outcome == "hangs":
            worker.pipeline.stop()
            await worker.task
            assert now() - begin <= 10.1
            assert (world.outputs, world.commits) == ([], [])
        else:
            await worker.stop()
            assert [output.offset for output in world.outputs] == [0, 1]
            assert world.committed() == 2
        assert len(world.client.calls) == 2

    run_world(main)


def test_an_aborted_transaction_that_a_drain_gave_up() -> None:
    """Nobody waits for it any more when it is aborted: that is no fault of ours, and the stop is in order."""

    async def main() -> None:
        world = World(client=MemoryClient(latency=lambda call: math.inf if call.customer_id == "hang" else 0.01))
        slow = world.transactions(latency=8.0)
        worker = start(world, transactions=slow, shutdown_deadline=9.0)
        slow.fault = aborts = Aborts(1)
        world.send("a")
        world.send("hang")
        await until(lambda: slow.under_way)
        await asyncio.sleep(0.5)
        begin = now()
        worker.pipeline.stop()  # for the hanging look-up it waits until it gives the transaction up
        slow._latency = 0.01
        await worker.task
        assert 7.0 < now() - begin < 9.0
        assert len(aborts.tried) == 2
        assert [output.offset for output in world.outputs] == [0]

    run_world(main)


def test_an_output_that_is_too_large_becomes_a_dead_letter_in_its_place() -> None:
    """The transaction is written once more, with dead letters where the large outputs were, and no new look-ups."""

    async def main() -> None:
        world = World()
        for customer in ("a", "wide1", "b", "wide2", "c"):
            world.send(customer, key="k")
        worker = start(world, transactions=world.transactions(max_bytes=500), commit_interval=1.0)
        worker.transactions.fault = tried = Aborts(0)
        await world.all_resolved()
        await worker.stop()
        assert [record.topic for record in tried.tried[0][0]] == [OUTPUT, LETTERS, OUTPUT, LETTERS, OUTPUT]
        assert world.letters == [Letter(0, at, "produce", "OutputTooLarge") for at in (1, 3)]
        assert [output.offset for output in world.outputs] == [0, 2, 4]
        assert world.commits == [{P0: Position(5)}]
        assert len(world.client.calls) == 5
        assert worker.pipeline.stats.dead_letters == {("produce", "OutputTooLarge"): 2}

    run_world(main)


def test_a_dead_letter_that_is_too_large_stops_the_worker() -> None:
    """It is neither dropped nor rejected once more; nothing is committed past it, and the end comes at once."""

    async def main() -> None:
        world = World()
        world.send("a")
        world.send("broken" + 600 * "x", key="")
        world.send("b")
        worker = start(world, transactions=world.transactions(max_bytes=500))
        error = await worker.failure()
        assert isinstance(error, ProduceFailed)
        assert LETTERS in str(error)
        assert (world.commits, world.resolved) == ([], set())
        assert now() < 1.0

    run_world(main)


@pytest.mark.parametrize("error", [ProduceFailed("INVALID_PRODUCER_EPOCH: fenced"), RuntimeError("a fault")])
def test_a_transaction_that_cannot_go_on_stops_the_worker(error: Exception) -> None:
    """The worker ends with the error, and commits no position whose output was not written."""

    async def main() -> None:
        world = World()
        worker = start(world)
        world.send("a")
        await world.all_resolved()
        worker.transactions.fault = lambda _records, _positions: error  # type: ignore[assignment, return-value]  # a fault
        world.send("b")
        await until(lambda: worker.pipeline._error is not None)
        worker.transactions.fault = Aborts(0)
        assert await worker.failure() is error
        assert world.committed() == 1
        assert len(world.outputs) == 1

    run_world(main)


@pytest.mark.parametrize("error", [ProduceFailed("INVALID_PRODUCER_EPOCH: fenced"), RuntimeError("a fault")])
def test_a_failure_that_a_drain_no_longer_waits_for(error: Exception) -> None:
    """The drain gave the transaction up, and then it fails for good: the worker ends with that error."""

    async def main() -> None:
        world = World()
        worker = start(world, transactions=world.transactions(latency=4.0), shutdown_deadline=6.0)
        worker.transactions.fault = lambda _records, _positions: error  # type: ignore[assignment, return-value]  # a fault
        world.send("a")
        await until(lambda: worker.transactions.under_way)
        worker.pipeline.stop()
        assert await worker.failure() is error
        assert world.commits == []

    run_world(main)


def test_a_stop_before_the_start_is_done() -> None:
    """The broker is down at the start: a stop ends the worker all the same."""

    async def main() -> None:
        world = World()
        transactions = world.transactions()
        transactions.connected.clear()
        worker = start(world, transactions=transactions)
        await asyncio.sleep(30.0)
        begin = now()
        await worker.stop()
        assert now() - begin < 0.1

    run_world(main)
