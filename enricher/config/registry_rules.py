"""What contradicts what in the settings of the schema registry."""

from collections.abc import Iterator

from enricher.config.contradiction import Contradiction, Rule, Values
from enricher.config.transport_rules import needs

_REGISTRY = "schema_registry."
_BASIC = f"{_REGISTRY}auth.basic."
_BEARER = f"{_REGISTRY}auth.bearer."
_TLS = f"{_REGISTRY}tls."
_URL = f"{_REGISTRY}url"
_SECRETS = (f"{_BASIC}password", f"{_BEARER}token", f"{_TLS}key_password")
_OFF = {f"{_REGISTRY}framing": "prefix", f"{_REGISTRY}subject_strategy": "topic", f"{_REGISTRY}timeout": 5.0}


def _wants_a_registry(values: Values) -> Iterator[Contradiction]:
    """What has no effect is not meant."""
    if values.get(_URL, "?"):
        return
    for name, value in values.items():
        if name.startswith(_REGISTRY) and value and value != _OFF.get(name):
            yield Contradiction(name, f"has no effect without {_URL}", f"set {_URL}, or leave this out")
            return


def _one_kind(values: Values) -> Iterator[Contradiction]:
    basic = values.get(f"{_BASIC}username")
    for name in (f"{_BEARER}token", f"{_BEARER}token_file"):
        if basic and values.get(name):
            message = f"asks for bearer credentials, and {_BASIC}username for basic ones: a request can carry one kind"
            yield Contradiction(name, message, "leave one of the two out")


def _tls_is_used(values: Values) -> Iterator[Contradiction]:
    url = values.get(_URL) or ""
    name = next((name for name, value in values.items() if name.startswith(_TLS) and value), None)
    if url and name and not any(part.lower().startswith("https:") for part in url.split(",")):
        yield Contradiction(name, f"has no effect, as {_URL} is not https", f"write https in {_URL}")


def _one_source(values: Values) -> Iterator[Contradiction]:
    for name in _SECRETS:
        if values.get(name) and values.get(f"{name}_file"):
            yield Contradiction(f"{name}_file", f"is set, and so is {name}", "leave one of the two out")


REGISTRY_RULES: tuple[Rule, ...] = (
    _wants_a_registry,
    _one_kind,
    _one_source,
    needs(f"{_BASIC}username", f"{_BASIC}password", f"{_BASIC}password_file"),
    needs(f"{_BASIC}password", f"{_BASIC}username"),
    needs(f"{_BASIC}password_file", f"{_BASIC}username"),
    needs(f"{_TLS}cert_file", f"{_TLS}key_file"),
    needs(f"{_TLS}key_file", f"{_TLS}cert_file"),
    needs(f"{_TLS}key_password", f"{_TLS}key_file"),
    needs(f"{_TLS}key_password_file", f"{_TLS}key_file"),
    _tls_is_used,
)
