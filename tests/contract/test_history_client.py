"""The client over each engine: requests, connections, bounds in time and size."""

import asyncio
import time
from urllib.parse import parse_qsl, urlsplit

import msgspec
import pytest

from enricher.history import EngineName, OfferHistoryClient
from enricher.model import FailureKind, LookupFailure, Offer
from tests.contract.history_talk import NOW, answers, converse, fails, hangs, until
from tests.contract.scripted_http import EMPTY, JSON, Connection, Request, Script, ScriptedServer

HOSTILE = [
    "CONNOR",
    "",
    "a b+c&d=e",
    'x"}\\',
    "\r\nX-Evil: 1\r\n\r\nGET / HTTP/1.1\r\n",
    "../../../admin?x=y#z",
    "http://elsewhere.example/",
    "@elsewhere.example:80",
    "%2e%2e%2f%00",
    "\x00\x1f\x7f",
    "Żółć \N{GRINNING FACE} \u202e",
]


@pytest.fixture(params=["httpx", "pyreqwest"])
def engine(request: pytest.FixtureRequest) -> EngineName:
    """Every engine must pass everything."""
    name: EngineName = request.param
    return name


@pytest.mark.parametrize("customer_id", [*HOSTILE, "x" * 10_000])
def test_an_id_is_nothing_but_an_id(engine: EngineName, customer_id: str) -> None:
    """Whatever the customer id is, it arrives as it is, and path, host and headers stay the same."""

    async def both(client: OfferHistoryClient, server: ScriptedServer) -> tuple[Request, str]:
        await client.fetch(customer_id)
        return server.requests[-1], server.url

    for method in ("post", "get"):
        request, url = converse(engine, answers, both, method="post" if method == "post" else "get")
        target = urlsplit(request.target)
        assert request.method == method.upper()
        assert target.path == urlsplit(url).path
        assert request.headers["host"] == urlsplit(url).netloc
        assert "x-evil" not in request.headers
        if method == "post":
            assert target.query == ""
            assert msgspec.json.decode(request.body) == {"CustomerID": customer_id}
            assert request.headers["content-type"] == "application/json"
        else:
            assert request.body == b""
            assert parse_qsl(target.query, keep_blank_values=True) == [("CustomerID", customer_id)]


def test_the_request_asks_for_plain_json(engine: EngineName) -> None:
    """Nothing may be compressed, no cookie is sent, and the fields that we need are there once."""

    async def use(client: OfferHistoryClient, server: ScriptedServer) -> Request:
        await client.fetch("CONNOR")
        await client.fetch("CONNOR")
        return server.requests[-1]

    async def sets_cookie(_request: Request, connection: Connection) -> None:
        await connection.answer(fields=JSON + "Set-Cookie: a=b; Path=/\r\n")

    request = converse(engine, sets_cookie, use)
    assert request.body == b'{"CustomerID":"CONNOR"}'
    assert request.headers["accept"] == "application/json"
    assert request.headers["accept-encoding"] == "identity"
    assert request.headers["user-agent"] == "enricher"
    assert "cookie" not in request.headers


def test_an_id_that_is_no_text_is_not_sent(engine: EngineName) -> None:
    """A lone surrogate cannot be sent in either method; that is the event's fault."""

    async def use(client: OfferHistoryClient, server: ScriptedServer) -> tuple[LookupFailure, int]:
        return await fails(client, "SECRET \ud800"), len(server.requests)

    for method in ("post", "get"):
        failure, requests = converse(engine, answers, use, method="post" if method == "post" else "get")
        assert failure.kind is FailureKind.BAD_REQUEST
        assert requests == 0


def test_an_answer_has_its_offers_and_time(engine: EngineName) -> None:
    """The offers of the body and the instant of the wall clock."""

    async def one(_request: Request, connection: Connection) -> None:
        await connection.answer(b'{"OfferHistory":[{"Name":"MI","ExternalID":"","InteractionID":"-1"}]}')

    async def use(client: OfferHistoryClient, _server: ScriptedServer) -> tuple[tuple[Offer, ...], int]:
        return await client.fetch("CONNOR")

    assert converse(engine, one, use) == ((Offer(name="MI", interaction_id=-1),), NOW)


def test_sequential_calls_share_a_connection(engine: EngineName) -> None:
    """40 calls one after the other open one connection."""

    async def use(client: OfferHistoryClient, server: ScriptedServer) -> int:
        for _ in range(40):
            await client.fetch("CONNOR")
        return server.opened

    assert converse(engine, answers, use) == 1


