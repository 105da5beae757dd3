"""The client over each engine, against the history service: the whole contract, and its faults."""

import asyncio
import gc
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from enricher.history import EngineName, Method, OfferHistoryClient, decode_history, open_client
from enricher.model import FailureKind, LookupFailure
from enricher.testing.faults import Faults
from enricher.testing.histories import FixedHistories, GeneratedHistories
from enricher.testing.threaded import ThreadedHistoryServer

SAMPLES = Path(__file__).parent.parent / "data" / "service"
METHODS: list[Method] = ["post", "get"]


@pytest.fixture(params=["httpx", "pyreqwest"])
def engine(request: pytest.FixtureRequest) -> EngineName:
    """Every engine must pass everything."""
    name: EngineName = request.param
    return name


def open_to(server: ThreadedHistoryServer, engine: EngineName, **options: Any) -> OfferHistoryClient:
    """A client of that service, on the wall clock."""
    return open_client(server.url, wall_clock=lambda: time.time_ns() // 1_000_000, engine=engine, **options)


@pytest.mark.parametrize("method", METHODS)
def test_the_documented_sample_comes_through(engine: EngineName, method: Method) -> None:
    """The sample request gets the sample's exact offers, in both methods, and others get an empty history."""
    sample = (SAMPLES / "response.json").read_bytes()
    customer_id = msgspec.json.decode((SAMPLES / "request.json").read_bytes())["CustomerID"]

    async def main() -> None:
        client = open_to(server, engine, method=method)
        before = time.time_ns() // 1_000_000
        answer = await client.fetch(customer_id)
        assert answer.offers == decode_history(sample)
        assert before <= answer.looked_up_at <= time.time_ns() // 1_000_000
        assert (await client.fetch("nobody")).offers == ()
        await client.close()

    with ThreadedHistoryServer(FixedHistories({customer_id: sample})) as server:
        asyncio.run(main())


@pytest.mark.parametrize("method", METHODS)
def test_generated_histories_come_through(engine: EngineName, method: Method) -> None:
    """Every offer of many customers, bundles included, as decoding the service's own bytes has them."""
    histories = GeneratedHistories()
    customers = [f"C-{number} &ü/?" for number in range(50)]

    async def main() -> None:
        client = open_to(server, engine, method=method)
        answers = await asyncio.gather(*(client.fetch(customer) for customer in customers))
        assert [answer.offers for answer in answers] == [decode_history(histories.body(c)) for c in customers]
        await client.close()

    with ThreadedHistoryServer(histories) as server:
        asyncio.run(main())


@pytest.mark.parametrize(
    ("faults", "kind"),
    [
        (Faults(status={"400": 1}), FailureKind.BAD_REQUEST),
        (Faults(status={"500": 1}), FailureKind.SERVER_ERROR),
        (Faults(status={"502": 1}, error_body="html"), FailureKind.BAD_GATEWAY),
        (Faults(reset=1), FailureKind.CONNECTION),
        (Faults(hang=1), FailureKind.TIMEOUT),
        (Faults(latency="5s"), FailureKind.TIMEOUT),
        (Faults(slow_body=1, slow_body_speed=100), FailureKind.TIMEOUT),
        (Faults(truncated_json=1), FailureKind.INVALID_JSON),
        (Faults(truncated_body=1), FailureKind.CONNECTION),
        (Faults(html=1), FailureKind.NOT_JSON),
        (Faults(oversize=1), FailureKind.RESPONSE_TOO_LARGE),
        (Faults(wrong_content_type=1), FailureKind.NOT_JSON),
        (Faults(down="refuse"), FailureKind.CONNECTION),
        (Faults(down="reset"), FailureKind.CONNECTION),
    ],
)
def test_each_fault_has_its_name_and_passes(engine: EngineName, faults: Faults, kind: FailureKind) -> None:
    """While the fault lasts, calls fail by its name; when it is over, the same client succeeds."""

    async def main() -> None:
        client = open_to(server, engine, timeout=0.5, max_connections=4)
        assert len((await client.fetch("CONNOR")).offers) > 0
        await asyncio.to_thread(setattr, server, "faults", faults)
        results = await asyncio.gather(*(client.fetch("CONNOR") for _ in range(4)), return_exceptions=True)
        assert [result.kind for result in results if isinstance(result, LookupFailure)] == [kind] * 4
        await asyncio.to_thread(setattr, server, "faults", Faults())
        await client.close()
        client = open_to(server, engine)
        assert len((await client.fetch("CONNOR")).offers) > 0
        await client.close()

    with ThreadedHistoryServer() as server:
        asyncio.run(main())


def test_retry_after_is_told(engine: EngineName) -> None:
    """As seconds and as a date, which is some seconds ahead of now."""

    async def main() -> None:
        client = open_to(server, engine)
        waits = []
        for faults in (
            Faults(status={"503": 1}, retry_after=5),
            Faults(status={"429": 1}, retry_after="date:50s"),
            Faults(status={"503": 1}),
        ):
            await asyncio.to_thread(setattr, server, "faults", faults)
            with pytest.raises(LookupFailure) as caught:
                await client.fetch("CONNOR")
            waits.append(caught.value.retry_after)
        await client.close()
        assert waits[0] == 5
        assert waits[1] is not None
        assert 40 < waits[1] <= 51
        assert waits[2] is None

    with ThreadedHistoryServer() as server:
        asyncio.run(main())


def test_connections_are_few_and_kept(engine: EngineName) -> None:
    """2,000 look-ups at 32 in flight open at most 32 connections, failures in between included."""

    async def main() -> None:
        client = open_to(server, engine, max_connections=32)

        async def worker() -> None:
            for _ in range(2_000 // 32):
                try:
                    await client.fetch("CONNOR")
                except LookupFailure as failure:
                    kinds.add(failure.kind)

        await asyncio.gather(*(worker() for _ in range(32)))
        await client.close()

    kinds: set[FailureKind] = set()
    with ThreadedHistoryServer(faults=Faults(status={"503": 0.02}, latency="1ms")) as server:
        asyncio.run(main())
        assert kinds == {FailureKind.UNAVAILABLE}
        assert server.stats.connections_opened <= 32


# anyio, under httpx, leaves a coroutine of its own behind where its task is cancelled before the first step. It hangs
# in a cycle of references: whichever test the garbage collector runs in next would be blamed, unless it runs here.
@pytest.mark.filterwarnings("ignore:coroutine 'connect_tcp.<locals>.try_connect' was never awaited:RuntimeWarning")
@pytest.mark.parametrize("faults", [Faults(hang=1), Faults()])
def test_a_loop_ends_with_calls_in_flight(engine: EngineName, faults: Faults) -> None:
    """``asyncio.run`` cancels everything at once, callers and the owner of the client alike: nothing hangs."""
    callers: list[asyncio.Task[None]] = []

    async def for_ever(client: OfferHistoryClient) -> None:
        while True:
            await client.fetch("CONNOR")

    async def owner() -> None:
        client = open_to(server, engine, max_connections=16, timeout=60)
        callers.extend(asyncio.create_task(for_ever(client)) for _ in range(32))
        try:
            await asyncio.Event().wait()
        finally:
            await client.close()

    async def main(wait: float) -> None:
        callers.append(asyncio.create_task(owner()))  # which keeps it alive: nothing else refers to it
        await asyncio.wait(callers, timeout=wait)

    with ThreadedHistoryServer(faults=faults) as server:
        for turn in range(20):
            start = time.monotonic()
            asyncio.run(main(turn * 0.002))
            assert time.monotonic() - start < 30
            assert [caller for caller in callers if not caller.cancelled()] == []
            callers.clear()
            gc.collect()
