"""Answers ``/livez``, ``/readyz``, ``/startupz``, ``/metrics`` and ``/``.

It runs in a thread of its own with an event loop of its own, so that a worker whose loop hangs is told to be so rather
than not to answer. Invariants: what one asks is bounded in size, in time and in number; whatever goes wrong here, the
worker goes on; nothing can be changed by asking.
"""

import asyncio
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Self

import structlog

from enricher.httpd.connection import Exchange
from enricher.httpd.messages import render
from enricher.httpd.server import HttpServer
from enricher.observability import health, page
from enricher.observability.exposition import CONTENT_TYPE, Exposition
from enricher.observability.observer import Observer
from enricher.observability.sending import Sending
from enricher.observability.statistics import parse

log = structlog.get_logger(__name__)

MAX_CONNECTIONS = 64
MAX_BODY = 1_024
IDLE = 75.0
"""Seconds without a request after which a connection is closed: more than the usual interval of scrapes."""

SWEEP = 1.0
"""Seconds between two looks for such connections."""

WATCH = 5.0
"""Seconds between two looks at whether the worker lives, asked or not: as often as the statistics come."""

SLOW = 10.0
"""Seconds for one answer."""

_PLAIN = "text/plain; charset=utf-8"
_HTML = "text/html; charset=utf-8"
_HEADERS = (
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'"),
)


class StatusServer:
    """The server, as an asynchronous context manager for its own loop.

    Args:
        address: ``host:port`` to listen on; port 0 is any free one.
        observer: looks at the worker.
        settings: the effective ones, as name, text and origin; secrets masked.
        limits: how long something may take before the worker counts as hung.
    """

    def __init__(
        self, address: str, observer: Observer, settings: Sequence[page.SettingRow], limits: health.Limits
    ) -> None:
        host, _, port = address.rpartition(":")
        self._server = HttpServer(
            self._handle,
            host=host.strip("[]"),
            port=int(port),
            max_body=MAX_BODY,
            max_connections=MAX_CONNECTIONS,
        )
        self._observer = observer
        self._settings = settings
        self._limits = limits
        self._exposition = Exposition()
        self._listener = self._server.bind()
        self._sending = Sending()
        self._chores: list[asyncio.Task[None]] = []
        self._answers: set[asyncio.Task[None]] = set()
        self._paths = {
            b"/livez": self._livez,
            b"/readyz": self._readyz,
            b"/startupz": self._startupz,
            b"/metrics": self._metrics,
            b"/": self._page,
        }

    @property
    def address(self) -> str:
        """The actual address, ``host:port``."""
        host = self._server.host
        return f"[{host}]:{self._server.port}" if ":" in host else f"{host}:{self._server.port}"

    async def __aenter__(self) -> Self:
        await self._server.serve(self._listener)
        self._chores = [asyncio.create_task(self._sweep()), asyncio.create_task(self._watch())]
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = [*self._chores, *self._answers]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._server.close()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP)
            self._server.sweep(IDLE)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(WATCH)
            self._live()  # how long something has been so is known only to who looks again and again

    def _handle(self, exchange: Exchange) -> None:
        task = asyncio.get_running_loop().create_task(self._answer(exchange))
        self._answers.add(task)
        task.add_done_callback(self._answers.discard)

    async def _answer(self, exchange: Exchange) -> None:
        try:
            async with asyncio.timeout(SLOW):
                response = await self._respond(exchange.request.method, exchange.request.path)
        except Exception as error:
            log.exception("status_failed", kind=type(error).__name__)
            response = render(500, b"internal error\n", content_type=_PLAIN, headers=_HEADERS)
        with suppress(OSError):
            exchange.send(response)

    async def _respond(self, method: str, path: bytes) -> bytes:
        answer = self._paths.get(path)
        if answer is None:
            text = "there are /livez, /readyz, /startupz, /metrics and /\n"
            return render(404, text.encode(), content_type=_PLAIN, headers=_HEADERS)
        if method not in {"GET", "HEAD"}:
            headers = (*_HEADERS, ("Allow", "GET, HEAD"))
            return render(405, b"only GET and HEAD\n", content_type=_PLAIN, headers=headers)
        return await answer()

    async def _livez(self) -> bytes:
        return _verdict(self._live())

    async def _startupz(self) -> bytes:
        return _verdict(health.started(self._observer.pulse))

    async def _readyz(self) -> bytes:
        return _verdict((await self._observer.view()).ready)

    async def _metrics(self) -> bytes:
        body = self._exposition.render(await self._observer.view())
        return render(200, body, content_type=CONTENT_TYPE, headers=_HEADERS)

    async def _page(self) -> bytes:
        view, at = await self._observer.view(), datetime.now(UTC)
        body = page.render(view, self._live(), self._settings, host=socket.gethostname(), at=at)
        return render(200, body, content_type=_HTML, headers=_HEADERS)

    def _live(self) -> health.Verdict:
        pulse = self._observer.pulse
        now = time.monotonic()
        consumer, producer = (parse(pulse.statistics.get(client)) for client in ("consumer", "producer"))
        joining = 0.0 if consumer is None else consumer.joining
        return health.live(
            pulse, now, self._limits, joining=joining, silent=self._sending.silent(producer, consumer, now)
        )


def _verdict(verdict: health.Verdict) -> bytes:
    text = "".join(f"{line}\n" for line in (verdict.reasons or ("ok",)))
    return render(200 if verdict.ok else 503, text.encode(), content_type=_PLAIN, headers=_HEADERS)
