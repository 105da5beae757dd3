"""The client over each engine: private authorities, client certificates, rotation, proxies and HTTP/2."""

import asyncio
import ssl
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from enricher.history import EngineName, OfferHistoryClient, Proxy, Route, open_client
from enricher.history.files import FixedSecret
from enricher.history.tls import TlsFiles
from enricher.model import FailureKind
from enricher.stats import Stats
from tests.contract.certificates import Authority
from tests.contract.history_talk import NOW, answers, converse, fails, hangs, until
from tests.contract.http2_server import Http2Server
from tests.contract.scripted_http import Connection, Request, ScriptedServer


@pytest.fixture(params=["httpx", "pyreqwest"])
def engine(request: pytest.FixtureRequest) -> EngineName:
    """Every engine must pass everything."""
    name: EngineName = request.param
    return name


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """An authority that no machine trusts by itself."""
    return Authority(tmp_path)


async def _offers(client: OfferHistoryClient, _server: ScriptedServer) -> int:
    return len((await client.fetch("CONNOR")).offers)


async def _failure(client: OfferHistoryClient, _server: ScriptedServer) -> FailureKind:
    return (await fails(client)).kind


def test_a_private_authority_is_trusted_if_it_is_named(engine: EngineName, authority: Authority) -> None:
    """Without its file the service's certificate is refused."""
    route = Route(TlsFiles(str(authority.file)))
    assert converse(engine, answers, _offers, tls=authority.server(), route=route) == 0
    assert converse(engine, answers, _failure, tls=authority.server()) is FailureKind.CONNECTION


@pytest.mark.parametrize("name", ["elsewhere.example", "127.0.0.2"])
def test_a_certificate_for_another_host_is_refused(engine: EngineName, authority: Authority, name: str) -> None:
    """A trusted authority alone is not enough."""
    route = Route(TlsFiles(str(authority.file)))
    assert converse(engine, answers, _failure, tls=authority.server(name), route=route) is FailureKind.CONNECTION


@pytest.mark.parametrize("password", ["", "p4ss word"])
def test_a_client_certificate_is_shown(engine: EngineName, authority: Authority, password: str) -> None:
    """Its key may be encrypted; without a certificate a service that wants one is not reached."""

    async def tells(_request: Request, connection: Connection) -> None:
        names.append(connection.peer)
        await connection.answer()

    names: list[str | None] = []
    files = TlsFiles(str(authority.file), *authority.client("worker", password), FixedSecret(password))
    assert converse(engine, tells, _offers, tls=authority.server(client_wanted=True), route=Route(files)) == 0
    assert names == ["worker"]
    without = Route(TlsFiles(str(authority.file)))
    kind = converse(engine, tells, _failure, tls=authority.server(client_wanted=True), route=without)
    assert kind is FailureKind.CONNECTION


