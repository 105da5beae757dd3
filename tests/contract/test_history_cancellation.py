"""The client over each engine: calls that are cancelled, and a client that is closed, at any moment."""

import asyncio
import time

import pytest

from enricher.history import EngineName, OfferHistoryClient
from enricher.model import FailureKind, LookupFailure
from tests.contract.history_talk import answers, converse, fails, hangs, until
from tests.contract.scripted_http import EMPTY, JSON, Connection, Request, ScriptedServer

HEAD = f"HTTP/1.1 200 OK\r\n{JSON}".encode()


@pytest.fixture(params=["httpx", "pyreqwest"])
def engine(request: pytest.FixtureRequest) -> EngineName:
    """Every engine must pass everything."""
    name: EngineName = request.param
    return name


def test_cancelling_leaves_the_client_usable(engine: EngineName) -> None:
    """Calls cancelled at any moment give their connections back, again and again."""

    async def slow(_request: Request, connection: Connection) -> None:
        await asyncio.sleep(0.01)
        await connection.write(HEAD + f"Content-Length: {len(EMPTY)}\r\n\r\n".encode() + EMPTY[:9])
        await asyncio.sleep(0.01)
        await connection.write(EMPTY[9:])

    async def use(client: OfferHistoryClient, _server: ScriptedServer) -> int:
        for turn in range(20):
            calls = [asyncio.create_task(client.fetch("CONNOR")) for _ in range(16)]
            await asyncio.wait(calls, timeout=turn * 0.002)
            for call in calls:
                call.cancel()
            results = await asyncio.gather(*calls, return_exceptions=True)
            assert [result for result in results if isinstance(result, Exception)] == []
        return len(await asyncio.gather(*(client.fetch("CONNOR") for _ in range(16))))

    assert converse(engine, slow, use, max_connections=8) == 16


def test_a_cancelled_call_holds_up_no_other(engine: EngineName) -> None:
    """Its request may run on, but those that come after it go through connections that are free."""

    async def hangs_at_first(request: Request, connection: Connection) -> None:
        if len(seen) < 4:
            seen.append(request)
            await connection.gone()
        await connection.answer()

    async def use(client: OfferHistoryClient, _server: ScriptedServer) -> float:
        calls = [asyncio.create_task(client.fetch("CONNOR")) for _ in range(4)]
        await until(lambda: len(seen) == 4, "all are asked")
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        start = time.monotonic()
        await asyncio.gather(*(client.fetch("CONNOR") for _ in range(4)))
        return time.monotonic() - start

    seen: list[Request] = []
    assert converse(engine, hangs_at_first, use, max_connections=8) < 5  # of the 10 s that the first ones have


def test_a_cancellation_is_never_swallowed(engine: EngineName) -> None:
    """Whoever calls in a loop is ended by one cancellation, also where the answer comes in the same moment.

    A library that waits for either of the two and prefers the answer would let the loop go on, and whoever waits for
    its end wait for ever.
    """

    async def for_ever(client: OfferHistoryClient) -> None:
        while True:
            await client.fetch("CONNOR")

    async def use(client: OfferHistoryClient, _server: ScriptedServer) -> int:
        ended = 0
        for _ in range(30):
            workers = [asyncio.create_task(for_ever(client)) for _ in range(16)]
            await asyncio.wait(workers, timeout=0.01)
            for worker in workers:
                worker.cancel()
            done, pending = await asyncio.wait(workers, timeout=1)
            ended += sum(worker.cancelled() for worker in done)
            for worker in pending:
                while not worker.done():
                    worker.cancel()
                    await asyncio.sleep(0.001)
        return ended

    assert converse(engine, answers, use, max_connections=16) == 30 * 16


@pytest.mark.parametrize("cancels", [True, False])
def test_close_ends_calls_in_flight(engine: EngineName, *, cancels: bool) -> None:
    """Calls that hang, also those that wait for a connection, end at once: as failures, or cancelled if they were."""

    async def use(client: OfferHistoryClient, server: ScriptedServer) -> tuple[set[object], float]:
        calls = [asyncio.create_task(client.fetch("SECRET-ID")) for _ in range(12)]
        await until(lambda: len(server.requests) == 8, "as many requests as connections")
        start = time.monotonic()
        if cancels:
            for call in calls:
                call.cancel()
        await client.close()
        await client.close()
        results = await asyncio.gather(*calls, return_exceptions=True)
        took = time.monotonic() - start
        if engine == "httpx":  # pyreqwest gives a connection up no earlier than its answer or its timeout comes
            await until(lambda: server.open_now == 0, "all connections are closed")
        assert (await fails(client)).kind is FailureKind.CONNECTION
        return {result.kind if isinstance(result, LookupFailure) else type(result) for result in results}, took

    kinds, took = converse(engine, hangs, use, max_connections=8)
    assert kinds == {asyncio.CancelledError if cancels else FailureKind.CONNECTION}
    assert took < 5  # of the 10 s that the calls would have had


def test_close_ends_idle_connections(engine: EngineName) -> None:
    """What nobody uses is closed with the client, and not when it has been idle for long enough."""

    async def use(client: OfferHistoryClient, server: ScriptedServer) -> int:
        await asyncio.gather(*(client.fetch("CONNOR") for _ in range(8)))
        opened = server.open_now
        await client.close()
        await until(lambda: server.open_now == 0, "all connections are closed")
        return opened

    assert converse(engine, answers, use, max_connections=8) > 0
