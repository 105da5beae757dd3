"""How a request proves who asks: HTTP basic and bearer authentication (``oauth`` has the third way).

Invariant: no credential is in a ``repr``, a log line or an error.
"""

from abc import ABC, abstractmethod
from base64 import b64encode
from typing import Protocol

from enricher.history.engine import Fields
from enricher.history.files import Secret


class Credentials(Protocol):
    """Header fields that prove who asks."""

    def fields(self) -> Fields | None:
        """What to send now; none where it has to be fetched first."""
        ...

    async def renew(self, refused: Fields | None) -> Fields:
        """What to send instead of what the service refused with 401, or of what is not there yet.

        The same fields again where there are no newer ones.

        Raises:
            LookupFailure: there are none to be had.
        """
        ...

    async def close(self) -> None:
        """End whatever goes on in the background."""
        ...


class _Header(ABC):
    """One header made of one secret, which may change."""

    def __init__(self, secret: Secret) -> None:
        self._secret = secret
        self._made_of: str | None = None
        self._fields: Fields = ()

    def fields(self) -> Fields:
        """See ``Credentials``."""
        return self._made(self._secret.value())

    async def renew(self, refused: Fields | None) -> Fields:
        """See ``Credentials``."""
        del refused
        return self._made(self._secret.value(now=True))

    async def close(self) -> None:  # noqa: B027  nothing goes on in the background
        """See ``Credentials``."""

    def _made(self, secret: str) -> Fields:
        if secret != self._made_of:
            self._fields = [("authorization", self._header(secret))]
            self._made_of = secret
        return self._fields

    @abstractmethod
    def _header(self, secret: str) -> str: ...


class BasicCredentials(_Header):
    """A user name and a password (RFC 7617), in UTF-8."""

    def __init__(self, username: str, password: Secret) -> None:
        super().__init__(password)
        self._username = username

    def _header(self, secret: str) -> str:
        return "Basic " + b64encode(f"{self._username}:{secret}".encode()).decode()


class BearerCredentials(_Header):
    """A token (RFC 6750) that somebody else fetches."""

    def _header(self, secret: str) -> str:
        return f"Bearer {secret}"
