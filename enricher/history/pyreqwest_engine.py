"""The engine over pyreqwest (Rust): a small part of httpx's cost per request, and the one of the hot path.

It uses pyreqwest's own API; every layer on top of it costs more than the request itself. Answers are always read as
a stream: reading one whole would not be bounded, and a stream is no dearer, as what has arrived is handed over at once.

A cancellation that meets the answer (or ``close``) in the same turn of the loop is lost inside pyreqwest 0.15, which
then returns as if nothing had been asked: a task that calls in a loop goes on, and whoever cancelled it waits for ever.
So after each await that can lose one, ``_Cancellations`` looks whether the task was asked to stop meanwhile.
"""

import asyncio
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
        builder = (
            ClientBuilder()
            .max_connections(settings.max_connections)
            .pool_max_idle_per_host(settings.max_connections)
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
        self._client: Client | None = _routed(builder, settings).build()

    async def send(self, url: str, content: bytes | None, headers: Fields = ()) -> Reply:
        """See ``Engine``."""
        client = self._client
        if client is None:
            raise closed()
        cancellations = _Cancellations()
        failure: LookupFailure
        try:
            builder = client.get(url) if content is None else client.post(url).body_bytes(content)
            if headers:
                builder = builder.headers(headers)
            async with builder.build_streamed() as response:
                cancellations.check()
                return await self._reply(response, cancellations)
        except LookupFailure as error:
            failure = error
        except TimeoutError:
            failure = timed_out(self._settings.timeout)
        except ClientClosedError:
            failure = closed()
        except Exception as error:  # noqa: BLE001  whatever the library raises is a request that did not come through
            failure = broken(error)
        cancellations.check()
        raise failure  # outside of the handlers: see the module engine on chaining

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
        client, self._client = self._client, None  # idle connections are kept for as long as it lives, closed or not
        if client is not None:
            await client.close()


def _routed(builder: ClientBuilder, settings: Settings) -> ClientBuilder:
    """The builder, told of certificates, proxy and protocol."""
    if settings.tls is not None:
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
    return builder


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
