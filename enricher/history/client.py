"""The client of the CustomerOfferHistory service: one call, one attempt, one answer or one named failure.

Invariants: only the configured URL is ever called, as a customer's id travels escaped, in the JSON body or in one query
value; nothing but ``LookupFailure`` (and cancellation) comes out; and no failure holds an id, a URL or a body.
"""

import re
from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Final, Literal, TypeAlias
from urllib.parse import quote, urlsplit

import msgspec

from enricher.history.auth import Credentials
from enricher.history.engine import Engine, Reply
from enricher.history.wire import decode_history
from enricher.model import FailureKind, LookupFailure
from enricher.protocols import Answer

Method: TypeAlias = Literal["post", "get"]

WallClock: TypeAlias = Callable[[], int]
"""Milliseconds since the epoch."""

_OK: Final = 200
_UNAUTHORIZED: Final = 401
_STATUSES: Final = {
    400: (FailureKind.BAD_REQUEST, "the service calls the request bad"),
    401: (FailureKind.UNAUTHORIZED, "the service wants other credentials"),
    403: (FailureKind.FORBIDDEN, "the service refuses us; some want TLS"),
    404: (FailureKind.NOT_FOUND, "there is no such path; check service.url"),
    408: (FailureKind.REQUEST_TIMEOUT, "the service did not get the request in time"),
    413: (FailureKind.REQUEST_TOO_LARGE, "the request is too large for the service"),
    414: (FailureKind.REQUEST_TOO_LARGE, "the URL is too long for the service; service.method post has no such limit"),
    425: (FailureKind.TOO_EARLY, "the service does not answer yet"),
    429: (FailureKind.TOO_MANY_REQUESTS, "the service wants fewer requests"),
    500: (FailureKind.SERVER_ERROR, "the service failed"),
    502: (FailureKind.BAD_GATEWAY, "a gateway got no answer from the service"),
    503: (FailureKind.UNAVAILABLE, "the service is unavailable"),
    504: (FailureKind.GATEWAY_TIMEOUT, "a gateway got no answer from the service in time"),
}
_SECONDS: Final = re.compile(r"[0-9]{1,9}", re.ASCII)  # longer ones are no wait that anybody means


class OfferHistoryClient:
    """``enricher.protocols.HistoryClient`` over an engine."""

    def __init__(
        self,
        engine: Engine,
        url: str,
        *,
        wall_clock: WallClock,
        method: Method = "post",
        credentials: Credentials | None = None,
    ) -> None:
        """Nothing is sent before the first call.

        Args:
            engine: owned from now on, and closed with the client.
            url: the whole URL of CustomerOfferHistory; a query of its own is kept.
            wall_clock: tells when an answer came.
            method: how the service is asked.
            credentials: asked for header fields before each request, and for others where the service refuses them;
                owned from now on.

        Raises:
            ValueError: the URL is none that can be called; it is not in the message.
        """
        check_url(url)
        self._engine = engine
        self._url = url
        self._wall_clock = wall_clock
        self._credentials = credentials
        self._prefix = None if method == "post" else f"{url}{'&' if urlsplit(url).query else '?'}CustomerID="
        self._encode = msgspec.json.Encoder().encode

    async def fetch(self, customer_id: str) -> Answer:
        """See ``enricher.protocols.HistoryClient``."""
        url, content = self._request(customer_id)
        failure: LookupFailure
        try:
            reply = await self._send(url, content)
            if reply.status == _OK:
                check_body(reply)
                return Answer(decode_history(reply.body), self._wall_clock())
            failure = self._refusal(reply)
        except LookupFailure:
            raise
        except Exception as error:  # noqa: BLE001  the pipeline knows what to do with a failed look-up only
            failure = LookupFailure(FailureKind.CONNECTION, f"the look-up broke ({type(error).__name__})")
        raise failure  # outside of the handlers, so that no library error (with a URL or a body) hangs on to it

    def route(self, wrap: Callable[[Engine], Engine]) -> None:
        """Send through what ``wrap`` makes of the engine. To be called before anything is sent."""
        self._engine = wrap(self._engine)

    async def close(self) -> None:
        """See ``enricher.protocols.HistoryClient``."""
        if self._credentials is not None:
            await self._credentials.close()
        await self._engine.close()

    async def _send(self, url: str, content: bytes | None) -> Reply:
        """One request; a second one where the credentials were refused and there are newer ones."""
        credentials = self._credentials
        if credentials is None:
            return await self._engine.send(url, content)
        fields = credentials.fields()
        if fields is None:
            fields = await credentials.renew(None)
        reply = await self._engine.send(url, content, fields)
        if reply.status == _UNAUTHORIZED:
            newer = await credentials.renew(fields)
            if newer != fields:
                reply = await self._engine.send(url, content, newer)
        return reply

    def _request(self, customer_id: str) -> tuple[str, bytes | None]:
        try:
            if self._prefix is None:
                return self._url, self._encode({"CustomerID": customer_id})
            return self._prefix + quote(customer_id, safe=""), None
        except UnicodeEncodeError:  # a lone surrogate, which JSON input may well hold
            pass
        raise LookupFailure(FailureKind.BAD_REQUEST, "the customer id is no Unicode text, and was not sent")

    def _refusal(self, reply: Reply) -> LookupFailure:
        status = reply.status
        if status in _STATUSES:
            kind, meaning = _STATUSES[status]
        elif 300 <= status < 400:  # noqa: PLR2004  the class of redirections
            kind, meaning = FailureKind.REDIRECT, "redirects are not followed; check service.url"
        else:
            kind, meaning = FailureKind.UNEXPECTED_STATUS, "the service's contract knows no such status"
        wait = None if reply.retry_after is None else parse_retry_after(reply.retry_after, self._wall_clock())
        return LookupFailure(kind, f"status {status}: {meaning}", retry_after=wait, status=status)


