"""Puts together what reads and writes events: decoder, encoder, and the schema registry behind both.

Invariants: with a registry, and an output in Avro, nothing starts before the registry has told the id of the output's
schema; a secret that stands in a file is read here, once.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID

import structlog

from enricher.avroschema import InvalidSchema, parse
from enricher.codec import Decoder, Encoder, InputFields, JsonEncoder, OutputReader
from enricher.codec.avro_input import SchemaKey, fingerprint_of
from enricher.codec.framing import Framing
from enricher.codec.writer_schemas import KnownSchemas
from enricher.config import ConfigError, Problem, Settings
from enricher.config.registry import SchemaRegistry
from enricher.config.transport import check_token
from enricher.history.files import SecretFile, UnusableFile, read_file
from enricher.intake import Decoder as AnyDecoder
from enricher.model import Enriched, Record
from enricher.privacy import Privacy
from enricher.registry import (
    Fetcher,
    Registered,
    RegistryClient,
    RegistryError,
    RegistryRefused,
    SubjectStrategy,
    ensure,
    examine,
    subject_of,
)
from enricher.schemas import ENRICHED_CONTACT
from enricher.stats import Stats

log = structlog.get_logger(__name__)

_AUTH = "schema_registry.auth"

SHORTEST_KEY = 16
"""Bytes of a key of hashes."""


class PrivateEncoder:
    """Writes outputs without what is to be kept back."""

    def __init__(self, encoder: Encoder | JsonEncoder, privacy: Privacy) -> None:
        self._encoder = encoder
        self._apply = privacy.apply
        self.headers = encoder.headers

    def encode(self, enriched: Enriched, record: Record) -> bytes:
        """As the encoder behind it."""
        return self._encoder.encode(self._apply(enriched), record)


OutputEncoder: TypeAlias = Encoder | JsonEncoder | PrivateEncoder


class Codecs(NamedTuple):
    """What reads and writes.

    Attributes:
        decoder: bytes to events.
        encoder: enriched events to bytes.
        fetcher: asks the registry for schemas of inputs; None without a registry.
        close: to be called at the end.
    """

    decoder: AnyDecoder
    encoder: OutputEncoder
    fetcher: Fetcher | None
    close: Callable[[], None]


def open_codecs(settings: Settings, stats: Stats) -> Codecs:
    """Everything that reads and writes. Asks the registry, and blocks meanwhile.

    Raises:
        RegistryError: the registry does not answer, or does not have the output's schema and may not take it.
        ConfigError: a file that the settings name cannot be used: a secret, a certificate, a schema.
    """
    registry = open_registry(settings)
    if registry is None:
        return offline_codecs(settings)
    try:
        known = KnownSchemas(_allowed(settings))
        decoder, encoder = build_decoder(settings, known), build_encoder(settings, registry)
    except BaseException:
        registry.close()
        raise
    return Codecs(decoder, encoder, Fetcher(registry.writer_schema, known, stats), registry.close)


def offline_codecs(settings: Settings) -> Codecs:
    """What reads and writes where no registry is asked, whether the settings name one or not.

    Raises:
        ConfigError: ``schemas.path`` cannot be used.
    """
    return Codecs(build_decoder(settings), build_encoder(settings), None, lambda: None)


def build_decoder(settings: Settings, known: KnownSchemas | None = None) -> Decoder:
    """What reads the input.

    Args:
        settings: where the fields are, and where schemas.
        known: the registry's schemas; None without a registry.

    Raises:
        ConfigError: ``schemas.path`` cannot be used.
    """
    fields, path = settings.input.fields, settings.schemas.path
    with _usable():
        schemas = dict(_schemas(Path(path))) if path else None
    return Decoder(
        InputFields(fields.event_id, fields.customer_id, fields.event_time),
        settings.input.format,
        settings.input.max_record,
        schemas=schemas,
        registry=known,
    )


def build_encoder(settings: Settings, registry: RegistryClient | None = None) -> OutputEncoder:
    """What writes the output. Without a registry, Avro is framed as single objects.

    Raises:
        RegistryError: see ``open_codecs``.
        ConfigError: the key of ``privacy.hash`` cannot be used.
    """
    rules = settings.privacy.rules()
    if not rules:
        return _open_encoder(settings, registry)
    with _usable():
        key = _privacy_key(settings.privacy.key_file) if settings.privacy.key_file else b""
    return PrivateEncoder(_open_encoder(settings, registry), Privacy(rules, key))


def _privacy_key(path: str) -> bytes:
    """The key of the hashes; the line break at its end is none of it."""
    key = read_file("privacy.key_file", path).rstrip(b"\r\n")
    if len(key) < SHORTEST_KEY:
        raise UnusableFile("privacy.key_file", path, f"has fewer than {SHORTEST_KEY} bytes, which could be guessed")
    return key


def _open_encoder(settings: Settings, registry: RegistryClient | None) -> Encoder | JsonEncoder:
    if settings.output.format == "json":
        return JsonEncoder()
    if registry is None:
        return Encoder()
    register = settings.schema_registry.auto_register
    given = ensure(registry, output_subject(settings), ENRICHED_CONTACT.text, register=register)
    log.info("output_schema_known", subject=given.subject, id=given.schema_id)
    _tell_whom_it_breaks(registry, given.subject)
    return Encoder(framing_of(settings, given))


def _tell_whom_it_breaks(registry: RegistryClient, subject: str) -> None:
    """What is registered may go with no other version, if the registry's own rules are lax. Then it is told whom."""
    with suppress(RegistryError):  # the id is known, which is all that is needed
        for broken in examine(registry, subject, ENRICHED_CONTACT.text).breaks:
            log.warning("output_schema_breaks", subject=subject, reason=broken.words)


