"""The history service's administration over HTTP: ``/faults``, ``/stats``, ``/stats/reset``, ``/health``.

Invariants: nothing here touches a look-up. What cannot be understood changes nothing, and the answer says why.
"""

from typing import Protocol

import msgspec

from enricher.httpd.connection import Exchange
from enricher.httpd.messages import Request, render, render_error
from enricher.testing.faults import Faults
from enricher.testing.service_stats import Stats


class Administered(Protocol):
    """The service as the administration sees it."""

    faults: Faults

    @property
    def stats(self) -> Stats:
        """A snapshot of the counts."""
        ...

    def reset_stats(self) -> None:
        """Count from zero."""
        ...


_METHODS = {b"/health": ("GET",), b"/faults": ("GET", "PUT"), b"/stats": ("GET",), b"/stats/reset": ("POST",)}


def administer(service: Administered, exchange: Exchange) -> None:
    """Answer a request that is not a look-up."""
    exchange.send(_response(service, exchange.request))


def _response(service: Administered, request: Request) -> bytes:
    methods = _METHODS.get(request.path)
    if methods is None:
        return render_error(404, "there is nothing at this path")
    if request.method not in methods:
        return render_error(405, f"use {' or '.join(methods)}", headers=[("Allow", ", ".join(methods))])
    if request.path == b"/faults":
        return _faults(service, request)
    if request.path == b"/health":
        return render(200, b'{"status":"up"}')
    if request.path == b"/stats/reset":
        service.reset_stats()
    return render(200, msgspec.json.encode(service.stats))


def _faults(service: Administered, request: Request) -> bytes:
    if request.method == "PUT":
        try:
            service.faults = Faults.from_json(request.body)
        except ValueError as error:
            return render_error(400, str(error))
        except OSError as error:
            return render_error(500, f"cannot listen again: {error.strerror}")
    return render(200, service.faults.to_json())
