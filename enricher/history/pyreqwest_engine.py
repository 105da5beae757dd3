"""The engine over pyreqwest (Rust): a small part of httpx's cost per request, and the one of the hot path.

It uses pyreqwest's own API; every layer on top of it costs more than the request itself. Answers are always read as
a stream: reading one whole would not be bounded, and a stream is no dearer, as what has arrived is handed over at once.

A cancellation that meets the answer (or ``close``) in the same turn of the loop is lost inside pyreqwest 0.15, which
then returns as if nothing had been asked: a task that calls in a loop goes on, and whoever cancelled it waits for ever.
So after each await that can lose one, ``_Cancellations`` looks whether the task was asked to stop meanwhile.

Each connection is a client of its own, as a client opens more connections than it has calls: hyper, beneath it, lets
a call that finds no idle connection open one, serves it by one that another call gives back meanwhile, and keeps both;
the call after that may have found none idle again. A client with one call at a time has nothing to race with. HTTP/2
carries all calls on one connection, so there they share a client; if the server does not speak it after all, a few more
connections than ``max_connections`` may be opened at first.
"""

import asyncio
from collections import deque
from datetime import timedelta
from typing import Final

from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import ClientClosedError
from pyreqwest.proxy import ProxyBuilder
from pyreqwest.response import Response

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


class PyreqwestEngine:
    """``Engine`` over ``pyreqwest.client.Client``."""

    def __init__(self, settings: Settings) -> None:
        """Nothing is opened before the first call.

        Args:
            settings: see there.
        """
        self._settings = settings
        limit = settings.max_connections
        self._slots = [_Slot() for _ in range(limit)]
        first = _build(settings, limit if settings.http2 else 1)  # now, so that what cannot be built is told at start
        for slot in self._slots if settings.http2 else self._slots[-1:]:
            slot.client = first
        self._free = deque(self._slots)  # a stack, so that the fewer are used, the fewer are open
        self._freed = asyncio.Event()
        self._closed = False

    async def send(self, url: str, content: bytes | None, headers: Fields = ()) -> Reply:
        """See ``Engine``."""
        cancellations = _Cancellations()
        failure: LookupFailure
        left = None if self._free else await self._wait()
        slot = self._free.pop()
        slot.abandoned = True
        try:
            client = slot.client or self._open(slot)
            builder = client.get(url) if content is None else client.post(url).body_bytes(content)
            if headers:
                builder = builder.headers(headers)
            if left is not None:
                builder = builder.timeout(left)
            async with builder.build_streamed() as response:
                cancellations.check()
                reply = await self._reply(response, cancellations)
            slot.abandoned = False
            return reply  # noqa: TRY300  what it frees is the same in either case
        except LookupFailure as error:
            failure = error
        except TimeoutError:
            failure = timed_out(self._settings.timeout)
        except ClientClosedError:
            failure = closed()
        except Exception as error:  # noqa: BLE001  whatever the library raises is a request that did not come through
            failure = broken(error)
        finally:
            (self._free.appendleft if slot.abandoned else self._free.append)(slot)
            self._freed.set()
        cancellations.check()
        raise failure  # outside of the handlers: see the module engine on chaining

    async def _wait(self) -> timedelta:
        """Wait for a slot; what is left of the call's time."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self._settings.timeout
        try:
            async with asyncio.timeout_at(end):
                while not self._free:
                    self._freed.clear()
                    await self._freed.wait()
            return timedelta(seconds=max(0.001, end - loop.time()))
        except TimeoutError:
            pass
        raise timed_out(self._settings.timeout)

    def _open(self, slot: "_Slot") -> Client:
        if self._closed:
            raise closed()
        slot.client = _build(self._settings, 1)
        return slot.client

    async def _reply(self, response: Response, cancellations: "_Cancellations") -> Reply:
        status = response.status
        limit = self._settings.max_response
        body = b""
        length = declared_length(response.get_header("content-length"))
        fits = length is None or length <= limit
        if fits:
            read_chunk = response.body_reader.read_chunk
            chunks = []
            left = limit
            while (chunk := await read_chunk()) is not None:
                cancellations.check()
                left -= len(chunk)
                if left < 0:
                    fits = False
                    break
                chunks.append(chunk)
            cancellations.check()
            body = chunks[0].to_bytes() if len(chunks) == 1 else b"".join(chunks)
        if not fits:
            if status == _OK:
                raise too_large(limit)
            body = b""
        return Reply(
            status,
            body,
            response.get_header("content-type"),
            foreign_encoding(response.get_header("content-encoding")),
            response.get_header("retry-after"),
        )

    async def close(self) -> None:
        """See ``Engine``."""
        self._closed = True
        clients = {slot.client for slot in self._slots if slot.client is not None}
        for slot in self._slots:
            slot.client = None  # idle connections are kept for as long as a client lives, closed or not
        while clients:
            await clients.pop().close()


class _Slot:
    """Room for one call.

    Attributes:
        client: what it goes through; none before its first call and once the engine is closed.
        abandoned: whether the last call got no answer. Its request may run on, and the next call to that client would
            wait for it.
    """

    __slots__ = ("abandoned", "client")

    def __init__(self) -> None:
        self.client: Client | None = None
        self.abandoned = False


def _build(settings: Settings, connections: int) -> Client:
    """A client for so many calls at a time."""
    builder = (
        ClientBuilder()
        .max_connections(connections)
        .pool_max_idle_per_host(connections)
        .pool_idle_timeout(timedelta(seconds=settings.keep_idle))
        .pool_timeout(timedelta(seconds=settings.timeout))
        .timeout(timedelta(seconds=settings.timeout))
        .default_headers(list(settings.headers))
        .follow_redirects(False)
        .referer(False)
        .no_proxy()
        .gzip(False)
        .brotli(False)
        .zstd(False)
        .deflate(False)
    )
    if settings.plain:
        # No certificate is ever seen, and reading the authorities of the system takes each client 5 ms.
        builder = builder.danger_accept_invalid_certs(True)
    elif settings.tls is not None:
        for authority in settings.tls.authorities:
            builder = builder.add_root_certificate_pem(authority)
        if settings.tls.identity is not None:
            builder = builder.identity_pem(settings.tls.identity)
    if settings.proxy is not None:
        proxy = ProxyBuilder.all(settings.proxy.url)
        if settings.proxy.username:
            proxy = proxy.basic_auth(settings.proxy.username, settings.proxy.password.value(now=True))
        builder = builder.proxy(proxy)
    if settings.http2:
        # All calls share one connection then: its window is for all of their answers together.
        builder = builder.http2(True).http2_adaptive_window(True)
    return builder.build()


class _Cancellations:
    """Whether the current task was cancelled since this was made."""

    __slots__ = ("_before", "_task")

    def __init__(self) -> None:
        self._task = asyncio.current_task()
        self._before = 0 if self._task is None else self._task.cancelling()

    def check(self) -> None:
        """Raise the cancellation that was lost."""
        if self._task is not None and self._task.cancelling() > self._before:
            raise asyncio.CancelledError
