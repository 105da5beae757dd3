"""What contradicts what in the settings of how the service is reached."""

from enricher.config.contradiction import Rule
from enricher.config.credential_rules import certificates, in_file, needs, one_kind, one_source, password

_BASIC = "service.auth.basic."
_BEARER = "service.auth.bearer."
_OAUTH2 = "service.auth.oauth2."
_TLS = "service.tls."
_PROXY = "service.proxy."

TRANSPORT_RULES: tuple[Rule, ...] = (
    one_kind({"basic": _BASIC, "bearer": _BEARER, "oauth2": _OAUTH2}),
    one_source(
        f"{_BASIC}password",
        f"{_BEARER}token",
        f"{_OAUTH2}client_secret",
        f"{_TLS}key_password",
        f"{_PROXY}password",
    ),
    *password(_BASIC),
    needs(f"{_OAUTH2}token_url", f"{_OAUTH2}client_id"),
    needs(f"{_OAUTH2}client_id", *in_file(f"{_OAUTH2}client_secret")),
    needs(f"{_OAUTH2}client_id", f"{_OAUTH2}token_url"),
    needs(f"{_OAUTH2}client_secret", f"{_OAUTH2}client_id"),
    needs(f"{_OAUTH2}client_secret_file", f"{_OAUTH2}client_id"),
    needs(f"{_OAUTH2}scope", f"{_OAUTH2}client_id"),
    *certificates(_TLS, "service.url", f"{_OAUTH2}token_url"),
    needs(f"{_PROXY}username", f"{_PROXY}url"),
    *password(_PROXY),
)
