"""The client over each engine: every way in which a request can fail has its name, and harms no other."""

import asyncio
import gzip
import socket

import pytest

from enricher.history import EngineName, OfferHistoryClient, open_client
from enricher.model import FailureKind, LookupFailure
from tests.contract.history_talk import NOW, answers, converse, fails
from tests.contract.scripted_http import EMPTY, JSON, Connection, Request, Script, ScriptedServer

HTML = "Content-Type: text/html; charset=utf-8\r\n"
PAGE = b"<html><body>SECRET</body></html>"
STATUSES = {
    "100": FailureKind.CONNECTION,  # an interim answer, and nothing after it
    "204 No Content": FailureKind.UNEXPECTED_STATUS,
    "206 Partial Content": FailureKind.UNEXPECTED_STATUS,
    "304 Not Modified": FailureKind.REDIRECT,
    "400 Bad Request": FailureKind.BAD_REQUEST,
    "401 Unauthorized": FailureKind.UNAUTHORIZED,
    "403 Forbidden": FailureKind.FORBIDDEN,
    "404 Not Found": FailureKind.NOT_FOUND,
    "408 Request Timeout": FailureKind.REQUEST_TIMEOUT,
    "413 Content Too Large": FailureKind.REQUEST_TOO_LARGE,
    "414 URI Too Long": FailureKind.REQUEST_TOO_LARGE,
    "418 I'm a teapot": FailureKind.UNEXPECTED_STATUS,
    "425 Too Early": FailureKind.TOO_EARLY,
    "429 Too Many Requests": FailureKind.TOO_MANY_REQUESTS,
    "500 Internal Server Error": FailureKind.SERVER_ERROR,
    "502 Bad Gateway": FailureKind.BAD_GATEWAY,
    "503 Service Unavailable": FailureKind.UNAVAILABLE,
    "504 Gateway Timeout": FailureKind.GATEWAY_TIMEOUT,
    "599 Odd": FailureKind.UNEXPECTED_STATUS,
}


@pytest.fixture(params=["httpx", "pyreqwest"])
def engine(request: pytest.FixtureRequest) -> EngineName:
    """Every engine must pass everything."""
    name: EngineName = request.param
    return name


def raw(data: bytes, *, reset: bool = False) -> Script:
    """Answer with these bytes and end the connection."""

    async def script(_request: Request, connection: Connection) -> None:
        await connection.write(data)
        if reset:
            connection.reset()
        else:
            connection.close()

    return script


def failure_of(engine: EngineName, script: Script) -> LookupFailure:
    """The failure of one look-up against a script, after which the client can still be used."""
    calls = 0

    async def once(request: Request, connection: Connection) -> None:
        nonlocal calls
        calls += 1
        await (script if calls == 1 else answers)(request, connection)

    async def use(client: OfferHistoryClient, _server: ScriptedServer) -> LookupFailure:
        failure = await fails(client)
        assert calls <= 1, "the failed request was repeated"
        assert (await client.fetch("CONNOR")).offers == ()
        return failure

    return converse(engine, script=once, use=use)


@pytest.mark.parametrize("status", STATUSES)
def test_each_status_has_its_name(engine: EngineName, status: str) -> None:
    """Whatever the body, a status that is no 200 becomes its failure, with the number beside it."""

    async def script(_request: Request, connection: Connection) -> None:
        if status.startswith(("1", "204", "304")):  # these have no body
            await connection.write(f"HTTP/1.1 {status}\r\n\r\n".encode())
            if status == "100":
                connection.close()
        else:
            await connection.answer(PAGE, status=status, fields=HTML)

    failure = failure_of(engine, script)
    assert failure.kind is STATUSES[status]
    assert failure.status == (None if status == "100" else int(status[:3]))
    assert failure.retry_after is None


