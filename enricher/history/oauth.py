"""Tokens of OAuth 2.0's client credentials grant (RFC 6749, 4.4), as Pega's and other servers hand them out.

Invariants:

- One request for a token at a time, whatever the number of calls that wait for it; a call that is cancelled does not
  end it for the others.
- A token is renewed before it expires, while calls go on with it; only where there is no valid one do calls wait.
- A token that the service refuses is renewed once, and one that is younger than ``MIN_AGE`` is not renewed for that:
  a service that refuses every token does not become a flood at the token endpoint. Nor does an endpoint that fails:
  it is asked again after ``RETRY_AFTER``, and calls in between fail with what it said.
- Neither the secret nor a token nor the endpoint's answer is in an error or a log line.
"""

import asyncio
import math
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import httpx
import msgspec
import structlog

from enricher.history.engine import Fields
from enricher.history.files import Clock, Secret, UnusableFile
from enricher.model import FailureKind, LookupFailure
from enricher.stats import Stats

log = structlog.get_logger(__name__)

MIN_AGE: Final = 10.0
RETRY_AFTER: Final = 1.0
EARLY: Final = 60.0
"""Seconds before its end at which a token is renewed; at four fifths of its life if that is later."""
MAX_ANSWER: Final = 64 << 10
_OK: Final = 200


class _Token(NamedTuple):
    fields: Fields
    obtained: float
    renew_at: float
    expires: float


class _Wire(msgspec.Struct):
    access_token: str
    token_type: str = "bearer"  # noqa: S105  a type and no token
    expires_in: float | str | None = None


class OAuth2Credentials:
    """``enricher.history.auth.Credentials`` that fetches its tokens itself."""

    def __init__(
        self,
        token_url: str,
        client_id: str,
        secret: Secret,
        *,
        scope: str = "",
        timeout: float = 5.0,
        transport: Callable[[], httpx.AsyncBaseTransport] = lambda: httpx.AsyncHTTPTransport(trust_env=False),
        clock: Clock = time.monotonic,
        stats: Stats | None = None,
    ) -> None:
        """Nothing is sent before the first call.

        Args:
            token_url: the whole URL of the token endpoint.
            client_id: who asks.
            secret: the client's secret.
            scope: what to ask for; nothing if empty.
            timeout: seconds for one whole answer.
            transport: makes what a request goes through, with the certificates of that moment; closed after it.
            clock: seconds, monotonic.
            stats: where to count.
        """
        self._url = token_url
        self._client_id = client_id
        self._secret = secret
        self._scope = scope
        self._timeout = timeout
        self._transport = transport
        self._clock = clock
        self._stats = stats or Stats()
        self._token: _Token | None = None
        self._fetching: asyncio.Task[None] | None = None
        self._failure: LookupFailure | None = None
        self._failed_at = -math.inf
        self._closed = False

    def fields(self) -> Fields | None:
        """See ``Credentials``."""
        token = self._token
        if token is None:
            return None
        now = self._clock()
        if now < token.renew_at:
            return token.fields
        if now >= token.expires:
            return None
        if now - self._failed_at >= RETRY_AFTER and not self._closed:
            self._fetch_once()
        return token.fields

    async def renew(self, refused: Fields | None) -> Fields:
        """See ``Credentials``."""
        token, now = self._token, self._clock()
        if token is not None and now < token.expires:
            newer = token.fields is not refused and refused is not None
            if newer or (refused is not None and now - token.obtained < MIN_AGE):
                return token.fields
        if self._failure is not None and now - self._failed_at < RETRY_AFTER:
            raise _copy(self._failure)
        before = self._token
        if not self._closed:
            await asyncio.wait([self._fetch_once()])  # which neither ends it nor raises with it
        if self._token is None or self._token is before:
            raise _copy(self._failure or _failure("the client was closed"))
        return self._token.fields

    async def close(self) -> None:
        """See ``Credentials``."""
        self._closed = True
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait([self._fetching])

    def _fetch_once(self) -> "asyncio.Task[None]":
        if self._fetching is None or self._fetching.done():
            self._fetching = asyncio.get_running_loop().create_task(self._fetch())
        return self._fetching

    async def _fetch(self) -> None:
        """Set the token, or the failure; raises nothing."""
        try:
            async with asyncio.timeout(self._timeout):
                status, body = await self._post()
            self._token = self._read(status, body)
        except LookupFailure as failure:
            self._failure = failure
        except TimeoutError:
            self._failure = _failure(f"the token endpoint did not answer within {self._timeout:g} s")
        except UnusableFile as error:
            self._failure = _failure(str(error))
        except Exception as error:  # noqa: BLE001  whatever a library raises means that there is no token
            self._failure = _failure(f"the token endpoint was not reached ({type(error).__name__})")
        else:
            self._failure = None
            self._stats.tokens += 1
            log.info("token_obtained")
            return
        self._failed_at = self._clock()
        self._stats.token_failures += 1
        log.warning("token_not_obtained", reason=self._failure.message)

    async def _post(self) -> tuple[int, bytes]:
        """One request; no redirect is followed, and no more than a bounded answer is taken in."""
        form = {
            "grant_type": "client_credentials",
            "client_id": self._client_id,
            "client_secret": self._secret.value(now=True),
        }
        if self._scope:
            form["scope"] = self._scope
        headers = {"accept": "application/json", "accept-encoding": "identity"}
        body = bytearray()
        async with (
            httpx.AsyncClient(transport=self._transport(), trust_env=False, timeout=self._timeout) as client,
            client.stream("POST", self._url, data=form, headers=headers) as response,
        ):
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > MAX_ANSWER:
                    raise _failure("the token endpoint's answer is too large")
            return response.status_code, bytes(body)

    def _read(self, status: int, body: bytes) -> _Token:
        if status != _OK:
            raise _failure(f"the token endpoint answered with status {status}{_error_code(body)}")
        try:
            wire = msgspec.json.decode(body, type=_Wire)
            lifetime = math.inf if wire.expires_in is None else float(wire.expires_in)
        except (msgspec.MsgspecError, UnicodeDecodeError, ValueError):
            raise _failure("the token endpoint's answer is none of RFC 6749") from None
        token = wire.access_token
        if wire.token_type.lower() != "bearer" or not token or any(not "!" <= c <= "~" for c in token):
            raise _failure("the token endpoint's token is no bearer token")
        if not lifetime > 0:
            raise _failure("the token endpoint's token has expired already")
        now = self._clock()
        early = lifetime - EARLY if lifetime > 5 * EARLY else lifetime * 0.8
        return _Token([("authorization", f"Bearer {token}")], now, now + early, now + lifetime)


def _error_code(body: bytes) -> str:
    """RFC 6749's error code, if it is one of those that it names; the rest of the answer is not told."""
    try:
        answer: Any = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""
    known = {"invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "invalid_scope"}
    error = answer.get("error") if isinstance(answer, dict) else None
    return f" ({error})" if isinstance(error, str) and error in known | {"unsupported_grant_type"} else ""


def _failure(message: str) -> LookupFailure:
    return LookupFailure(FailureKind.NO_TOKEN, message)


def _copy(failure: LookupFailure) -> LookupFailure:
    """Each caller gets an exception of its own, so that tracebacks do not grow onto one."""
    return _failure(failure.message)
