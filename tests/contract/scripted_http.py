"""An HTTP server that answers with the bytes that a test tells, right or wrong, and counts what it sees.

It is for faults below the level of HTTP, which no well-behaved server library can produce. It speaks just enough of
HTTP/1.1 to read requests with a Content-Length.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import NamedTuple, Self, TypeAlias

JSON = "Content-Type: application/json\r\n"
EMPTY = b'{"OfferHistory":[]}'


class Request(NamedTuple):
    """A request as it came over the wire."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class Connection:
    """One client connection, for the script to write to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.sent = 0

    async def write(self, data: bytes) -> None:
        """Send bytes, and wait while the client's buffers are full."""
        self._writer.write(data)
        await self._writer.drain()
        self.sent += len(data)

    async def answer(self, body: bytes = EMPTY, *, status: str = "200 OK", fields: str = JSON) -> None:
        """Send a well-formed answer with a Content-Length."""
        await self.write(f"HTTP/1.1 {status}\r\n{fields}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    def close(self) -> None:
        """End the connection in order (FIN), also in the middle of an answer."""
        self._writer.close()

    def reset(self) -> None:
        """End the connection with a reset (RST): closing with unread input or lingering off does that."""
        self._writer.transport.abort()

    async def gone(self) -> None:
        """Return when the client has closed its side."""
        while await self._reader.read(1 << 16):
            pass

    @property
    def peer(self) -> str | None:
        """The common name in the client's certificate."""
        certificate = self._writer.get_extra_info("peercert")
        fields = {name: value for part in (certificate or {}).get("subject", ()) for name, value in part}
        return fields.get("commonName")

    async def tunnel(self, host: str, port: int) -> None:
        """Pass bytes to and from another server, until one side has ended."""
        reader, writer = await asyncio.open_connection(host, port)

        async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            with suppress(ConnectionError):
                while data := await source.read(1 << 16):
                    sink.write(data)
                    await sink.drain()
            sink.close()

        try:
            await asyncio.gather(copy(self._reader, writer), copy(reader, self._writer))
        finally:
            writer.transport.abort()
            self._writer.transport.abort()


Script: TypeAlias = Callable[[Request, Connection], Awaitable[None]]


class ScriptedServer:
    """Runs the script for each request. ``url`` has the path of the real service."""

    def __init__(self, script: Script, tls: ssl.SSLContext | None = None) -> None:
        self._script = script
        self._tls = tls
        self.requests: list[Request] = []
        self.opened = 0
        self.open_now = 0
        self.most_open = 0
        self.broken_off = 0
        self.url = ""
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0, ssl=self._tls)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"http{'s' if self._tls else ''}://127.0.0.1:{port}/prweb/PRRestService/PegaMKTContainer/V2/CustomerOfferHistory"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()  # TLS would say goodbye, and wait for an answer
        await asyncio.gather(*(writer.wait_closed() for writer in self._writers), return_exceptions=True)
        await self._server.wait_closed()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _task: writer.close())  # also where it was cancelled before its first step

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened += 1
        self.open_now += 1
        self.most_open = max(self.most_open, self.open_now)
        connection = Connection(reader, writer)
        try:
            while not writer.is_closing():
                request = await _read_request(reader)
                self.requests.append(request)
                await self._script(request, connection)
        except asyncio.IncompleteReadError:
            pass  # the client has no more requests
        except ConnectionError:
            self.broken_off += 1
        finally:
            self.open_now -= 1


async def _read_request(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.split("\r\n")[:-2]
    method, target, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(method, target, headers, body)