def test_a_failure_keeps_the_connection(engine: EngineName) -> None:
    """A service that answers 503 is not punished with new connections."""

    async def unavailable(_request: Request, connection: Connection) -> None:
        await connection.answer(PAGE, status="503 Service Unavailable", fields=HTML)

    async def use(client: OfferHistoryClient, server: ScriptedServer) -> int:
        for _ in range(10):
            assert (await fails(client)).kind is FailureKind.UNAVAILABLE
        return server.opened

    assert converse(engine, unavailable, use) == 1


@pytest.mark.parametrize(
    ("field", "seconds"),
    [
        ("7", 7.0),
        ("Thu, 25 Feb 2016 12:55:11 GMT", 9.474),
        ("Thu, 25 Feb 2016 12:00:00 GMT", 0.0),
        ("soon", None),
    ],
)
def test_retry_after_is_told_in_both_forms(engine: EngineName, field: str, seconds: float | None) -> None:
    """Seconds, or a date against our clock; what cannot be read is as if it were not there."""

    async def script(_request: Request, connection: Connection) -> None:
        await connection.answer(PAGE, status="503 Service Unavailable", fields=f"retry-after: {field}\r\n")

    assert failure_of(engine, script).retry_after == pytest.approx(seconds)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(engine: EngineName, status: int) -> None:
    """Neither to another path nor to another host: the one request is all that is sent."""

    async def redirects(_request: Request, connection: Connection) -> None:
        await connection.answer(b"", status=f"{status} Moved", fields="Location: /elsewhere\r\n")

    async def use(client: OfferHistoryClient, server: ScriptedServer) -> tuple[LookupFailure, int]:
        return await fails(client), len(server.requests)

    failure, requests = converse(engine, redirects, use)
    assert failure.kind is FailureKind.REDIRECT
    assert requests == 1


@pytest.mark.parametrize(
    ("fields", "body", "kind"),
    [
        (HTML, PAGE, FailureKind.NOT_JSON),
        ("Content-Type: text/plain\r\n", EMPTY, FailureKind.NOT_JSON),
        ("Content-Type: application/jsonp\r\n", EMPTY, FailureKind.NOT_JSON),
        (JSON, PAGE, FailureKind.INVALID_JSON),
        ("", PAGE, FailureKind.INVALID_JSON),
        (JSON, b"", FailureKind.INVALID_JSON),
        (JSON, EMPTY[:-1], FailureKind.INVALID_JSON),
        (JSON, b"{}", FailureKind.CONTRACT_VIOLATION),
        (JSON, b'{"error":"SECRET"}', FailureKind.CONTRACT_VIOLATION),
        (JSON, b'{"OfferHistory":[{"InteractionID":"9223372036854775808"}]}', FailureKind.CONTRACT_VIOLATION),
        (JSON, b'{"OfferHistory":[{"OutcomeTime":"20150229T125501.526 GMT"}]}', FailureKind.CONTRACT_VIOLATION),
        (JSON, b'{"OfferHistory":[{"Name":"SECRET","Name":"SECRET"}]}', FailureKind.CONTRACT_VIOLATION),
        (JSON, b'{"OfferHistory":[],"OfferHistory":[{}]}', FailureKind.CONTRACT_VIOLATION),
        (JSON, b'{"OfferHistory":[' * 50_000, FailureKind.CONTRACT_VIOLATION),
        (JSON, b'{"x":' + b"[" * 500_000, FailureKind.CONTRACT_VIOLATION),
        (JSON, b'{"OfferHistory":[' + b",".join([b"{}"] * 10_001) + b"]}", FailureKind.CONTRACT_VIOLATION),
        (JSON + "Content-Encoding: gzip\r\n", gzip.compress(b" " * 50_000_000), FailureKind.NOT_JSON),
        (JSON + "Content-Encoding: br\r\n", EMPTY, FailureKind.NOT_JSON),
    ],
)
def test_a_200_that_is_no_answer_is_a_failure(engine: EngineName, fields: str, body: bytes, kind: FailureKind) -> None:
    """Pages of gateways, broken JSON, other shapes, and compressed bodies, which are never inflated."""

    async def script(_request: Request, connection: Connection) -> None:
        await connection.answer(body, fields=fields)

    assert failure_of(engine, script).kind is kind