def framing_of(settings: Settings, given: Registered) -> Framing:
    """How an output tells a schema that is registered.

    Raises:
        RegistryRefused: a header was asked for, and the registry has no GUIDs.
    """
    if settings.schema_registry.framing == "prefix":
        return Framing.prefixed(given.schema_id)
    if given.guid is None:
        raise RegistryRefused(
            "the schema registry gives its schemas no GUIDs, which schema_registry.framing: header needs; use prefix"
        )
    return Framing.headed(given.guid)


def output_subject(settings: Settings) -> str:
    """The subject of the output's schema."""
    strategy = SubjectStrategy(settings.schema_registry.subject_strategy)
    return subject_of(strategy, settings.output.topic, f"{ENRICHED_CONTACT.raw['namespace']}.{ENRICHED_CONTACT.name}")


@contextmanager
def output_reader(settings: Settings | None) -> Iterator[OutputReader]:
    """What reads outputs, of any framing; asks the registry for ids, if there is one.

    Raises:
        RegistryRefused: a certificate cannot be used.
        ConfigError: a file of a secret or a certificate cannot be used.
    """
    registry = None if settings is None else open_registry(settings)
    try:
        yield OutputReader(registry)
    finally:
        if registry is not None:
            registry.close()


def open_registry(settings: Settings) -> RegistryClient | None:
    """The registry's client; None if there is no registry. Nothing is asked.

    Raises:
        RegistryRefused: a certificate cannot be used.
        ConfigError: a file of a secret or a certificate cannot be used.
    """
    told = settings.schema_registry
    if not told.url:
        return None
    with _usable():
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


def _allowed(settings: Settings) -> set[SchemaKey] | None:
    keys = settings.schema_registry.allowed
    return {int(key) if key.isdigit() else UUID(key).bytes for key in keys} or None


def _schemas(path: Path) -> Iterator[tuple[bytes, Any]]:
    """The schemas in a file, or in all ``.avsc`` files of a folder, by their fingerprints."""
    files = sorted(path.rglob("*.avsc")) if path.is_dir() else [path]
    if not files:
        raise UnusableFile("schemas.path", str(path), "holds no .avsc file")
    for file in files:
        try:
            raw = json.loads(read_file("schemas.path", str(file)))
            parse(raw)
            yield fingerprint_of(raw), raw
        except (InvalidSchema, ValueError) as error:
            raise UnusableFile("schemas.path", str(file), f"holds no Avro schema: {error}") from None


def _secret(setting: str, value: str, path: str, check: Callable[[str], object] | None = None) -> str:
    """A secret of the settings, or in a file."""
    return value or SecretFile(f"{setting}_file", path, check=check).value()


@contextmanager
def _usable() -> Iterator[None]:
    """What is wrong with a file is wrong with the settings that name it."""
    try:
        yield
    except UnusableFile as error:
        hint = "name a file that the worker can read, with what the setting says"
        raise ConfigError([Problem(error.setting, error.path, "its file", error.reason, hint)]) from None
