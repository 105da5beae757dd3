"""Builds the history service's client as the settings say, and tells what of its files cannot be used."""

import time
from collections.abc import Callable
from ipaddress import ip_address
from typing import TypeVar
from urllib.parse import urlsplit

from enricher import __version__
from enricher.config import ConfigError, Problem, Settings
from enricher.config.model import Service
from enricher.config.transport import check_token
from enricher.history import OfferHistoryClient, Proxy, Route, open_client
from enricher.history.auth import BasicCredentials, BearerCredentials, Credentials
from enricher.history.files import FixedSecret, Secret, SecretFile, UnusableFile
from enricher.stats import Stats

T = TypeVar("T")


def build_client(settings: Settings, stats: Stats | None = None) -> OfferHistoryClient:
    """The history service's client.

    Raises:
        ConfigError: files that the settings name cannot be used; it lists each of them.
    """
    service = settings.service
    building = _Building()
    route = building.route(service)
    credentials = building.credentials(service, route, stats)
    client = building.use(
        lambda: open_client(
            service.url,
            wall_clock=lambda: time.time_ns() // 1_000_000,
            method=service.method,
            engine=service.engine,
            max_connections=service.max_in_flight,
            timeout=service.timeout,
            max_response=service.max_response,
            user_agent=f"enricher/{__version__}",
            route=route,
            credentials=credentials,
            stats=stats,
        )
    )
    if client is None or building.problems:
        raise ConfigError(building.problems)
    return client


def in_the_clear(settings: Settings) -> str | None:
    """The setting of a URL to which credentials go unencrypted over a network, if there is one."""
    service = settings.service
    auth = service.auth
    urls = []
    if auth.oauth2.client_id:
        urls.append(("service.auth.oauth2.token_url", auth.oauth2.token_url))
    if auth.basic.username or auth.bearer.token or auth.bearer.token_file or urls:
        urls.append(("service.url", service.url))
    return next((name for name, url in urls if url.lower().startswith("http:") and not _is_local(url)), None)


def _is_local(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


class _Building:
    """Collects what cannot be used, so that all of it is told at once."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def use(self, make: Callable[[], T]) -> T | None:
        """What ``make`` makes, or none and a problem more."""
        try:
            return make()
        except UnusableFile as error:
            hint = "name a file that the worker can read, with what the setting says"
            self.problems.append(Problem(error.setting, error.path, "its file", error.reason, hint))
            return None

    def secret(self, setting: str, value: str, path: str, check: Callable[[str], object] | None = None) -> Secret:
        """The secret, of the settings or of the file; an empty one if the file cannot be used."""
        if not path:
            return FixedSecret(value)
        return self.use(lambda: SecretFile(f"{setting}_file", path, check=check)) or FixedSecret("")

    def route(self, service: Service) -> Route:
        """How the service is reached."""
        tls, proxy, files = service.tls, service.proxy, []
        certificates = None
        if tls.ca_file or tls.cert_file:
            from enricher.history.tls import TlsFiles  # noqa: PLC0415  httpx is slow to import

            password = self.secret("service.tls.key_password", tls.key_password, tls.key_password_file)
            certificates = TlsFiles(tls.ca_file, tls.cert_file, tls.key_file, password)
            files += [*certificates.paths, tls.key_password_file]
        way = None
        if proxy.url:
            password = self.secret("service.proxy.password", proxy.password, proxy.password_file)
            way = Proxy(proxy.url, proxy.username, password)
            files.append(proxy.password_file)
        return Route(certificates, way, service.http2 == "auto", tuple(file for file in files if file))

    def credentials(self, service: Service, route: Route, stats: Stats | None) -> Credentials | None:
        """What proves who asks, if anything does."""
        basic, bearer, oauth2 = service.auth.basic, service.auth.bearer, service.auth.oauth2
        if basic.username:
            password = self.secret("service.auth.basic.password", basic.password, basic.password_file)
            return BasicCredentials(basic.username, password)
        if bearer.token or bearer.token_file:
            return BearerCredentials(
                self.secret("service.auth.bearer.token", bearer.token, bearer.token_file, check_token)
            )
        if not oauth2.client_id:
            return None
        from enricher.history.oauth import OAuth2Credentials  # noqa: PLC0415  as above

        return OAuth2Credentials(
            oauth2.token_url,
            oauth2.client_id,
            self.secret("service.auth.oauth2.client_secret", oauth2.client_secret, oauth2.client_secret_file),
            scope=oauth2.scope,
            timeout=service.timeout,
            transport=route.open_transport,
            stats=stats,
        )