@pytest.mark.parametrize(
    "fields",
    [
        "",
        JSON,
        "Content-Type: application/json;charset=UTF-8\r\n",
        "Content-Type: application/vnd.pega+json\r\n",
        JSON + "Content-Encoding: identity\r\n",
        JSON + "X-Extra: 1\r\nX-Extra: 2\r\n",
    ],
)
def test_the_ways_to_say_json_are_accepted(engine: EngineName, fields: str) -> None:
    """With a charset, with a suffix, and with no type at all, as some gateways drop it."""

    async def script(_request: Request, connection: Connection) -> None:
        await connection.answer(fields=fields)

    async def use(client: OfferHistoryClient, _server: ScriptedServer) -> int:
        return len((await client.fetch("CONNOR")).offers)

    assert converse(engine, script, use) == 0


@pytest.mark.parametrize(
    "interim", [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 3]
)
def test_interim_answers_are_passed_over(engine: EngineName, interim: bytes) -> None:
    """The answer is the first that is final."""

    async def script(_request: Request, connection: Connection) -> None:
        await connection.write(interim)
        await connection.answer()

    async def use(client: OfferHistoryClient, server: ScriptedServer) -> int:
        await client.fetch("CONNOR")
        await client.fetch("CONNOR")
        return server.opened

    assert converse(engine, script, use) == 1


HEAD = f"HTTP/1.1 200 OK\r\n{JSON}".encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HTTP/1.1 200",
        b"garbage\r\n\r\n",
        b"\x00\xff" * 100,
        b"SSH-2.0-OpenSSH_9.6\r\n",
        HEAD,
        HEAD + b"Content-Length: 100\r\n\r\n" + EMPTY,
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n12\r\n" + EMPTY,
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n" + EMPTY,
        HEAD + b"Content-Length: 19\r\nContent-Length: 20\r\n\r\n" + EMPTY,
        HEAD + b"Content-Length: -1\r\n\r\n" + EMPTY,
        HEAD + b"Content-Length: many\r\n\r\n" + EMPTY,
        HEAD + b"X: " + b"a" * 1_000_000 + b"\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
    ],
)
@pytest.mark.parametrize("reset", [False, True])
def test_what_is_no_whole_http_answer_is_a_failed_connection(engine: EngineName, data: bytes, *, reset: bool) -> None:
    """Closed, reset or cut anywhere, contradictory lengths, endless headers, another protocol."""
    failure = failure_of(engine, raw(data, reset=reset))
    assert failure.kind in {FailureKind.CONNECTION, FailureKind.UNEXPECTED_STATUS}
    assert (failure.kind is FailureKind.UNEXPECTED_STATUS) <= (b"101 Switching" in data)


def test_a_refused_connection_is_a_failed_connection(engine: EngineName) -> None:
    """Nobody listens; and the same client works as soon as somebody does."""

    async def main() -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{listener.getsockname()[1]}/CustomerOfferHistory"
            client = open_client(url, wall_clock=lambda: NOW, engine=engine)
            assert (await fails(client)).kind is FailureKind.CONNECTION
            await client.close()

    asyncio.run(main())


def test_an_unknown_host_is_a_failed_connection(engine: EngineName) -> None:
    """A name that no resolver knows (RFC 6761 keeps it so); it may be asked in vain for a while."""

    async def main() -> None:
        client = open_client("http://history.invalid/x", wall_clock=lambda: NOW, engine=engine, timeout=2)
        assert (await fails(client)).kind in {FailureKind.CONNECTION, FailureKind.TIMEOUT}
        await client.close()

    asyncio.run(main())


def test_proxies_of_the_environment_are_not_used(engine: EngineName, monkeypatch: pytest.MonkeyPatch) -> None:
    """A customer's id goes to the configured host and nowhere else."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    async def use(client: OfferHistoryClient, server: ScriptedServer) -> int:
        await client.fetch("CONNOR")
        return len(server.requests)

    assert converse(engine, answers, use) == 1
