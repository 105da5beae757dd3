"""The CustomerOfferHistory service for development, tests and the demo: the documented contract over real HTTP.

Invariants: without faults every answer is as the contract documents it. The service's port serves one path, and the
administration (``/faults``, ``/stats``, ``/health``), which also has a port of its own, so that it can be reached while
the service is down. Faults take effect for requests that arrive after they were set.
"""

import asyncio
import re
import socket
from collections import OrderedDict
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs

import msgspec

from enricher.httpd.connection import Exchange
from enricher.httpd.messages import render, render_error
from enricher.httpd.server import HttpServer
from enricher.testing.faults import Faults, Kind
from enricher.testing.histories import GeneratedHistories, Histories, pretty
from enricher.testing.plan import Planner
from enricher.testing.service_admin import administer
from enricher.testing.service_call import Call, Places
from enricher.testing.service_stats import Counts, Stats

PATH = "/prweb/PRRestService/PegaMKTContainer/V2/CustomerOfferHistory"
_CACHE_BYTES = 64 * 1024 * 1024


class BadRequest(Exception):  # noqa: N818  what the contract calls it
    """The request is not one of the contract; the message says why, without the customer's id."""


class HistoryServer:
    """The service on one event loop. Use it with ``async with``, or call `start` and `close`.

    Args:
        histories: what it serves; generated ones of 10 offers by default.
        faults: what it does wrong.
        host: the address to listen on.
        port: 0 for any free one.
        admin_port: likewise, for the administration.
        path: of the service.
        bad_prefix: customers whose id begins so are answered 400.
        indent: write the JSON as the documentation's sample has it, rather than compact.
        count_customers: how many customers `stats` counts one by one.
        cache_bytes: the bound of rendered answers kept.
    """

    def __init__(
        self,
        histories: Histories | None = None,
        faults: Faults | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        admin_port: int = 0,
        path: str = PATH,
        bad_prefix: str | None = "BAD-",
        indent: bool = False,
        count_customers: int = 0,
        cache_bytes: int = _CACHE_BYTES,
    ) -> None:
        self._histories = histories if histories is not None else GeneratedHistories()
        self._faults = faults if faults is not None else Faults()
        self._path = path.encode()
        self._bad_prefix = bad_prefix
        self._indent = indent
        self._counts = Counts(customers=count_customers)
        self._places = Places(self._counts)
        self._places.configure(self._faults)
        self._planner = Planner(self._faults)
        self._cache: OrderedDict[str, bytes] = OrderedDict()
        self._cache_left = cache_bytes
        self._service = HttpServer(self._handle, host=host, port=port)
        self._admin = HttpServer(self._administer, host=host, port=admin_port)
        self._listening: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen, unless the faults say that the service is down.

        Raises:
            OSError: an address is taken.
        """
        listener = self._service.bind()
        try:
            admin_listener = self._admin.bind()
        except OSError:
            listener.close()
            raise
        await self._admin.serve(admin_listener)
        if self._faults.refuses:
            listener.close()
        else:
            await self._service.serve(listener)

    async def close(self, grace: float = 0.0) -> None:
        """Stop listening, give answers on their way ``grace`` seconds, and cut what is left. May be called twice."""
        if self._listening is not None:
            await self._listening
        await self._service.close(grace)
        await self._admin.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def base_url(self) -> str:
        """``http://host:port`` of the service."""
        return _base(self._service)

    @property
    def url(self) -> str:
        """The whole URL of CustomerOfferHistory."""
        return self.base_url + self._path.decode()

    @property
    def admin_url(self) -> str:
        """``http://host:port`` of the administration, reachable while the service is down."""
        return _base(self._admin)

    @property
    def stats(self) -> Stats:
        """A snapshot of the counts."""
        return self._counts.snapshot(opened=self._service.opened, connected=self._service.connections)

    def reset_stats(self) -> None:
        """Count from zero."""
        self._counts.reset(opened=self._service.opened)

    @property
    def faults(self) -> Faults:
        """What the service does wrong. Setting it is for its own event loop.

        Raises:
            OSError: on setting, when the service comes up again and its port was taken in the meantime.
        """
        return self._faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        if self._faults.refuses and not faults.refuses and self._listening is None:
            self._listening = asyncio.get_running_loop().create_task(self._listen(self._service.bind()))
        self._faults = faults
        self._planner = Planner(faults)
        self._places.configure(faults)
        if faults.refuses:
            self._service.refuse()
            # Not at once: the faults may have come over a connection of the service, which is owed their answer.
            asyncio.get_running_loop().call_soon(self._cut)

    def _cut(self) -> None:
        if self._faults.refuses:
            self._service.cut()

    async def _listen(self, listener: socket.socket) -> None:
        try:
            await self._service.serve(listener)
        finally:
            self._listening = None
        if self._faults.refuses:  # they changed back while we were starting
            self._service.refuse()
            self._service.cut()

    def _handle(self, exchange: Exchange) -> None:
        """A request on the service's port."""
        request = exchange.request
        if request.path != self._path:
            administer(self, exchange)
            return
        counts = self._counts
        counts.requests += 1
        if self._faults.down == "reset":
            counts.by_fault[Kind.RESET] += 1
            exchange.reset()
            return
        if request.method not in {"POST", "GET"}:
            self._refuse(exchange, 405, "use POST or GET", (("Allow", "GET, POST"),))
            return
        try:
            customer_id = _posted(request.body) if request.method == "POST" else _queried(request.query)
        except BadRequest as error:
            self._refuse(exchange, 400, str(error))
            return
        if self._bad_prefix and customer_id.startswith(self._bad_prefix):
            self._refuse(exchange, 400, "CustomerID is not valid")
            return
        counts.entered(customer_id)
        plan = self._planner.plan(customer_id)
        Call(exchange, plan, lambda: self._answer(customer_id), self._places, counts).begin()

    def _administer(self, exchange: Exchange) -> None:
        """A request on the administration's port."""
        administer(self, exchange)

    def _refuse(self, exchange: Exchange, status: int, message: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        self._counts.by_status[status] += 1
        exchange.send(render_error(status, message, headers=headers))

    def _answer(self, customer_id: str) -> bytes:
        """The right answer, rendered once."""
        if (response := self._cache.get(customer_id)) is not None:
            return response
        body = self._histories.body(customer_id)
        response = render(200, pretty(body) if self._indent else body)
        self._cache[customer_id] = response
        self._cache_left -= len(response)
        while self._cache_left < 0:  # the oldest goes: a benchmark's customers come round in no better order
            self._cache_left += len(self._cache.popitem(last=False)[1])
        return response


class _Lookup(msgspec.Struct):
    CustomerID: str


_LOOKUP = msgspec.json.Decoder(_Lookup)
_TRAILING_COMMA = re.compile(rb",\s*}\s*\Z")


def _posted(body: bytes) -> str:
    """The customer of a POST. The documentation's own sample has a trailing comma, so one is accepted."""
    try:
        try:
            customer_id = _LOOKUP.decode(body)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            customer_id = _LOOKUP.decode(_TRAILING_COMMA.sub(b"}", body))
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BadRequest(f"the body is not a look-up: {error}") from error
    return _present(customer_id.CustomerID)


def _queried(query: bytes) -> str:
    """The customer of a GET."""
    try:
        fields = parse_qs(query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=100)
    except ValueError as error:
        raise BadRequest("the query cannot be read") from error
    values = fields.get("CustomerID", [])
    if len(values) != 1:
        raise BadRequest("the query must have one CustomerID")
    return _present(values[0])


def _present(customer_id: str) -> str:
    if not customer_id.strip():
        raise BadRequest("CustomerID is empty")
    return customer_id


def _base(server: HttpServer) -> str:
    host = f"[{server.host}]" if ":" in server.host else server.host
    return f"http://{host}:{server.port}"
