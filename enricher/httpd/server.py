"""A small HTTP/1.1 server over asyncio, cheap enough not to be what a benchmark measures.

Invariants: it knows every connection until that is gone, and closing it leaves none. Refusing connections and
accepting them again are separate from the connections that there are.
"""

import asyncio
import socket

from enricher.httpd.connection import Connection, Handler

MAX_BODY = 64 * 1024


class HttpServer:
    """Listens on one address, and knows its connections.

    Args:
        handler: called with each exchange; must not block.
        host: the address to listen on.
        port: 0 for any free one; ``port`` tells which after `listen`.
        max_body: bytes of a request's body; more is answered 413.
        max_connections: open at once; one more is closed at once. No limit by default.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        max_body: int = MAX_BODY,
        max_connections: int | None = None,
    ) -> None:
        self.handler = handler
        self.host = host
        self.port = port
        self.max_body = max_body
        self.max_connections = max_connections
        self.opened = 0
        self._connections: set[Connection] = set()
        self._all_left = asyncio.Event()
        self._server: asyncio.Server | None = None

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._connections)

    def bind(self) -> socket.socket:
        """A listening socket on the address; connections queue up in it until `serve` accepts them.

        Raises:
            OSError: the address is taken or is none of this machine's.
        """
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        listener = socket.create_server((self.host, self.port), family=family, backlog=1024)
        self.port = listener.getsockname()[1]
        return listener

    async def serve(self, listener: socket.socket) -> None:
        """Accept the connections of a listening socket."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Connection(self), sock=listener, backlog=1024)

    def refuse(self) -> None:
        """Stop listening; what is connected stays. A new connection is refused by the operating system."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def cut(self) -> None:
        """End every connection: those that owe an answer at once, the others when all that they were sent is out."""
        for connection in list(self._connections):
            connection.close(now=not connection.idle)

    def sweep(self, idle: float) -> None:
        """End the connections on which no whole request came for ``idle`` seconds."""
        now = asyncio.get_running_loop().time()
        for connection in list(self._connections):
            if now - connection.since > idle:
                connection.close(now=True)

    async def close(self, grace: float = 0.0) -> None:
        """Stop listening, wait ``grace`` seconds for answers on their way, and cut what is left."""
        self.refuse()
        deadline = asyncio.get_running_loop().time() + grace
        while self._connections:
            late = asyncio.get_running_loop().time() >= deadline
            for connection in list(self._connections):
                if late or connection.idle:
                    connection.close(now=late)
            self._all_left.clear()
            try:
                async with asyncio.timeout(0.02):
                    await self._all_left.wait()
            except TimeoutError:
                continue

    def joined(self, connection: Connection) -> None:
        """A connection was accepted."""
        self.opened += 1
        self._connections.add(connection)
        if self.max_connections is not None and len(self._connections) > self.max_connections:
            connection.close(now=True)

    def left(self, connection: Connection) -> None:
        """A connection is gone."""
        self._connections.discard(connection)
        if not self._connections:
            self._all_left.set()
