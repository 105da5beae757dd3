"""What contradicts what in the settings of the schema registry."""

from collections.abc import Iterator

from enricher.config.contradiction import Contradiction, Rule, Values
from enricher.config.credential_rules import certificates, one_kind, one_source, password

_REGISTRY = "schema_registry."
_BASIC = f"{_REGISTRY}auth.basic."
_BEARER = f"{_REGISTRY}auth.bearer."
_TLS = f"{_REGISTRY}tls."
_URL = f"{_REGISTRY}url"
_OFF = {f"{_REGISTRY}framing": "prefix", f"{_REGISTRY}subject_strategy": "topic", f"{_REGISTRY}timeout": 5.0}


def _wants_a_registry(values: Values) -> Iterator[Contradiction]:
    """What has no effect is not meant."""
    if values.get(_URL, "?"):
        return
    for name, value in values.items():
        if name.startswith(_REGISTRY) and value and value != _OFF.get(name):
            yield Contradiction(name, f"has no effect without {_URL}", f"set {_URL}, or leave this out")
            return


REGISTRY_RULES: tuple[Rule, ...] = (
    _wants_a_registry,
    one_kind({"basic": _BASIC, "bearer": _BEARER}),
    one_source(f"{_BASIC}password", f"{_BEARER}token", f"{_TLS}key_password"),
    *password(_BASIC),
    *certificates(_TLS, _URL),
)
