"""The client over each engine: basic and bearer credentials, and tokens that it fetches itself."""

import asyncio
from base64 import b64decode
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest

from enricher.history import EngineName, OfferHistoryClient, open_client
from enricher.history.auth import BasicCredentials, BearerCredentials
from enricher.history.files import FixedSecret, SecretFile
from enricher.history.oauth import MAX_ANSWER, MIN_AGE, RETRY_AFTER, OAuth2Credentials
from enricher.model import FailureKind, LookupFailure
from enricher.stats import Stats
from tests.contract.history_talk import NOW, answers, converse, fails, until
from tests.contract.scripted_http import Connection, Request, ScriptedServer

HOSTILE = ["\r\nX-Evil: 1", "%2f..%2f", "../x?y#z", "@elsewhere.example", "\N{GRINNING FACE}"]


@pytest.fixture(params=["httpx", "pyreqwest"])
def engine(request: pytest.FixtureRequest) -> EngineName:
    """Every engine must pass everything."""
    name: EngineName = request.param
    return name


@pytest.mark.parametrize("method", ["post", "get"])
def test_credentials_go_with_each_request_whoever_the_customer_is(engine: EngineName, method: str) -> None:
    """Once in each, to the one path, unchanged by any id."""

    async def use(client: OfferHistoryClient, server: ScriptedServer) -> list[Request]:
        for customer in HOSTILE:
            await client.fetch(customer)
        return server.requests

    credentials = BasicCredentials("wörker", FixedSecret("p:ß"))
    requests = converse(engine, answers, use, method="post" if method == "post" else "get", credentials=credentials)
    assert len(requests) == len(HOSTILE)
    for request in requests:
        kind, _, value = request.headers["authorization"].partition(" ")
        assert (kind, b64decode(value).decode()) == ("Basic", "wörker:p:ß")
        assert request.target.partition("?")[0].endswith("/V2/CustomerOfferHistory")
        assert "x-evil" not in request.headers


def test_a_token_in_a_file_is_read_again_when_it_is_refused(engine: EngineName, tmp_path: Path) -> None:
    """The call succeeds with the new one, with one request more; with the same one it is not asked again."""
    file = tmp_path / "token"
    file.write_text("old\n")

    async def checks(request: Request, connection: Connection) -> None:
        accepted = request.headers["authorization"] == "Bearer newer"
        await connection.answer(status="200 OK" if accepted else "401 Unauthorized")

    async def use(client: OfferHistoryClient, server: ScriptedServer) -> int:
        assert (await fails(client)).kind is FailureKind.UNAUTHORIZED
        assert len(server.requests) == 1
        file.write_text("newer\n")
        await client.fetch("CONNOR")
        return len(server.requests)

    credentials = BearerCredentials(SecretFile("service.auth.bearer.token_file", str(file)))
    assert converse(engine, checks, use, credentials=credentials) == 3