def check_url(url: str) -> None:
    """Refuse what cannot be the service's URL.

    Raises:
        ValueError: it says what is wrong, without the URL, as that may hold a password.
    """
    if not url.isascii() or any(c <= " " or c == "\x7f" for c in url):
        raise ValueError("the service's URL must be escaped: ASCII without spaces")
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("the service's URL must be absolute: http://host:port/path, or https")
    if "@" in parts.netloc:
        raise ValueError("the service's URL must not hold credentials")
    if parts.fragment:
        raise ValueError("the service's URL must not hold a fragment")
    if parts.port == 0:  # reading it also checks that it is a number in range
        raise ValueError("the service's URL must not have port 0")


def check_body(reply: Reply) -> None:
    """Refuse a 200 whose body is no plain JSON by its own account.

    A missing content type is accepted: some gateways drop it, and what is no JSON fails right after.

    Raises:
        LookupFailure: ``NOT_JSON``.
    """
    if reply.content_encoding is not None:
        raise LookupFailure(
            FailureKind.NOT_JSON, "the answer is compressed, though asked for without", status=reply.status
        )
    if reply.content_type is not None and not is_json(reply.content_type):
        raise LookupFailure(
            FailureKind.NOT_JSON, "the answer is of another type than JSON: a page of a gateway?", status=reply.status
        )


@lru_cache(maxsize=64)
def is_json(content_type: str) -> bool:
    """Whether a Content-Type names JSON: ``application/json``, ``text/json`` or a type that ends in ``+json``."""
    media = content_type.partition(";")[0].strip().lower()
    return media in {"application/json", "text/json"} or ("/" in media and media.endswith("+json"))


def parse_retry_after(field: str, now: int) -> float | None:
    """Seconds to wait as Retry-After says, in either of its forms (RFC 9110, 10.2.3).

    Args:
        field: the field's value.
        now: milliseconds since the epoch.

    Returns:
        Not below 0; none for what cannot be read. Whoever waits bounds it.
    """
    field = field.strip()
    if _SECONDS.fullmatch(field):
        return float(field)
    try:
        instant = parsedate_to_datetime(field)
        if instant.tzinfo is None:
            instant = instant.replace(tzinfo=UTC)
        return max(0.0, instant.timestamp() - now / 1000)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
