"""How the history service's tests run it and talk to it: both event loops, HTTP, and bytes on a socket."""

import asyncio
import importlib.util
import ssl
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import httpx

from enricher.testing.history_service import PATH, HistoryServer

T = TypeVar("T")

LOOPS = ["asyncio", "uvloop"] if importlib.util.find_spec("uvloop") else ["asyncio"]
"""The event loops that there are on this platform; the service is tested on each."""


def run(main: Callable[[], Coroutine[Any, Any, T]], loop: str = "asyncio") -> T:
    """Run a test's body, and hold it to leaving no task and no unhandled error behind.

    The body closes its server even where it fails: with warnings as errors, uvloop's ``close`` does not return while a
    server is still open, connected or not.
    """
    unhandled: list[dict[str, Any]] = []

    async def watched() -> T:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: unhandled.append(context))
        answer = await main()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left
        return answer

    with asyncio.Runner(loop_factory=_factory(loop)) as runner:
        answer = runner.run(watched())
    assert unhandled == []
    return answer


def _factory(loop: str) -> Callable[[], asyncio.AbstractEventLoop]:
    if loop == "asyncio":
        return asyncio.new_event_loop
    import uvloop

    return uvloop.new_event_loop


_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For all clients: reading the public authorities, which each would do by itself, takes 20 ms of CPU."""


def client(timeout: float = 10.0) -> httpx.AsyncClient:
    """A client that owes nothing to the machine's proxy settings."""
    return httpx.AsyncClient(timeout=timeout, trust_env=False, verify=_NO_TLS)


async def ask(server: HistoryServer, customer: str = "CUST-1", *, patience: float = 10.0) -> httpx.Response:
    """One look-up over a connection of its own; the client waits ``patience`` seconds for each part of the answer."""
    async with client(patience) as http:
        return await http.post(server.url, json={"CustomerID": customer})


async def talk(server: HistoryServer, data: bytes) -> bytes:
    """Send bytes over a connection of their own, and read until the service closes it.

    Raises:
        TimeoutError: it did not close the connection.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", int(server.base_url.rpartition(":")[2]))
    try:
        writer.write(data)
        async with asyncio.timeout(10):
            return await reader.read()
    finally:
        writer.close()


def post(body: bytes, *headers: str, path: str = PATH, version: str = "1.1") -> bytes:
    """A POST as bytes; Content-Length is added."""
    lines = [f"POST {path} HTTP/{version}", "Host: service", f"Content-Length: {len(body)}", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body
