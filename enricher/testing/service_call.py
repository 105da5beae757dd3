"""One look-up's way through the service: the queue, the latency, and the answer or the fault in its place.

Invariants: each call leaves exactly once, whatever happens, and gives its place back. As in a real server, a client's
going does not stop what is being served: the place stays taken until the latency is over. Only a call that waits in
the queue, hangs, or is being sent ends at once.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache
from time import time

from enricher.httpd.connection import Exchange
from enricher.httpd.messages import render, render_error
from enricher.testing.faults import Faults, Kind
from enricher.testing.plan import Plan
from enricher.testing.service_stats import Counts

_HTML = b"<!DOCTYPE html>\n<html><head><title>%d %b</title></head><body><h1>%b</h1><hr>gateway</body></html>\n"
_HTML_TYPE = "text/html;charset=UTF-8"
_DRIP_INTERVAL = 0.05  # seconds; slower drips send single bytes less often


class Places:
    """The places in which calls are served, and the queue before them: first come, first served."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._capacity: int | None = None
        self._queue_limit: int | None = None
        self._queue: OrderedDict[Call, None] = OrderedDict()
        self._filling = False

    def configure(self, faults: Faults) -> None:
        """Take over another capacity and queue limit. What is served or waits already stays."""
        self._capacity = faults.capacity
        self._queue_limit = faults.queue_limit
        self._fill()

    def enter(self, call: "Call") -> bool:
        """Serve the call, now or later. False: the queue is full."""
        if self._free() and not self._queue:
            self._counts.served()
            call.serve()
            return True
        if self._queue_limit is not None and len(self._queue) >= self._queue_limit:
            return False
        self._queue[call] = None
        return True

    def withdraw(self, call: "Call") -> None:
        """The call no longer waits."""
        self._queue.pop(call, None)

    def leave(self) -> None:
        """A call that was served gives its place back."""
        self._counts.serving -= 1
        if self._queue:
            self._fill()

    def _free(self) -> bool:
        return self._capacity is None or self._counts.serving < self._capacity

    def _fill(self) -> None:
        if self._filling:  # a call that ends at once leaves while we are here: the loop goes on, not the recursion
            return
        self._filling = True
        try:
            while self._queue and self._free():
                call, _ = self._queue.popitem(last=False)
                self._counts.served()
                call.serve()
        finally:
            self._filling = False


class Call:
    """One look-up, from its arrival to its answer.

    Args:
        exchange: the request and the way to answer.
        plan: what becomes of it.
        answer: renders the right answer; called when it is needed.
        places: where it is served.
        counts: where it is counted.
    """

    __slots__ = ("_answer", "_counts", "_exchange", "_gone", "_places", "_plan", "_sending", "_serving", "_timer")

    def __init__(
        self, exchange: Exchange, plan: Plan, answer: Callable[[], bytes], places: Places, counts: Counts
    ) -> None:
        self._exchange = exchange
        self._plan = plan
        self._answer = answer
        self._places = places
        self._counts = counts
        self._serving = False
        self._sending = False
        self._gone = False
        self._timer: asyncio.TimerHandle | None = None
        exchange.on_gone = self._client_gone

    def begin(self) -> None:
        """Enter the queue, or be refused by it."""
        if not self._places.enter(self):
            self._counts.by_fault["refused_by_queue"] += 1
            self._send(503, render_error(503, "no place is free and the queue is full"))

    def serve(self) -> None:
        """A place is free: the latency begins."""
        self._serving = True
        if self._plan.delay > 0:
            self._timer = asyncio.get_running_loop().call_later(self._plan.delay, self._served)
        else:
            self._served()

    def _served(self) -> None:
        self._timer = None
        if self._gone:
            self._leave()
            return
        kind, status = self._plan.outcome
        if kind is Kind.OK:
            self._send(200, self._answer())
        elif kind is Kind.STATUS:
            self._send(status, self._status_page(status))
        else:
            self._counts.by_fault[kind] += 1
            self._break(kind)

    def _break(self, kind: Kind) -> None:
        if kind is Kind.RESET:
            self._exchange.reset()
            self._leave()
        elif kind is Kind.HANG:
            pass  # until the client has had enough, or the service closes
        elif kind is Kind.HTML:
            self._send(200, render(200, _HTML % (200, b"Please wait", b"Please wait"), content_type=_HTML_TYPE))
        elif kind is Kind.OVERSIZE:
            self._send(200, _oversize(self._plan.behaviour.oversize_bytes))
        elif kind is Kind.SLOW_BODY:
            self._counts.by_status[200] += 1
            head, _, body = self._answer().partition(b"\r\n\r\n")
            self._sending = True
            self._exchange.write(head + b"\r\n\r\n")
            self._drip(body, 0)
        else:
            self._send_part(kind)

    def _send_part(self, kind: Kind) -> None:
        _, _, body = self._answer().partition(b"\r\n\r\n")
        half = body[: len(body) // 2]
        if kind is Kind.TRUNCATED_JSON:
            self._send(200, render(200, half))
        elif kind is Kind.WRONG_CONTENT_TYPE:
            self._send(200, render(200, body, content_type="text/plain"))
        else:
            self._counts.by_status[200] += 1
            self._exchange.write(render(200, half, length=len(body)))
            self._exchange.end(close=True)
            self._leave()

    def _drip(self, body: bytes, sent: int) -> None:
        """Send the next drop, at least a byte, and come back for the one after it."""
        speed = self._plan.behaviour.slow_body_speed
        drop = max(1, int(speed * _DRIP_INTERVAL))
        self._exchange.write(body[sent : sent + drop])
        if (sent := sent + drop) >= len(body):
            self._exchange.end(close=not self._exchange.request.keep_alive)
            self._leave()
        else:
            self._timer = asyncio.get_running_loop().call_later(drop / speed, self._drip, body, sent)

    def _status_page(self, status: int) -> bytes:
        behaviour = self._plan.behaviour
        headers = []
        if (retry_after := behaviour.retry_after_header(time())) is not None:
            headers.append(("Retry-After", retry_after))
        if 300 <= status < 400:  # noqa: PLR2004  redirects
            headers.append(("Location", "/redirected"))
        if behaviour.error_body == "html":
            return render(status, _HTML % (status, b"Error", b"Error"), content_type=_HTML_TYPE, headers=headers)
        return render_error(status, "scripted by the faults", headers=headers)

    def _send(self, status: int, response: bytes) -> None:
        self._counts.by_status[status] += 1
        self._exchange.send(response)
        self._leave()

    def _client_gone(self) -> None:
        self._counts.abandoned += 1
        self._gone = True
        if not self._serving:
            self._places.withdraw(self)
            self._leave()
        elif self._timer is None or self._sending:  # it hangs, or drips
            if self._timer is not None:
                self._timer.cancel()
            self._leave()

    def _leave(self) -> None:
        self._exchange.on_gone = None
        self._counts.in_flight -= 1
        if self._serving:
            self._serving = False
            self._places.leave()


@lru_cache(maxsize=1)
def _oversize(size: int) -> bytes:
    """A response with a body of ``size`` bytes: JSON as the contract has it, but for a field that fills it."""
    frame = b'{"OfferHistory":[],"Padding":"%b"}'
    return render(200, (frame % (b"x" * max(0, size - len(frame) + 2)))[:size])
