"""What the client needs of an HTTP library: one call is one request, and its whole answer.

Every engine holds to this, and the contract suite checks it over real sockets:

- the body is bounded while it is read: what goes beyond is never taken into memory, and the connection is closed;
- the time is that of the whole answer, from the call to the last byte, and not between bytes;
- nothing but the request given is sent: redirects are not followed, cookies are neither kept nor sent, proxies and
  credentials are not picked up from the environment, and a request that may have been processed is not repeated behind
  the caller's back;
- nothing is inflated: it asks for ``identity``, and ``Reply`` tells of any other encoding;
- connections are reused, and there are never more than ``max_connections`` (pyreqwest may open a few more at first
  where it is to take HTTP/2 and the server does not speak it);
- cancelling a call ends it at once and leaves the engine usable; ``close`` ends the calls in flight. Their connections
  are given up then, too; pyreqwest (0.15) lets the request run on, and gives them up when the answer or its timeout
  comes, so that until then they count against ``max_connections``;
- no failure holds the URL, the body or a header, as a URL may hold a customer's id. Errors of the library are
  therefore not chained to it.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from enricher.history.files import FixedSecret, Secret
from enricher.model import FailureKind, LookupFailure

if TYPE_CHECKING:
    from enricher.history.tls import Tls

Fields = Sequence[tuple[str, str]]
"""HTTP header fields; names in any case."""


class Proxy(NamedTuple):
    """An HTTP proxy.

    Attributes:
        url: ``http://host:port``, without credentials.
        username: empty for none.
        password: goes with it.
    """

    url: str
    username: str = ""
    password: Secret = FixedSecret("")


class Settings(NamedTuple):
    """What an engine is built with.

    Attributes:
        max_connections: how many connections may be open at once.
        timeout: seconds for one whole answer.
        max_response: bytes of one body.
        headers: sent with every request.
        keep_idle: seconds after which an idle connection is closed. Below what the usual servers keep them (Tomcat
            20 s, nginx 75 s), so that we close first: a request on a connection that the server just closed is lost.
        tls: certificates; the public authorities alone if none.
        proxy: on the way to the server.
        http2: whether to take HTTP/2 where a TLS server offers it.
        plain: whether no TLS is on the way, to a proxy included.
    """

    max_connections: int
    timeout: float
    max_response: int
    headers: Fields = ()
    keep_idle: float = 15.0
    tls: "Tls | None" = None
    proxy: Proxy | None = None
    http2: bool = False
    plain: bool = False


class Reply(NamedTuple):
    """An answer, whatever its status.

    ``body`` is empty where the status is no 200 and the body was over the limit: the status says more then.
    ``content_encoding`` is none for ``identity``.
    """

    status: int
    body: bytes
    content_type: str | None
    content_encoding: str | None
    retry_after: str | None


class Engine(Protocol):
    """An HTTP library behind the one call that we need."""

    async def send(self, url: str, content: bytes | None, headers: Fields = ()) -> Reply:
        """One request: POST of ``content``, or GET where there is none.

        Args:
            url: absolute and escaped already.
            content: the body of a POST.
            headers: added to those of every request, such as credentials.

        Raises:
            LookupFailure: ``CONNECTION``, ``TIMEOUT`` or ``RESPONSE_TOO_LARGE``.
        """
        ...

    async def close(self) -> None:
        """Close all connections. Calls in flight end with ``CONNECTION``. May be called twice."""
        ...


def timed_out(seconds: float) -> LookupFailure:
    """The whole answer did not come in time."""
    return LookupFailure(FailureKind.TIMEOUT, f"no whole answer within {seconds:g} s")


def too_large(limit: int) -> LookupFailure:
    """The body went over the limit."""
    return LookupFailure(FailureKind.RESPONSE_TOO_LARGE, f"the answer is larger than {limit} bytes")


def broken(error: BaseException) -> LookupFailure:
    """The request did not come through; of the library's error only the type is told, as its text may hold the URL."""
    return LookupFailure(FailureKind.CONNECTION, f"the request did not come through ({type(error).__name__})")


def declared_length(field: str | None) -> int | None:
    """The value of Content-Length, if there is a sound one."""
    return int(field) if field is not None and field.isascii() and field.isdigit() and len(field) < 20 else None  # noqa: PLR2004  the digits of 2**64


def foreign_encoding(field: str | None) -> str | None:
    """The value of Content-Encoding, unless it says that the body is as it is."""
    return None if field is None or field.strip().lower() in {"", "identity"} else field


def closed() -> LookupFailure:
    """The client was closed before the answer came."""
    return LookupFailure(FailureKind.CONNECTION, "the client was closed")
