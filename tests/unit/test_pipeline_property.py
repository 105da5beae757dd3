"""The whole pipeline against whatever may happen: two workers, rebalances, failures, restarts, in virtual time."""

import asyncio
import random
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enricher.as_of import AsOf
from enricher.limiter import LimiterKind
from enricher.model import FailureKind, LookupFailure, TopicPartition
from enricher.protocols import CommitFailed, TransactionAborted
from enricher.retry import OnUnavailable, RetryPolicy
from enricher.sharing import EmptyPolicy
from enricher.testing.memory import Call, MemoryClient, MemorySink
from tests.pipeline_world import INPUT, Worker, World, check_empty, run_world, until

PASS_THROUGH = OnUnavailable.PASS_THROUGH
PARTITIONS = 3
MEMBERS = 2
UNDISTURBED = 3.0
"""Seconds; a drain that takes longer may have met its deadline, and given work up."""

OUTAGES = [FailureKind.CONNECTION, FailureKind.UNAVAILABLE, FailureKind.TIMEOUT, FailureKind.TOO_MANY_REQUESTS]


@dataclass(frozen=True)
class Send:
    """Some events: the customer decides what becomes of each."""

    customers: list[str]
    partition: int


@dataclass(frozen=True)
class Give:
    """A partition goes to a worker; the one that has it gives it back or has lost it."""

    partition: int
    member: int
    lost: bool


@dataclass(frozen=True)
class Restart:
    """A worker ends, and another takes its place: stopped, killed, or failed."""

    member: int
    how: str


@dataclass(frozen=True)
class Fault:
    """The service, or the commits, fail from now on, or no more. A commit is a transaction, under exactly-once."""

    service: bool
    commits: str


@dataclass(frozen=True)
class Wait:
    """Time passes."""

    seconds: float


customers = st.sampled_from(["a", "b", "c", "d", "broken", "odd", "wide", "bad", "ill"])
steps = st.one_of(
    st.builds(Send, st.lists(customers, min_size=1, max_size=30), st.integers(0, PARTITIONS - 1)),
    st.builds(Give, st.integers(0, PARTITIONS - 1), st.integers(0, MEMBERS - 1), st.booleans()),
    st.builds(Restart, st.integers(0, MEMBERS - 1), st.sampled_from(["stop", "kill", "fail"])),
    st.builds(Fault, st.booleans(), st.sampled_from(["", "refused", "unanswered"])),
    st.builds(Wait, st.sampled_from([0.0, 0.01, 0.1, 0.5, 2.0, 10.0])),
)


class Play:
    """Carries the steps out on two workers of one group, and keeps the books."""

    def __init__(self, seed: int, guarantee: str, options: Mapping[str, Any]) -> None:
        self.rng = random.Random(seed)
        self.guarantee = guarantee
        self.options = options
        self.service_down = False
        self.commit_fault = ""
        self.world = World(PARTITIONS, client=MemoryClient(latency=self._latency, fails=self._fails))
        self.partitions = self.world.broker.partitions([INPUT])
        self.owner: dict[TopicPartition, int] = {}
        self.members = [self._start() for _ in range(MEMBERS)]

    def _latency(self, _call: Call) -> float:
        return self.rng.choice([0.0, 0.001, 0.02, 0.3, 2.0])

    def _fails(self, call: Call) -> LookupFailure | None:
        if self.service_down or self.rng.random() < 0.05:
            return LookupFailure(self.rng.choice(OUTAGES), "down", retry_after=self.rng.choice([None, 0.5, 5.0]))
        if call.customer_id == "bad":
            return LookupFailure(FailureKind.BAD_REQUEST, "bad")
        if call.customer_id == "ill":
            return LookupFailure(FailureKind.CONTRACT_VIOLATION, "ill")
        return None

    def _commit_fault(self, what: str) -> CommitFailed | None:
        return CommitFailed(what) if self.commit_fault == what and self.rng.random() < 0.7 else None

    def _abort(self) -> TransactionAborted | None:
        faulty = 0.7 if self.commit_fault == "refused" else 0.05
        return TransactionAborted("as scripted") if self.rng.random() < faulty else None

    def _late(self) -> float:
        return 3.0 if self.commit_fault == "unanswered" else self.rng.choice([0.0, 0.01, 0.3])

    def _start(self) -> Worker:
        source = self.world.source(
            [], batch=self.rng.choice([1, 5, 500]), latency=self.rng.choice([0.0, 0.05]),
            commit_latency=self.rng.choice([0.0, 0.2, 3.0]), overshoot=self.rng.choice([0, 10]), revoke_deadline=5.0,
        )  # fmt: skip
        source.refuse_commit = lambda _positions: self._commit_fault("refused")
        source.lose_answer = lambda _positions: self._commit_fault("unanswered")
        sink = MemorySink(
            self.world.broker, latency=lambda: self.rng.choice([0.0, 0.002, 0.1, 1.0]),
            capacity=self.rng.choice([1, 5, 1000]), max_bytes=500,
        )  # fmt: skip
        transactions = self.world.transactions(
            latency=lambda: self.rng.choice([0.0, 0.01, 0.3, 3.0]), late=self._late, max_bytes=500
        )
        transactions.fault = lambda _records, _positions: self._abort()
        return self.world.worker(
            source=source, sink=sink, transactions=transactions, guarantee=self.guarantee,
            seed=self.rng.randrange(1 << 32),
            **self.options,
        )  # fmt: skip

    async def step(self, step: object) -> None:
        """Carry one step out."""
        match step:
            case Send(names, partition):
                for name in names:
                    key = self.rng.choice([name, name, "other", None])
                    self.world.broker.append(
                        INPUT, name.encode(), key=None if key is None else key.encode(), partition=partition,
                        gap=self.rng.choice([0, 0, 0, 2]),
                    )  # fmt: skip
            case Give(number, member, lost):
                await self.give(self.partitions[number], member, lost=lost)
            case Restart(member, how):
                await self.end(member, how)
                self.members[member] = self._start()
            case Fault(service, commits):
                self.service_down, self.commit_fault = service, commits
            case Wait(seconds):
                await asyncio.sleep(seconds)

    async def give(self, partition: TopicPartition, member: int, *, lost: bool = False) -> None:
        """Move a partition, as the group's coordinator does: nobody has it while it moves."""
        before = self.owner.pop(partition, None)
        if before is not None:
            source = self.members[before].source
            if lost:
                source.lose([partition])
            else:
                await source.revoke([partition])
        self.members[member].source.assign([partition])
        self.owner[partition] = member

    async def end(self, member: int, how: str) -> None:
        """End a worker; its partitions are nobody's afterwards."""
        worker = self.members[member]
        loop = asyncio.get_running_loop()
        begin = loop.time()
        if how == "kill":
            worker.kill()
        if how == "fail":
            worker.source.fail(OSError("as scripted"))
            assert isinstance(await worker.failure(), OSError)
        else:
            worker.pipeline.stop()
            await asyncio.wait([worker.task])
        if how == "stop":
            await worker.task
            if loop.time() - begin < UNDISTURBED:
                check_empty(worker.pipeline)
        assert worker.pipeline._tasks.running == set()
        self.owner = {partition: owner for partition, owner in self.owner.items() if owner != member}

    def check_order(self) -> None:
        """Each key's outputs: a record comes out after the one before it, unless it is a repetition."""
        done: dict[tuple[int, bytes], list[int]] = defaultdict(list)
        for output in self.world.outputs:
            if output.key is not None and output.offset not in (before := done[output.partition, output.key]):
                before.append(output.offset)
        for key, offsets in done.items():
            assert offsets == sorted(offsets), key


