"""One client's connection to the small HTTP server: parsing, the order of answers, limits, refusals.

It parses with llhttp (``httptools``) and hands each request to a synchronous handler as an `Exchange`, which is
answered at once or later, in one write or in parts, or broken on purpose: what a framework does not let one do.

Invariants: requests of one connection are handled one at a time and answered in their order, however they were
pipelined. What one connection can hold is bounded: the head, the body, and the requests and answers that wait. A
client that ends its sending side is gone. No task is ever created, so that none can be left behind.
"""

import asyncio
import os
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import Protocol, cast

import httptools

from enricher.httpd.messages import Request, render_error

MAX_HEAD = 64 * 1024
_MAX_WAITING = 32
_LINGER = 1.0  # seconds that a refused client has to stop sending; closing at once could destroy the answer (RST)
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_RST_ON_CLOSE = struct.pack("ii", 1, 0)

Handler = Callable[["Exchange"], None]


class Exchange:
    """One request and its answer.

    It ends with exactly one of `send`, `end` and `reset`, or with the client's going, which calls ``on_gone``. After
    that everything is ignored, so that a timer that comes late does no harm.
    """

    __slots__ = ("_connection", "on_gone", "request")

    def __init__(self, connection: "Connection", request: Request) -> None:
        self._connection: Connection | None = connection
        self.request = request
        self.on_gone: Callable[[], None] | None = None

    def send(self, response: bytes) -> None:
        """Answer with a whole response."""
        if (connection := self._connection) is not None:
            request = self.request
            if request.method == "HEAD":
                response = response[: response.index(b"\r\n\r\n") + 4]
            if not request.keep_alive:
                response = response.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)
            connection.write(response)
            self.end(close=not request.keep_alive)

    def write(self, part: bytes) -> None:
        """Send a part of a response."""
        if self._connection is not None:
            self._connection.write(part)

    def end(self, *, close: bool) -> None:
        """The parts were all."""
        if (connection := self._connection) is not None:
            self._connection = None
            connection.done(close=close)

    def reset(self) -> None:
        """Reset the connection (RST): the client sees neither an answer nor an orderly end."""
        if (connection := self._connection) is not None:
            self._connection = None
            connection.reset()

    def gone(self) -> None:
        """The client went before the answer. Called by the connection."""
        self._connection = None
        if self.on_gone is not None:
            self.on_gone()


class Owner(Protocol):
    """The server as a connection sees it."""

    handler: Handler
    max_body: int

    def joined(self, connection: "Connection") -> None:
        """The connection was made."""
        ...

    def left(self, connection: "Connection") -> None:
        """The connection is gone."""
        ...


class _Refused(Exception):  # noqa: N818  ends the parsing; never leaves this module
    """Raised in a parser's callback when the request is not to be read to its end."""


