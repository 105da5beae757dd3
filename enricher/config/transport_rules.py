"""What contradicts what in the settings of how the service is reached."""

from collections.abc import Iterator
from typing import Any

from enricher.config.contradiction import Contradiction, Rule, Values

_BASIC = "service.auth.basic."
_BEARER = "service.auth.bearer."
_OAUTH2 = "service.auth.oauth2."
_TLS = "service.tls."
_PROXY = "service.proxy."

_KINDS = {"basic": _BASIC, "bearer": _BEARER, "oauth2": _OAUTH2}
_PAIRS = (
    f"{_BASIC}password",
    f"{_BEARER}token",
    f"{_OAUTH2}client_secret",
    f"{_TLS}key_password",
    f"{_PROXY}password",
)


def _first(values: Values, prefix: str) -> str | None:
    return next((name for name, value in values.items() if name.startswith(prefix) and value), None)


def _one_kind(values: Values) -> Iterator[Contradiction]:
    """Two kinds of credentials would both claim the one header."""
    used = [(kind, name) for kind, prefix in _KINDS.items() if (name := _first(values, prefix))]
    for kind, name in used[1:]:
        message = f"asks for {kind} credentials, and {used[0][1]} for {used[0][0]} ones: a request can carry one kind"
        yield Contradiction(name, message, "leave one of the two out")


def _one_source(values: Values) -> Iterator[Contradiction]:
    """A secret stands in the settings or in a file."""
    for name in _PAIRS:
        if values.get(name) and values.get(f"{name}_file"):
            yield Contradiction(f"{name}_file", f"is set, and so is {name}", "leave one of the two out")


def needs(name: str, needed: str, *alternatives: str) -> Rule:
    """A setting that means nothing without another one. One that is wrong in itself counts as being there."""
    choices = (needed, *alternatives)

    def rule(values: Values) -> Iterator[Contradiction]:
        if values.get(name) and all(choice in values and not values[choice] for choice in choices):
            yield Contradiction(name, f"needs {' or '.join(choices)}", "set both, or neither")

    return rule


def _secret(prefix: str, secret: str) -> tuple[str, str]:
    return f"{prefix}{secret}", f"{prefix}{secret}_file"


def _is_https(url: Any) -> bool:
    return isinstance(url, str) and url.lower().startswith("https:")


def _tls_is_used(values: Values) -> Iterator[Contradiction]:
    """Certificates have no effect on plain HTTP, which nobody means who sets them."""
    url, name = values.get("service.url"), _first(values, _TLS)
    if url and name and not _is_https(url) and not _is_https(values.get(f"{_OAUTH2}token_url")):
        yield Contradiction(name, "has no effect, as service.url is not https", "write https in service.url")


TRANSPORT_RULES: tuple[Rule, ...] = (
    _one_kind,
    _one_source,
    needs(f"{_BASIC}username", *_secret(_BASIC, "password")),
    needs(f"{_BASIC}password", f"{_BASIC}username"),
    needs(f"{_BASIC}password_file", f"{_BASIC}username"),
    needs(f"{_OAUTH2}token_url", f"{_OAUTH2}client_id"),
    needs(f"{_OAUTH2}client_id", *_secret(_OAUTH2, "client_secret")),
    needs(f"{_OAUTH2}client_id", f"{_OAUTH2}token_url"),
    needs(f"{_OAUTH2}client_secret", f"{_OAUTH2}client_id"),
    needs(f"{_OAUTH2}client_secret_file", f"{_OAUTH2}client_id"),
    needs(f"{_OAUTH2}scope", f"{_OAUTH2}client_id"),
    needs(f"{_TLS}cert_file", f"{_TLS}key_file"),
    needs(f"{_TLS}key_file", f"{_TLS}cert_file"),
    needs(f"{_TLS}key_password", f"{_TLS}key_file"),
    needs(f"{_TLS}key_password_file", f"{_TLS}key_file"),
    needs(f"{_PROXY}username", f"{_PROXY}url"),
    needs(f"{_PROXY}username", *_secret(_PROXY, "password")),
    needs(f"{_PROXY}password", f"{_PROXY}username"),
    needs(f"{_PROXY}password_file", f"{_PROXY}username"),
    _tls_is_used,
)
