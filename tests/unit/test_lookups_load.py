"""How much is asked of the service: the cap on the rate, the limiter, the budget of retries, and the breaker."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from itertools import pairwise
from typing import Any

from enricher.limiter import LimiterKind
from enricher.lookups import LookupOptions, Lookups
from enricher.model import Event, FailureKind, LookupFailure, Position, Record, Rejected, TopicPartition
from enricher.protocols import Answer
from enricher.stats import Stats
from enricher.tasks import Tasks
from enricher.testing.memory import Call, MemoryClient
from enricher.turn import PIECES
from enricher.work import Assignment, Work
from tests.virtual_time import run_virtual


class Desk:
    """Look-ups without Kafka around them: each event has a customer of its own, and what comes of it is counted."""

    def __init__(self, client: MemoryClient, **options: Any) -> None:
        self.client = client
        self.stats = Stats()
        self.answered = 0
        self.rejected = 0
        self._sent = 0
        self._assignment = Assignment(TopicPartition("contacts", 0), Position(0))
        self._errors: list[Exception] = []
        self.tasks = Tasks(self._errors.append, lambda: None)
        self.lookups = Lookups(
            client, on_answer=self._answer, on_reject=self._reject, on_unavailable=self._unavailable,
            on_drop=lambda _work: None, has_room=lambda: True, spawn=self.tasks.spawn,
            options=LookupOptions(**options),
            clock=asyncio.get_running_loop().time, rng=random.Random(1), stats=self.stats,
        )  # fmt: skip

    @property
    def now(self) -> float:
        """Virtual seconds."""
        return asyncio.get_running_loop().time()

    def send(self, count: int) -> None:
        """Events come."""
        for _ in range(count):
            self._sent += 1
            name = f"c{self._sent}"
            record = Record("contacts", 0, self._sent, 0, name.encode(), b"", [])
            work = Work(record, self._assignment, self.now)
            work.event = Event(name, name, 0)
            self.lookups.admit(work)
        self.lookups.pump()

    async def done(self, limit: float) -> None:
        """Wait until all are answered; none may have been rejected, and nothing is left over."""
        end = self.now + limit
        while self.answered < self._sent:
            assert self.now < end, f"{self.answered} of {self._sent} after {limit:g} s"
            await asyncio.sleep(0.05)
        self.lookups.stop()
        await asyncio.sleep(0)
        assert (self.rejected, self._errors) == (0, [])
        scheduler = self.lookups.scheduler
        assert (scheduler.lanes, scheduler.waiting, scheduler.in_flight) == (0, 0, 0)

    def calls(self, begin: float, end: float) -> int:
        """How many began between these times."""
        return sum(begin <= call.at < end for call in self.client.calls)

    async def _answer(self, _work: Work, _answer: Answer) -> None:
        self.answered += 1

    async def _reject(self, _work: Work, _rejected: Rejected) -> None:
        self.rejected += 1

    async def _unavailable(self, _work: Work) -> None:
        self.rejected += 1


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """In virtual time."""
    run_virtual(main(), limit=3_600.0)


def test_requests_are_no_more_than_so_many_a_second() -> None:
    """First attempts and retries together; nothing is forgotten."""

    async def main() -> None:
        rng = random.Random(1)
        ill = LookupFailure(FailureKind.SERVER_ERROR, "ill")
        desk = Desk(MemoryClient(latency=0.02, fails=lambda _call: ill if rng.random() < 0.2 else None), max_rate=20.0)
        desk.send(300)
        await desk.done(60.0)
        at = [call.at for call in desk.client.calls]
        assert all(desk.calls(begin, begin + 1.0) <= 22 for begin in at)
        assert len(at) / (at[-1] - at[0]) > 18

    run(main)


def test_retries_do_not_multiply_the_load() -> None:
    """A service that fails four of five: after the reserve there are few retries a second, and nothing is given up."""

    async def main() -> None:
        rng = random.Random(1)
        rate = 0.8
        ill = LookupFailure(FailureKind.UNAVAILABLE, "ill")
        desk = Desk(MemoryClient(latency=0.02, fails=lambda _call: ill if rng.random() < rate else None))
        desk.send(1_000)
        await asyncio.sleep(30.0)
        before = desk.now
        await asyncio.sleep(30.0)
        assert 2 * 60 < desk.calls(before, desk.now) < 25 * 30
        assert desk.stats.retries_put_off > 0
        rate = 0.0
        await desk.done(60.0)

    run(main)


def test_a_service_that_fails_now_and_then_gets_every_retry_in_time() -> None:
    """Three of ten fail: nothing is put off."""

    async def main() -> None:
        rng = random.Random(1)
        ill = LookupFailure(FailureKind.UNAVAILABLE, "ill")
        desk = Desk(MemoryClient(latency=0.02, fails=lambda _call: ill if rng.random() < 0.3 else None))
        desk.send(5_000)
        await desk.done(30.0)
        assert desk.stats.retries_put_off == 0

    run(main)


def test_after_an_outage_full_speed_is_there_in_five_seconds() -> None:
    """A minute of outage in which calls hang until their time-out: one probe a second, and nothing is lost."""

    async def main() -> None:
        def down(call: Call) -> bool:
            return 10.0 <= call.at < 70.0

        client = MemoryClient(latency=lambda call: 5.0 if down(call) else 0.02)
        client.fails = lambda call: LookupFailure(FailureKind.TIMEOUT, "down") if down(call) else None
        desk = Desk(client)
        desk.send(50_000)
        await asyncio.sleep(80.0)
        assert desk.calls(9.0, 10.0) >= 0.9 * 64 / 0.02
        for second in range(17, 69):
            assert desk.calls(second, second + 1.0 - 1e-6) <= 1
        assert desk.calls(17.0, 70.0) >= 50
        assert desk.calls(75.0, 76.0) >= 0.9 * 64 / 0.02
        await desk.done(60.0)

    run(main)


def test_the_limiter_holds_back_what_the_service_does_not_bear() -> None:
    """A service of ten places, asked with up to 64: most of its capacity is used, and hardly anybody queues there."""

    async def main() -> None:
        places = asyncio.Semaphore(10)
        rng = random.Random(1)

        class Service(MemoryClient):
            async def fetch(self, customer_id: str) -> Answer:
                async with places:
                    return await super().fetch(customer_id)

        for limiter, limits in ((LimiterKind.ADAPTIVE, range(5, 21)), (LimiterKind.FIXED, range(64, 65))):
            desk = Desk(Service(latency=lambda _call: 0.05 * rng.uniform(0.9, 1.1)), limiter=limiter)
            desk.send(6_000)
            for _ in range(200):
                await asyncio.sleep(0.1)
                if desk.now > 10.0:
                    assert desk.lookups.limit in limits
                    assert desk.lookups.scheduler.in_flight <= limits[-1] + 64 * (desk.now < 11.0)
            await desk.done(60.0)
            assert desk.calls(10.0, 20.0) >= 0.9 * 10 / 0.05 * 10.0 or limiter is LimiterKind.FIXED

    run(main)


def test_the_limiter_comes_to_the_cap_where_the_service_bears_it() -> None:
    """Within a second; and it is used."""

    async def main() -> None:
        desk = Desk(MemoryClient(latency=0.02), max_in_flight=100)
        desk.send(20_000)
        await asyncio.sleep(1.0)
        assert (desk.lookups.limit, desk.lookups.scheduler.in_flight) == (100, 100)
        await desk.done(60.0)

    run(main)


def test_answers_that_are_there_at_once_leave_the_loop_to_others() -> None:
    """A quick service may have answered before it is waited for, as with pyreqwest: one task asks on and on."""

    class Instant(MemoryClient):
        async def fetch(self, customer_id: str) -> Answer:
            self.calls.append(Call(customer_id, 0, 0.0))
            if (failure := self.fails(self.calls[-1])) is not None:
                raise failure
            return Answer((), 0)

    async def main(ill: LookupFailure | None) -> None:
        desk = Desk(Instant(fails=lambda _call: ill))
        loop = asyncio.get_running_loop()
        between = [0]

        def look() -> None:
            between.append(len(desk.client.calls))
            loop.call_soon(look)

        desk.send(1_000)
        look()
        while desk.answered + desk.rejected < 1_000:  # noqa: ASYNC110  turn by turn is what is meant
            await asyncio.sleep(0)
        assert max(later - earlier for earlier, later in pairwise(between)) <= 2 * PIECES

    run(lambda: main(None))
    run(lambda: main(LookupFailure(FailureKind.BAD_REQUEST, "ill")))
