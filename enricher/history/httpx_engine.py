"""The engine over httpx: for its transports, proxies and TLS as people know them, and for tests without a socket.

It calls httpx's transport and not its client. What an engine must not do is what the client adds (redirects, cookies,
credentials and proxies from the environment, inflating, a log line with the URL), and it costs as much as the rest.

Each connection is a transport of its own. One transport with a pool of n connections asks the kernel about every idle
one of them at the start and at the end of every request, and hands one idle connection to all who wait, of whom all
but one must ask again: that is why httpx is slow with many calls in flight.
"""

import asyncio
import ssl
from typing import Final

import httpx

from enricher.history.engine import (
    Fields,
    Reply,
    Settings,
    broken,
    closed,
    declared_length,
    foreign_encoding,
    timed_out,
    too_large,
)
from enricher.model import LookupFailure

_OK: Final = 200


def open_transport(settings: Settings, context: ssl.SSLContext | None) -> httpx.AsyncHTTPTransport:
    """A transport of one connection, which goes where the settings say."""
    proxy = settings.proxy
    return httpx.AsyncHTTPTransport(
        verify=context or True,
        limits=httpx.Limits(max_connections=1, keepalive_expiry=settings.keep_idle),
        trust_env=False,
        http2=settings.http2,
        proxy=None
        if proxy is None
        else httpx.Proxy(proxy.url, auth=(proxy.username, proxy.password.value()) if proxy.username else None),
    )


class HttpxEngine:
    """``Engine`` over an ``httpx.AsyncBaseTransport``."""

    def __init__(self, settings: Settings, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        """Nothing is opened before the first call.

        Args:
            settings: see there.
            transport: instead of httpx's own, such as ``httpx.MockTransport``; ``max_connections`` is its affair then.
        """
        self._settings = settings
        self._transport = transport
        self._tls = None if settings.tls is None else settings.tls.context
        if transport is None and self._tls is None:
            self._tls = httpx.create_ssl_context(trust_env=False)
        self._transports: set[httpx.AsyncBaseTransport] = set()
        self._unused: list[httpx.AsyncBaseTransport] = []  # a stack: the fewer are used, the fewer are open
        self._slots = asyncio.Semaphore(settings.max_connections)
        self._headers = list(settings.headers)
        self._scopes: set[asyncio.Timeout] = set()
        self._closed = False
        self._idle = asyncio.Event()

    async def send(self, url: str, content: bytes | None, headers: Fields = ()) -> Reply:
        """See ``Engine``."""
        self._check_open()
        failure: LookupFailure
        try:
            async with asyncio.timeout(self._settings.timeout) as scope:
                self._scopes.add(scope)
                try:
                    return await self._exchange(url, content, headers)
                finally:
                    self._scopes.discard(scope)
                    if not self._scopes:
                        self._idle.set()
        except LookupFailure:
            raise
        except TimeoutError:
            failure = closed() if self._closed else timed_out(self._settings.timeout)
        except Exception as error:  # noqa: BLE001  whatever a transport raises is a request that did not come through
            failure = broken(error)
        raise failure  # outside of the handlers: see the module engine on chaining

    def _check_open(self) -> None:
        if self._closed:
            raise closed()

    async def _exchange(self, url: str, content: bytes | None, headers: Fields) -> Reply:
        request = httpx.Request(
            "GET" if content is None else "POST", url, content=content, headers=[*self._headers, *headers]
        )
        async with self._slots:
            transport = self._unused.pop() if self._unused else self._open()
            try:
                response = await transport.handle_async_request(request)
                try:
                    reply = await self._reply(response)
                finally:
                    await response.aclose()
            except BaseException:
                # httpcore shields its cleaning up from anyio's cancellation and not from asyncio's: a call cancelled
                # at the wrong moment leaves its connection busy for ever, and whoever gets the transport next waits.
                await self._discard(transport)
                raise
            self._unused.append(transport)
            return reply

    async def _discard(self, transport: httpx.AsyncBaseTransport) -> None:
        if transport is self._transport:
            self._unused.append(transport)  # another's; what it holds is its affair
        else:
            await transport.aclose()
            self._transports.discard(transport)  # after that, so that a second cancellation leaves it to close()

    def _open(self) -> httpx.AsyncBaseTransport:
        transport = self._transport
        if transport is None:
            transport = open_transport(self._settings, self._tls)
        self._transports.add(transport)
        return transport

    async def _reply(self, response: httpx.Response) -> Reply:
        status = response.status_code
        fields = response.headers
        limit = self._settings.max_response
        body = bytearray()
        length = declared_length(fields.get("content-length"))
        fits = length is None or length <= limit
        if fits:
            if not isinstance(response.stream, httpx.AsyncByteStream):
                raise TypeError("an asynchronous transport must answer with an asynchronous stream")
            async for chunk in response.stream:  # as it came: iterating the response itself would inflate it
                if len(body) + len(chunk) > limit:
                    fits = False
                    break
                body += chunk
        if not fits:
            if status == _OK:
                raise too_large(limit)
            body.clear()
        return Reply(
            status,
            bytes(body),
            fields.get("content-type"),
            foreign_encoding(fields.get("content-encoding")),
            fields.get("retry-after"),
        )

    async def close(self) -> None:
        """See ``Engine``."""
        self._closed = True
        if self._scopes:
            self._idle.clear()
            # Ending the calls by their own timeouts lets each unwind as at any other timeout. Closing a transport
            # under its caller is an error that httpx does not name, and who waits for a slot would wait on.
            now = asyncio.get_running_loop().time()
            for scope in self._scopes:
                scope.reschedule(now)
            await self._idle.wait()
        while self._transports:
            await self._transports.pop().aclose()
