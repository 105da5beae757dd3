"""Puts a client together: credentials, certificates, proxy, engine.

The engines are imported where they are needed: one of them may not be installed, and what is not used costs no time at
the start.
"""

from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from enricher.history.auth import Credentials
from enricher.history.client import Method, OfferHistoryClient, WallClock, check_url
from enricher.history.engine import Engine, Proxy, Settings
from enricher.history.reloading import ReloadingEngine
from enricher.stats import Stats

if TYPE_CHECKING:
    import httpx

    from enricher.history.tls import TlsFiles

EngineName: TypeAlias = Literal["auto", "httpx", "pyreqwest"]


class Route(NamedTuple):
    """How a server is reached.

    Attributes:
        tls: certificates; the public authorities alone if none.
        proxy: on the way.
        http2: whether to take HTTP/2 where a TLS server offers it.
        files: what ``tls`` and ``proxy`` are made of: when one changes, they are read again.
    """

    tls: "TlsFiles | None" = None
    proxy: Proxy | None = None
    http2: bool = False
    files: tuple[str, ...] = ()

    def open_transport(self) -> "httpx.AsyncBaseTransport":
        """A transport of httpx for a single request, with the certificates of this moment.

        Raises:
            UnusableFile: a file cannot be used.
        """
        from enricher.history.httpx_engine import open_transport  # noqa: PLC0415  see above

        tls = None if self.tls is None else self.tls.read()
        return open_transport(Settings(1, 0.0, 0, proxy=self.proxy), None if tls is None else tls.context)


_DIRECT = Route()


def open_client(
    url: str,
    *,
    wall_clock: WallClock,
    method: Method = "post",
    engine: EngineName = "auto",
    max_connections: int = 64,
    timeout: float = 5.0,
    max_response: int = 1 << 20,
    user_agent: str = "enricher",
    route: Route = _DIRECT,
    credentials: Credentials | None = None,
    stats: Stats | None = None,
) -> OfferHistoryClient:
    """Build a client with its engine. Nothing is sent.

    Args:
        url: the whole URL of CustomerOfferHistory.
        wall_clock: milliseconds since the epoch.
        method: ``post`` or ``get``.
        engine: ``auto`` takes pyreqwest where it is installed, else httpx.
        max_connections: open at once; as many as look-ups in flight.
        timeout: seconds for one attempt, the whole answer.
        max_response: bytes of one answer.
        user_agent: how we introduce ourselves.
        route: how the service is reached.
        credentials: what proves who asks.
        stats: where reloads are counted.

    Raises:
        ValueError: the URL is none that can be called.
        ImportError: ``pyreqwest`` was asked for and is not installed.
        UnusableFile: a file that the route needs cannot be used.
    """
    check_url(url)
    headers = [("accept", "application/json"), ("accept-encoding", "identity"), ("user-agent", user_agent)]
    if method == "post":
        headers.append(("content-type", "application/json"))
    secure = url.lower().startswith("https:")
    proxy = route.proxy
    settings = Settings(
        max_connections,
        timeout,
        max_response,
        tuple(headers),
        proxy=proxy,
        http2=route.http2 and secure,
        plain=not secure and (proxy is None or proxy.url.lower().startswith("http:")),
    )

    def build() -> Engine:
        return open_engine(engine, settings._replace(tls=None if route.tls is None else route.tls.read()))

    opened = ReloadingEngine(build, route.files, stats=stats) if route.files else build()
    return OfferHistoryClient(opened, url, wall_clock=wall_clock, method=method, credentials=credentials)


def open_engine(name: EngineName, settings: Settings) -> Engine:
    """Build the engine of that name.

    Raises:
        ImportError: ``pyreqwest`` was asked for and is not installed.
    """
    if name != "httpx":
        try:
            from enricher.history.pyreqwest_engine import PyreqwestEngine  # noqa: PLC0415  see above

            return PyreqwestEngine(settings)
        except ImportError:
            if name == "pyreqwest":
                raise
    from enricher.history.httpx_engine import HttpxEngine  # noqa: PLC0415  see above

    return HttpxEngine(settings)