class Connection(asyncio.Protocol):
    """One client. The methods ``on_*`` are the parser's callbacks."""

    def __init__(self, server: Owner) -> None:
        self._server = server
        self._handler = server.handler
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._body = b""
        self._head_open = False
        self._head_size = 0
        self._messages = 0
        self._waiting: deque[Request] = deque()
        self._current: Exchange | None = None
        self._advancing = False
        self._writable = True
        self._reading = True
        self._continue_due = False
        self._refusal: bytes | None = None  # the last answer of this connection, due after those that wait
        self._linger: asyncio.TimerHandle | None = None
        self.since = 0.0  # the loop's time of the last whole request, or of the connection's beginning

    # --- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Join the server."""
        self._transport = cast("asyncio.Transport", transport)  # what a stream server makes; uvloop's is no subclass
        self.since = asyncio.get_running_loop().time()
        self._server.joined(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave it; what was on its way has nobody to go to."""
        del exc
        self._transport = None
        self._waiting.clear()
        if self._linger is not None:
            self._linger.cancel()
        if (current := self._current) is not None:
            self._current = None
            current.gone()
        self._server.left(self)

    def data_received(self, data: bytes) -> None:
        """Parse; the callbacks below do the rest."""
        if self._refusal is not None:
            return
        open_before, messages = self._head_open, self._messages
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # Not supported, and so ignored; what follows the head is no longer parsed, so nothing can follow it.
            self._refuse(render_error(400, "upgrades are not supported"))
        except httptools.HttpParserError:
            self._refuse(self._due_refusal() or render_error(400, "this is not HTTP/1.1"))
        else:
            if open_before and self._head_open and messages == self._messages:
                self._head_size += len(data)
                if self._head_size > MAX_HEAD:
                    self._refuse(render_error(431, f"the request's head is larger than {MAX_HEAD} bytes"))

    def pause_writing(self) -> None:
        """Begin no further answer: the client does not read."""
        self._writable = False

    def resume_writing(self) -> None:
        """Go on: the client reads."""
        self._writable = True
        self._advance()

    # --- the parser's callbacks

    def on_message_begin(self) -> None:
        """A request begins."""
        self._messages += 1
        self._target = b""
        self._headers = []
        self._body = b""
        self._head_open = True
        self._head_size = 0

    def on_url(self, part: bytes) -> None:
        """A part of its target."""
        self._target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """The head is complete: is the body welcome?"""
        self._head_open = False
        for name, value in self._headers:
            # Both names have their length to themselves among the usual headers: no lower() for the others.
            if len(name) == len("content-length") and name.lower() == b"content-length":
                if int(value) > self._server.max_body:
                    self._too_large()
            elif len(name) == len("expect") and name.lower() == b"expect" and value.lower() == b"100-continue":
                self._continue_due = True
                self._advance()

    def on_body(self, part: bytes) -> None:
        """A part of its body."""
        self._body += part
        if len(self._body) > self._server.max_body:
            self._too_large()

    def on_message_complete(self) -> None:
        """The request is complete."""
        parser = self._parser
        self.since = asyncio.get_running_loop().time()
        self._continue_due = False
        self._waiting.append(
            Request(
                parser.get_method().decode("latin-1"),
                self._target,
                self._headers,
                self._body,
                keep_alive=parser.should_keep_alive(),
            )
        )
        self._advance()

    # --- the order of answers

    def write(self, data: bytes) -> None:
        """Send bytes of the current answer."""
        if self._transport is not None:
            self._transport.write(data)

    def done(self, *, close: bool) -> None:
        """The current answer is complete."""
        self._current = None
        if close:
            self.close()
        elif not self._advancing:
            self._advance()

    def reset(self) -> None:
        """End the connection with RST."""
        if (transport := self._transport) is not None:
            # A copy of the descriptor, since the loops hand out the socket itself only for looking at.
            with socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno())) as handle:
                handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST_ON_CLOSE)
            self._current = None
            transport.abort()

    def close(self, *, now: bool = False) -> None:
        """End the connection when everything written is sent, or now."""
        if self._transport is not None:
            self._waiting.clear()
            if now:
                self._transport.abort()
            else:
                self._transport.close()

    @property
    def idle(self) -> bool:
        """Whether no request waits for its answer."""
        return self._current is None and not self._waiting

    def _advance(self) -> None:
        """Handle what waits, as far as answers come at once and the client takes them."""
        if self._advancing:
            return
        self._advancing = True
        try:
            waiting = self._waiting
            while waiting and self._current is None and self._writable:
                self._current = exchange = Exchange(self, waiting.popleft())
                self._handle(exchange)
        finally:
            self._advancing = False
        if not waiting and self._current is None and self._transport is not None:
            if self._refusal is not None:
                self._send_refusal(self._refusal)
            elif self._continue_due:
                self._continue_due = False
                self._transport.write(_CONTINUE)
        self._throttle()

    def _handle(self, exchange: Exchange) -> None:
        try:
            self._handler(exchange)
        except Exception as error:  # noqa: BLE001  whatever a handler does, the client gets an answer and we are told
            asyncio.get_running_loop().call_exception_handler({"message": "the handler failed", "exception": error})
            exchange.request.keep_alive = False
            exchange.send(render_error(500, "internal error"))

    def _throttle(self) -> None:
        """Stop reading while too much waits, so that one client's pipeline stays bounded."""
        reading = len(self._waiting) < _MAX_WAITING
        if reading != self._reading and self._transport is not None and not self._transport.is_closing():
            self._reading = reading
            if reading:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()

    # --- refusals

    def _too_large(self) -> None:
        self._refusal = render_error(413, f"the request's body is larger than {self._server.max_body} bytes")
        raise _Refused

    def _due_refusal(self) -> bytes | None:
        """What a callback of the parser refused with. A method, since the type checker knows of no callbacks."""
        return self._refusal

    def _refuse(self, response: bytes) -> None:
        self._refusal = response
        self._advance()

    def _send_refusal(self, response: bytes) -> None:
        transport = self._transport
        if transport is None or transport.is_closing() or self._linger is not None:
            return
        transport.write(response.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
        transport.write_eof()
        self._linger = asyncio.get_running_loop().call_later(_LINGER, transport.abort)
