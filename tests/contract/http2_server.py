"""A small HTTP/2 server over TLS, which answers every request with an empty history."""

import asyncio
import ssl
from types import TracebackType
from typing import Self

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, RequestReceived, StreamEnded

from tests.contract.scripted_http import EMPTY


class Http2Server:
    """Counts connections and requests; ``fields`` are the header fields of the last one."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        tls.set_alpn_protocols(["h2", "http/1.1"])
        self._tls = tls
        self.opened = 0
        self.requests = 0
        self.fields: dict[bytes, bytes] = {}
        self.body = b""
        self.url = ""
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0, ssl=self._tls)
        self.url = f"https://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/CustomerOfferHistory"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*(writer.wait_closed() for writer in self._writers), return_exceptions=True)
        await self._server.wait_closed()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _task: writer.close())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened += 1
        connection = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        connection.initiate_connection()
        writer.write(connection.data_to_send())
        try:
            while data := await reader.read(1 << 16):
                for event in connection.receive_data(data):
                    self._handle(connection, event)
                writer.write(connection.data_to_send())
                await writer.drain()
        except ConnectionError:
            pass  # the client has ended it

    def _handle(self, connection: H2Connection, event: object) -> None:
        if isinstance(event, RequestReceived):
            self.fields = dict(event.headers)
            self.body = b""
        elif isinstance(event, DataReceived):
            self.body += event.data
            connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, StreamEnded):
            self.requests += 1
            connection.send_headers(event.stream_id, [(b":status", b"200"), (b"content-type", b"application/json")])
            connection.send_data(event.stream_id, EMPTY, end_stream=True)
        elif isinstance(event, ConnectionTerminated):
            raise ConnectionResetError