def test_certificates_are_rotated_without_dropping_a_call(
    engine: EngineName, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files that change are read again for the next call; one in flight ends as it began; half a rotation waits."""
    monkeypatch.setattr("enricher.history.files.LOOK_INTERVAL", 0.0)
    certificate, key = authority.client("first")
    files = TlsFiles(str(authority.file), certificate, key)
    stats = Stats()
    names: list[str | None] = []
    release = asyncio.Event()

    async def tells(request: Request, connection: Connection) -> None:
        names.append(connection.peer)
        if b"SLOW" in request.body:
            await release.wait()
        await connection.answer()

    async def use(client: OfferHistoryClient, server: ScriptedServer) -> None:
        slow = asyncio.create_task(client.fetch("SLOW"))
        await until(lambda: len(server.requests) == 1, "the slow request")
        Path(key).write_text("half of a rotation")  # noqa: ASYNC240  a few bytes, in a test
        await client.fetch("CONNOR")
        assert stats.reloads == 0
        authority.client("second")
        await client.fetch("CONNOR")
        await client.fetch("CONNOR")
        assert stats.reloads == 1
        assert not slow.done()
        release.set()
        assert (await slow).offers == ()
        await until(lambda: server.open_now == 1, "the first engine's connections are closed")

    converse(
        engine,
        tells,
        use,
        tls=authority.server(client_wanted=True),
        route=Route(files, files=tuple(files.paths)),
        stats=stats,
    )
    assert names == ["first", "first", "second", "second"]


def test_close_in_the_middle_of_a_rotation_ends_all_calls(
    engine: EngineName, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of the old engine as those of the new one."""
    monkeypatch.setattr("enricher.history.files.LOOK_INTERVAL", 0.0)
    files = TlsFiles(str(authority.file), *authority.client("first"))
    stats = Stats()

    async def use(client: OfferHistoryClient, server: ScriptedServer) -> list[FailureKind]:
        calls = [asyncio.create_task(fails(client))]
        await until(lambda: len(server.requests) == 1, "the first request")
        authority.client("the second")
        calls.append(asyncio.create_task(fails(client)))
        await until(lambda: len(server.requests) == 2, "the second request")
        assert stats.reloads == 1
        await client.close()
        return [failure.kind for failure in await asyncio.gather(*calls)]

    route = Route(files, files=tuple(files.paths))
    kinds = converse(engine, hangs, use, tls=authority.server(client_wanted=True), route=route, stats=stats)
    assert kinds == [FailureKind.CONNECTION] * 2


def test_a_proxy_gets_the_request_and_its_credentials(engine: EngineName) -> None:
    """Over plain HTTP the proxy is asked for the whole URL, whoever the host is; the service is not asked."""
    seen: list[Request] = []

    async def proxies(request: Request, connection: Connection) -> None:
        seen.append(request)
        await connection.answer()

    async def main(proxy_url: str) -> int:
        proxy = Proxy(proxy_url, "worker", FixedSecret("p:ss"))
        client = open_client("http://crm.invalid/x", wall_clock=lambda: NOW, engine=engine, route=Route(proxy=proxy))
        try:
            return len((await client.fetch("CONNOR")).offers)
        finally:
            await client.close()

    async def use(_client: OfferHistoryClient, server: ScriptedServer) -> int:
        return await main(server.url.partition("/prweb")[0])

    assert converse(engine, proxies, use) == 0
    (request,) = seen
    assert request.target == "http://crm.invalid/x"
    assert request.headers["host"] == "crm.invalid"
    assert request.headers["proxy-authorization"] == "Basic " + b64encode(b"worker:p:ss").decode()
    assert "authorization" not in request.headers


@pytest.mark.parametrize("refuses", [False, True])
def test_a_proxy_tunnels_tls(engine: EngineName, authority: Authority, *, refuses: bool) -> None:
    """It sees the host and nothing of the request; where it refuses, the connection has failed."""
    seen: list[Request] = []

    async def proxies(request: Request, connection: Connection) -> None:
        seen.append(request)
        if refuses:
            await connection.answer(b"", status="407 Proxy Authentication Required")
            return
        await connection.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        host, _, port = request.target.partition(":")
        await connection.tunnel(host, int(port))

    async def use(_client: OfferHistoryClient, server: ScriptedServer) -> object:
        async with ScriptedServer(proxies) as proxy:
            route = Route(TlsFiles(str(authority.file)), Proxy(proxy.url.partition("/prweb")[0]))
            client = open_client(server.url, wall_clock=lambda: NOW, engine=engine, route=route)
            try:
                return (await fails(client)).kind if refuses else len((await client.fetch("CONNOR")).offers)
            finally:
                await client.close()

    result = converse(engine, answers, use, tls=authority.server())
    assert result == (FailureKind.CONNECTION if refuses else 0)
    assert [request.method for request in seen] == ["CONNECT"]


@pytest.mark.parametrize("offered", [True, False])
@pytest.mark.parametrize("wanted", [True, False])
def test_http2_is_taken_where_it_is_offered(
    engine: EngineName, authority: Authority, *, offered: bool, wanted: bool
) -> None:
    """Over TLS, by ALPN; else it is HTTP/1.1."""
    route = Route(TlsFiles(str(authority.file)), http2=wanted)

    async def many(url: str) -> int:
        client = open_client(url, wall_clock=lambda: NOW, engine=engine, route=route, max_connections=8)
        try:
            answered: list[Any] = []
            for _ in range(3):
                answered += await asyncio.gather(*(client.fetch("CONNOR") for _ in range(20)))
            return len(answered)
        finally:
            await client.close()

    async def main() -> None:
        if offered and wanted:
            async with Http2Server(authority.server()) as server:
                assert await many(server.url) == 60
                assert server.requests == 60
                assert server.opened <= 8
                assert server.fields[b":method"] == b"POST"
                assert server.fields[b"accept-encoding"] == b"identity"
        else:
            tls = authority.server()
            tls.set_alpn_protocols(["h2", "http/1.1"] if offered else ["http/1.1"])
            async with ScriptedServer(answers, tls) as http1:
                assert await many(http1.url) == 60
                assert len(http1.requests) == 60
                # pyreqwest takes whichever is there first (see the module engine): slow handshakes open more.
                assert http1.opened <= 30

    asyncio.run(main())


def test_an_ordinary_context_is_not_touched(authority: Authority) -> None:
    """Reading certificates never turns checks off."""
    context = TlsFiles(str(authority.file)).read().context
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