def test_calls_in_flight_open_no_more_than_the_limit(engine: EngineName) -> None:
    """500 calls at 32 in flight open at most 32 connections, as do 64 at once."""

    async def use(client: OfferHistoryClient, server: ScriptedServer) -> int:
        async def worker(calls: int) -> None:
            for _ in range(calls):
                await client.fetch("CONNOR")

        await asyncio.gather(*(worker(500 // 32) for _ in range(32)))
        await asyncio.gather(*(worker(1) for _ in range(64)))
        return server.opened

    assert converse(engine, answers, use, max_connections=32) <= 32


def test_a_call_that_finds_no_idle_connection_opens_no_more_than_the_limit(engine: EngineName) -> None:
    """It begins while all are in use, and another gives its own back before the new one is open.

    That is open late, as the host has a name that must be resolved.
    """

    async def use(client: OfferHistoryClient, server: ScriptedServer) -> int:
        async def calls(number: int) -> None:
            for _ in range(number):
                await client.fetch("CONNOR")

        others = [asyncio.create_task(calls(60)) for _ in range(3)]
        await until(lambda: len(server.requests) > 60, "some calls of the others")
        await calls(20)
        await asyncio.gather(*others)
        return server.opened

    for _ in range(10):
        assert converse(engine, answers, use, max_connections=4, host="localhost") <= 4


def test_a_connection_closed_between_calls_is_no_failure(engine: EngineName) -> None:
    """The server ends idle connections; the next call opens another one."""

    async def use(client: OfferHistoryClient, server: ScriptedServer) -> int:
        for _ in range(10):
            await client.fetch("CONNOR")
            await until(lambda: server.open_now == 0, "the server has closed")
            await asyncio.sleep(0.02)  # the client's kernel learns of it; there is nothing to observe from here
        return server.opened

    async def closes(_request: Request, connection: Connection) -> None:
        await connection.answer()
        connection.close()

    assert converse(engine, closes, use) == 10


def test_the_timeout_is_that_of_the_whole_answer(engine: EngineName) -> None:
    """A drip of bytes keeps no call alive: between bytes there is always progress."""

    async def drips(_request: Request, connection: Connection) -> None:
        await connection.write(f"HTTP/1.1 200 OK\r\n{JSON}Content-Length: 100000\r\n\r\n".encode())
        while True:
            await connection.write(b" ")
            await asyncio.sleep(0.01)

    async def drips_head(_request: Request, connection: Connection) -> None:
        await connection.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
        while True:
            await connection.write(b"a")
            await asyncio.sleep(0.01)

    async def use(client: OfferHistoryClient, server: ScriptedServer) -> tuple[FailureKind, float]:
        start = time.monotonic()
        failure = await fails(client)
        took = time.monotonic() - start
        await until(lambda: server.open_now == 0, "the connection is given up")
        return failure.kind, took

    for script in (drips, drips_head, hangs):
        kind, took = converse(engine, script, use, timeout=0.3)
        assert kind is FailureKind.TIMEOUT
        assert 0.25 < took < 5


def test_waiting_for_a_connection_counts_as_time(engine: EngineName) -> None:
    """Calls beyond the limit of connections end with the timeout as well."""

    async def use(client: OfferHistoryClient, _server: ScriptedServer) -> tuple[list[FailureKind], float]:
        start = time.monotonic()
        failures = await asyncio.gather(*(fails(client) for _ in range(6)))
        return [failure.kind for failure in failures], time.monotonic() - start

    kinds, took = converse(engine, hangs, use, timeout=2, max_connections=2)
    assert kinds == [FailureKind.TIMEOUT] * 6
    assert took < 3.9  # and not one timeout after the other


@pytest.mark.parametrize("status", ["200 OK", "503 Service Unavailable"])
@pytest.mark.parametrize("framing", ["length", "chunked", "until closed"])
def test_an_oversize_answer_is_not_taken_in(engine: EngineName, framing: str, status: str) -> None:
    """The client closes the connection long before the server could send it all; another status outweighs the size."""
    block = b" " * 65_536

    async def floods(_request: Request, connection: Connection) -> None:
        field = {
            "length": f"Content-Length: {len(block) * 4096}\r\n",
            "chunked": "Transfer-Encoding: chunked\r\n",
            "until closed": "Connection: close\r\n",
        }[framing]
        await connection.write(f"HTTP/1.1 {status}\r\n{JSON}{field}\r\n".encode())
        for _ in range(4096):
            await connection.write(b"10000\r\n" + block + b"\r\n" if framing == "chunked" else block)
            sent.append(connection.sent)

    async def use(client: OfferHistoryClient, server: ScriptedServer) -> FailureKind:
        failure = await fails(client)
        await until(lambda: server.broken_off == 1, "the client broke it off")
        return failure.kind

    sent: list[int] = []
    kind = converse(engine, floods, use, max_response=100_000)
    assert kind is (FailureKind.RESPONSE_TOO_LARGE if status == "200 OK" else FailureKind.UNAVAILABLE)
    assert len(sent) < 400  # 25 MB: buffers of sockets may hold some


def test_an_answer_of_just_the_limit_is_fine(engine: EngineName) -> None:
    """The limit is inclusive, with and without a Content-Length; one byte more is too much."""
    limit = 70_000

    def sends(size: int, *, chunked: bool) -> Script:
        async def script(_request: Request, connection: Connection) -> None:
            body = EMPTY.ljust(size)
            if chunked:
                head = f"HTTP/1.1 200 OK\r\n{JSON}Transfer-Encoding: chunked\r\n\r\n".encode()
                parts = [body[start : start + 1000] for start in range(0, size, 1000)]
                await connection.write(head + b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts))
                await connection.write(b"0\r\n\r\n")
            else:
                await connection.answer(body)

        return script

    async def use(client: OfferHistoryClient, _server: ScriptedServer) -> FailureKind | None:
        try:
            await client.fetch("CONNOR")
        except LookupFailure as failure:
            return failure.kind
        return None

    for chunked in (False, True):
        assert converse(engine, sends(limit, chunked=chunked), use, max_response=limit) is None
        kind = converse(engine, sends(limit + 1, chunked=chunked), use, max_response=limit)
        assert kind is FailureKind.RESPONSE_TOO_LARGE