class Tokens:
    """A token endpoint and a service that takes its latest token only."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.lifetime: object = 300
        self.issued = 0
        self.valid = 0
        self.stats = Stats()
        self.asked: list[Request] = []
        self.answer: Callable[[Connection], Awaitable[None]] | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def endpoint(self, request: Request, connection: Connection) -> None:
        """Hands out token after token."""
        self.asked.append(request)
        await self.gate.wait()
        if self.answer is not None:
            await self.answer(connection)
            return
        self.issued += 1
        self.valid = self.issued
        expires = "" if self.lifetime is None else f',"expires_in":{self.lifetime}'
        await connection.answer(f'{{"access_token":"SECRET-{self.issued}","token_type":"Bearer"{expires}}}'.encode())

    async def service(self, request: Request, connection: Connection) -> None:
        """Wants the latest token."""
        accepted = request.headers["authorization"] == f"Bearer SECRET-{self.valid}"
        await connection.answer(status="200 OK" if accepted else "401 Unauthorized")

    def talk(self, engine: EngineName, use: Callable[[OfferHistoryClient], Awaitable[Any]], **options: Any) -> Any:
        """Let a client with such credentials talk to the two."""

        async def both(_client: OfferHistoryClient, server: ScriptedServer) -> Any:
            async with ScriptedServer(self.endpoint) as endpoint:
                credentials = OAuth2Credentials(
                    endpoint.url,
                    "worker",
                    FixedSecret("SECRET&ß"),
                    clock=lambda: self.now,
                    stats=self.stats,
                    **options,
                )
                client = open_client(server.url, wall_clock=lambda: NOW, engine=engine, credentials=credentials)
                try:
                    return await use(client)
                finally:
                    await client.close()

        return converse(engine, self.service, both)


def test_one_token_serves_all_calls(engine: EngineName) -> None:
    """Calls that wait for the first token share one request, a form as the RFC has it, and later ones send none."""
    tokens = Tokens()

    async def use(client: OfferHistoryClient) -> None:
        await asyncio.gather(*(client.fetch("CONNOR") for _ in range(30)))
        await client.fetch("CONNOR")

    tokens.talk(engine, use)
    (request,) = tokens.asked
    assert request.method == "POST"
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert parse_qsl(request.body.decode()) == [
        ("grant_type", "client_credentials"),
        ("client_id", "worker"),
        ("client_secret", "SECRET&ß"),
    ]
    assert "authorization" not in request.headers
    assert (tokens.stats.tokens, tokens.stats.token_failures) == (1, 0)


def test_a_scope_is_asked_for_if_there_is_one(engine: EngineName) -> None:
    """Pega wants none; others do."""
    tokens = Tokens()
    tokens.talk(engine, lambda client: client.fetch("CONNOR"), scope="history.read x")
    assert ("scope", "history.read x") in parse_qsl(tokens.asked[0].body.decode())


def test_a_token_is_renewed_before_it_expires_and_nobody_waits(engine: EngineName) -> None:
    """Calls go on with the old one meanwhile; where it has expired they wait for the new one."""
    tokens = Tokens()

    async def use(client: OfferHistoryClient) -> None:
        await client.fetch("CONNOR")
        tokens.now += 239
        await client.fetch("CONNOR")
        assert tokens.issued == 1
        tokens.gate.clear()
        tokens.now += 2
        await asyncio.gather(*(client.fetch("CONNOR") for _ in range(10)))  # answered though the endpoint hangs
        await until(lambda: len(tokens.asked) == 2, "the second token asked for")
        tokens.gate.set()
        await until(lambda: tokens.stats.tokens == 2, "the second token")
        await client.fetch("CONNOR")
        tokens.now += 301
        await asyncio.gather(*(client.fetch("CONNOR") for _ in range(10)))
        assert tokens.issued == len(tokens.asked) == 3

    tokens.talk(engine, use)


def test_a_refused_token_is_renewed_once(engine: EngineName) -> None:
    """Thirty calls that meet a 401 share one new token and all succeed."""
    tokens = Tokens()
    tokens.lifetime = None

    async def use(client: OfferHistoryClient) -> None:
        await client.fetch("CONNOR")
        tokens.now += MIN_AGE + 1
        tokens.valid = -1
        await asyncio.gather(*(client.fetch("CONNOR") for _ in range(30)))
        assert tokens.issued == 2

    tokens.talk(engine, use)


def test_a_service_that_refuses_every_token_floods_nobody(engine: EngineName) -> None:
    """A token that is refused at once is the last one for a while; the failure is that of the service."""
    tokens = Tokens()

    async def use(client: OfferHistoryClient) -> None:
        await client.fetch("CONNOR")
        tokens.valid = -1
        for _ in range(20):
            assert (await fails(client)).kind is FailureKind.UNAUTHORIZED
        assert tokens.issued == 1

    tokens.talk(engine, use)


async def _hangs(connection: Connection) -> None:
    await connection.gone()


async def _resets(connection: Connection) -> None:
    connection.reset()


def _says(body: bytes, status: str = "200 OK", fields: str = "") -> Callable[[Connection], Awaitable[None]]:
    async def answer(connection: Connection) -> None:
        await connection.answer(body, status=status, fields=fields)

    return answer


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (_resets, "was not reached"),
        (_says(b'{"error":"invalid_client","x":"SECRET"}', "401 Unauthorized"), r"status 401 \(invalid_client\)"),
        (_says(b'{"error":"SECRET"}', "400 Bad Request"), "status 400$"),
        (_says(b"SECRET", "302 Found", "Location: /elsewhere\r\n"), "status 302"),
        (_says(b"<html>SECRET</html>"), "none of RFC 6749"),
        (_says(b'{"access_token":"SECRET","expires_in":"soon"}'), "none of RFC 6749"),
        (_says(b'{"access_token":"SECRET\\r\\nX: y"}'), "no bearer token"),
        (_says(b'{"access_token":"SECRET","token_type":"mac"}'), "no bearer token"),
        (_says(b'{"access_token":"SECRET","expires_in":0}'), "expired already"),
        (_says(b" " * (MAX_ANSWER + 1)), "too large"),
    ],
)
def test_a_token_that_is_not_to_be_had_is_a_failure_of_its_own(
    engine: EngineName, answer: Callable[[Connection], Awaitable[None]], words: str
) -> None:
    """It says what happened, without the secret; the endpoint is left alone for a moment, and then asked again."""
    tokens = Tokens()
    tokens.answer = answer

    async def use(client: OfferHistoryClient) -> LookupFailure:
        failures = await asyncio.gather(*(fails(client) for _ in range(5)))
        failures.append(await fails(client))
        assert {failure.kind for failure in failures} == {FailureKind.NO_TOKEN}
        assert len(tokens.asked) == 1
        tokens.answer = None
        tokens.now += RETRY_AFTER
        await client.fetch("CONNOR")
        return failures[0]

    failure: LookupFailure = tokens.talk(engine, use, timeout=10.0)
    with pytest.raises(LookupFailure, match=words):
        raise failure
    assert (tokens.stats.tokens, tokens.stats.token_failures) == (1, 1)


def test_a_token_endpoint_that_hangs_holds_nobody_up_for_ever(engine: EngineName) -> None:
    """Its time is bounded as a whole."""
    tokens = Tokens()
    tokens.answer = _hangs
    failure: LookupFailure = tokens.talk(engine, fails, timeout=0.3)
    assert failure.kind is FailureKind.NO_TOKEN
    assert "did not answer within 0.3 s" in failure.message


def test_a_cancelled_call_does_not_take_the_token_from_the_others(engine: EngineName) -> None:
    """The request for it goes on."""
    tokens = Tokens()

    async def use(client: OfferHistoryClient) -> None:
        tokens.gate.clear()
        calls = [asyncio.create_task(client.fetch("CONNOR")) for _ in range(5)]
        await until(lambda: len(tokens.asked) == 1, "the token asked for")
        calls[0].cancel()
        await asyncio.wait(calls[:1])
        tokens.gate.set()
        await asyncio.gather(*calls[1:])
        assert calls[0].cancelled()
        assert len(tokens.asked) == 1

    tokens.talk(engine, use)


def test_close_ends_the_wait_for_a_token(engine: EngineName) -> None:
    """Calls that wait for it end with the client."""
    tokens = Tokens()

    async def use(client: OfferHistoryClient) -> None:
        tokens.gate.clear()
        call = asyncio.create_task(client.fetch("CONNOR"))
        await until(lambda: len(tokens.asked) == 1, "the token asked for")
        await client.close()
        with pytest.raises(LookupFailure) as caught:
            await call
        assert caught.value.kind is FailureKind.NO_TOKEN

    tokens.talk(engine, use)
