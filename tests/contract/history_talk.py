"""What the contract tests of the history client share: a talk of one client with one scripted server."""

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest

from enricher.history import EngineName, Method, OfferHistoryClient, open_client
from enricher.model import LookupFailure
from tests.contract.scripted_http import Connection, Request, Script, ScriptedServer

T = TypeVar("T")
Use = Callable[[OfferHistoryClient, ScriptedServer], Awaitable[T]]

NOW = 1_456_404_901_526
"""What the clients' wall clock says: 2016-02-25 12:55:01.526 GMT."""

DEADLINE = 10.0
"""Seconds after which a test gives up."""


def converse(
    engine: EngineName,
    script: Script,
    use: Use[T],
    *,
    method: Method = "post",
    timeout: float = DEADLINE,
    max_response: int = 1 << 20,
    max_connections: int = 32,
    tls: ssl.SSLContext | None = None,
    host: str = "127.0.0.1",
    **options: Any,
) -> T:
    """Let the client talk with the scripted server; everything must end within the deadline, shutdown included."""

    async def main() -> T:
        async with ScriptedServer(script, tls) as server:
            client = open_client(
                server.url.replace("127.0.0.1", host),
                wall_clock=lambda: NOW,
                engine=engine,
                method=method,
                timeout=timeout,
                max_response=max_response,
                max_connections=max_connections,
                **options,
            )
            try:
                async with asyncio.timeout(DEADLINE * 2):
                    return await use(client, server)
            finally:
                await client.close()

    return asyncio.run(main())


async def fails(client: OfferHistoryClient, customer_id: str = "SECRET-ID") -> LookupFailure:
    """The failure of one look-up; it tells nothing of the customer, and drags no library error along."""
    with pytest.raises(LookupFailure) as caught:
        await client.fetch(customer_id)
    failure = caught.value
    assert failure.__cause__ is None
    assert failure.__context__ is None
    assert "SECRET" not in repr(failure.args) + failure.message
    return failure


async def until(condition: Callable[[], bool], description: str) -> None:
    """Wait for a condition with a deadline."""
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, f"waited in vain: {description}"
        await asyncio.sleep(0.005)


async def answers(_request: Request, connection: Connection) -> None:
    """A sound service where nobody has a history."""
    await connection.answer()


async def hangs(_request: Request, connection: Connection) -> None:
    """A service that never answers."""
    await connection.gone()
