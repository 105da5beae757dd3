"""The schema registry that the settings name: how it is reached, where it has outputs' schemas, how these tell them.

Invariant: a secret that stands in a file is read here, when the registry is opened.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from enricher.codec.framing import Framing
from enricher.config import ConfigError, Problem, Settings
from enricher.config.registry import SchemaRegistry
from enricher.config.transport import check_token
from enricher.history.files import SecretFile, UnusableFile, read_file
from enricher.registry import Registered, RegistryClient, RegistryLacks, SubjectStrategy, subject_of
from enricher.schemas import ENRICHED_CONTACT

_AUTH: Final = "schema_registry.auth"

CONTACT: Final = f"{ENRICHED_CONTACT.raw['namespace']}.{ENRICHED_CONTACT.name}"


def output_subject(settings: Settings, record: str = CONTACT) -> str:
    """The subject of the output's schema, whose record has this name."""
    return subject_of(SubjectStrategy(settings.schema_registry.subject_strategy), settings.output.topic, record)


def framing_of(settings: Settings, given: Registered) -> Framing:
    """How an output tells a schema that is registered.

    Raises:
        RegistryLacks: a header was asked for, and the registry has no GUIDs.
    """
    if settings.schema_registry.framing == "prefix":
        return Framing.prefixed(given.schema_id)
    if given.guid is None:
        raise RegistryLacks(
            "the schema registry gives its schemas no GUIDs, which schema_registry.framing: header needs; use prefix"
        )
    return Framing.headed(given.guid)


def open_registry(settings: Settings) -> RegistryClient | None:
    """The registry's client; None if there is no registry. Nothing is asked.

    Raises:
        RegistryRefused: a certificate cannot be used.
        ConfigError: a file of a secret or a certificate cannot be used.
    """
    told = settings.schema_registry
    if not told.url:
        return None
    with usable():
        return RegistryClient(told.url, told.timeout, _properties(told))


def _properties(told: SchemaRegistry) -> dict[str, Any]:
    """Credentials and certificates, as confluent-kafka's client wants them."""
    properties: dict[str, Any] = {}
    basic, bearer, tls = told.auth.basic, told.auth.bearer, told.tls
    if basic.username:
        password = _secret(f"{_AUTH}.basic.password", basic.password, basic.password_file)
        properties["basic.auth.user.info"] = f"{basic.username}:{password}"
    if bearer.token or bearer.token_file:
        token = _secret(f"{_AUTH}.bearer.token", bearer.token, bearer.token_file, check_token)
        properties |= {"bearer.auth.credentials.source": "STATIC_TOKEN", "bearer.auth.token": token}
        properties["bearer.auth.logical.cluster"] = ""  # of Confluent's cloud; the library insists on a value
    for name, key, path in (
        ("ca_file", "ssl.ca.location", tls.ca_file),
        ("cert_file", "ssl.certificate.location", tls.cert_file),
        ("key_file", "ssl.key.location", tls.key_file),
    ):
        if path:
            read_file(f"schema_registry.tls.{name}", path)  # the library's errors would not tell which file it is
            properties[key] = path
    if tls.key_password or tls.key_password_file:
        secret = _secret("schema_registry.tls.key_password", tls.key_password, tls.key_password_file)
        properties["ssl.key.password"] = secret
    return properties


def _secret(setting: str, value: str, path: str, check: Callable[[str], object] | None = None) -> str:
    """A secret of the settings, or in a file."""
    return value or SecretFile(f"{setting}_file", path, check=check).value()


@contextmanager
def usable() -> Iterator[None]:
    """What is wrong with a file is wrong with the settings that name it."""
    try:
        yield
    except UnusableFile as error:
        hint = "name a file that the worker can read, with what the setting says"
        raise ConfigError([Problem(error.setting, error.path, "its file", error.reason, hint)]) from None