@pytest.mark.parametrize("guarantee", ["at-least-once", "exactly-once"])
@settings(max_examples=100)
@given(
    st.lists(steps, max_size=25),
    st.integers(0, 2**32),
    st.fixed_dictionaries(
        {
            "max_in_flight": st.sampled_from([1, 3, 64]),
            "max_records": st.sampled_from([2, 20, 10_000]),
            "max_bytes": st.sampled_from([300, 1 << 20]),
            "commit_interval": st.sampled_from([0.1, 1.0]),
            "revoke_grace": st.sampled_from([0.0, 0.5, 3.0]),
            "shutdown_deadline": st.sampled_from([5.0, 25.0]),
            "retry": st.sampled_from(
                [RetryPolicy(), RetryPolicy(deadline=3.0), RetryPolicy(deadline=3.0, on_unavailable=PASS_THROUGH)]
            ),
            "limiter": st.sampled_from(LimiterKind),
            "max_rate": st.sampled_from([0.0, 20.0]),
            "as_of": st.sampled_from(AsOf),
            "coalesce": st.booleans(),
            "cache_ttl": st.sampled_from([0.0, 0.5]),
            "cache_bytes": st.sampled_from([2_000, 1 << 20]),
            "on_empty": st.sampled_from([None, EmptyPolicy(delay=0.7, attempts=2)]),
        }
    ),
)
def test_nothing_is_lost_and_nothing_is_left(
    guarantee: str, script: list[object], seed: int, options: dict[str, Any]
) -> None:
    """Whatever happened, once things are well again every record comes to have an output or a dead letter.

    On the way every commit is judged (``World``), a key's outputs are in their order, and at the end of each worker
    that was not disturbed nothing is held. Under exactly-once nothing was ever repeated.
    """

    async def main() -> None:
        play = Play(seed, guarantee, options)
        for number, partition in enumerate(play.partitions):
            await play.give(partition, number % MEMBERS)
        for step in script:
            await play.step(step)
        play.service_down, play.commit_fault = False, ""
        for partition in play.partitions:
            if play.owner.get(partition) != 0:
                await play.give(partition, 0)
        await play.world.all_resolved(limit=200.0)
        # What somebody did before and could not commit is done once more, so that there may be outputs before commits.
        ends = [play.world.broker.watermarks(partition)[1] for partition in play.partitions]
        at = play.world.committed
        await until(lambda: ends == [at(n) for n in range(PARTITIONS)], lambda: f"{ends} is committed", limit=200.0)
        await play.end(1, "stop")
        await play.end(0, "stop")
        play.check_order()
        if guarantee == "exactly-once":
            assert play.world.exact
            play.world.check_once()
        assert ends == [at(n) for n in range(PARTITIONS)]
        assert play.world.client.in_flight == 0

    run_world(main)
