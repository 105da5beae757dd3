"""Puts together what reads and writes events: decoder, encoder, and the schema registry behind both.

Invariants: with a registry, and contacts in Avro as outputs, nothing starts before the registry has told the id of
their schema; with derived outputs, not before it has answered.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import structlog

from enricher.avroschema import AvroType, InvalidSchema, parse
from enricher.cli.deriving import astray, check_derived, derived_framing
from enricher.cli.registries import framing_of, open_registry, output_subject, usable
from enricher.codec import Decoder, Encoder, InputFields, JsonEncoder, OutputReader
from enricher.codec.derived import Bodies, Body, DerivedEncoder, DerivedOutputs, DerivingDecoder, unchanged
from enricher.codec.framing import SchemaKey, fingerprint_of
from enricher.codec.rewriting import Rule, rewriting
from enricher.codec.writer_schemas import KnownSchemas
from enricher.config import Settings
from enricher.history.files import UnusableFile, read_file
from enricher.intake import Decoder as AnyDecoder
from enricher.intake import SchemaFetcher
from enricher.model import Enriched, Record
from enricher.outputs import Encoder as OutputEncoder
from enricher.privacy import EVENT, Privacy
from enricher.registry import DerivedFetcher, Fetcher, RegistryClient, RegistryError, ensure, examine
from enricher.schemas import ENRICHED_CONTACT
from enricher.stats import Stats

log = structlog.get_logger(__name__)

SHORTEST_KEY = 16
"""Bytes of a key of hashes."""


class PrivateEncoder:
    """Writes outputs without what is to be kept back."""

    def __init__(self, encoder: OutputEncoder, privacy: Privacy) -> None:
        self._encoder = encoder
        self._apply = privacy.apply
        self.headers = encoder.headers

    def encode(self, enriched: Enriched, record: Record) -> bytes:
        """As the encoder behind it."""
        return self._encoder.encode(self._apply(enriched), record)


class Codecs(NamedTuple):
    """What reads and writes.

    Attributes:
        decoder: bytes to events.
        encoder: enriched events to bytes.
        fetcher: asks the registry for schemas; None without a registry.
        close: to be called at the end.
    """

    decoder: AnyDecoder
    encoder: OutputEncoder
    fetcher: SchemaFetcher | None
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
        files, known = schema_files(settings), KnownSchemas(_allowed(settings))
        decoder, fetcher = build_decoder(settings, known, files), Fetcher(registry.writer_schema, known, stats)
        if settings.output.schema == "derived":
            bodies = derived_bodies(settings)
            for finding in check_derived(settings, files, registry, bodies):
                if not finding.ok:
                    log.warning("output_schema_not_ready", reason=finding.message, remedy=finding.remedy)
            outputs = DerivedOutputs(files, known, bodies)
            asking = DerivedFetcher(fetcher, partial(derived_framing, settings, registry), outputs, stats)
            codecs = Codecs(
                DerivingDecoder(decoder, outputs), private(settings, DerivedEncoder(outputs)), asking, registry.close
            )
        else:
            codecs = Codecs(decoder, private(settings, _encoder(settings, registry)), fetcher, registry.close)
    except BaseException:
        registry.close()
        raise
    return codecs


def offline_codecs(settings: Settings) -> Codecs:
    """What reads and writes where no registry is asked, whether the settings name one or not.

    Raises:
        ConfigError: ``schemas.path``, or the key of ``privacy.hash``, cannot be used.
    """
    files = schema_files(settings)
    decoder = build_decoder(settings, files=files)
    if settings.output.schema == "derived":
        outputs = DerivedOutputs(files, bodies=derived_bodies(settings))
        encoder = private(settings, DerivedEncoder(outputs))
        return Codecs(DerivingDecoder(decoder, outputs), encoder, None, lambda: None)
    return Codecs(decoder, private(settings, _encoder(settings, None)), None, lambda: None)


def build_decoder(
    settings: Settings, known: KnownSchemas | None = None, files: Mapping[bytes, Any] | None = None
) -> Decoder:
    """What reads the input.

    Args:
        settings: where the fields are, and where schemas.
        known: the registry's schemas; None without a registry.
        files: the schemas in ``schemas.path``; read here if left out.

    Raises:
        ConfigError: ``schemas.path`` cannot be used.
    """
    return Decoder(
        _input_fields(settings),
        settings.input.format,
        settings.input.max_record,
        schemas=schema_files(settings) if files is None else files,
        registry=known,
    )


def private(settings: Settings, encoder: OutputEncoder) -> OutputEncoder:
    """An encoder that writes no more than may be published.

    Raises:
        ConfigError: the key of ``privacy.hash`` cannot be used.
    """
    return PrivateEncoder(encoder, _privacy(settings)) if settings.privacy.rules() else encoder


def derived_bodies(settings: Settings) -> Bodies:
    """What makes the events' bytes in derived outputs: the input's, unless some of it is to be kept back.

    Raises:
        ConfigError: the key of ``privacy.hash`` cannot be used.
    """
    rules = [Rule(path, *change, EVENT + path) for path, change in _privacy(settings).event.items()]
    if not rules:
        return unchanged
    of_type = rewriting(rules)

    def bodies(of: AvroType) -> Body:
        if lost := astray(settings, of):
            log.warning("privacy_names_no_field", schema=of.name, fields=lost)
        return of_type(of)

    return bodies


def _privacy(settings: Settings) -> Privacy:
    with usable():
        key = _privacy_key(settings.privacy.key_file) if settings.privacy.key_file else b""
    return Privacy(settings.privacy.rules(), key)


def _privacy_key(path: str) -> bytes:
    """The key of the hashes; the line break at its end is none of it."""
    key = read_file("privacy.key_file", path).rstrip(b"\r\n")
    if len(key) < SHORTEST_KEY:
        raise UnusableFile("privacy.key_file", path, f"has fewer than {SHORTEST_KEY} bytes, which could be guessed")
    return key


def _encoder(settings: Settings, registry: RegistryClient | None) -> Encoder | JsonEncoder:
    """What writes contacts; without a registry, Avro is framed as single objects."""
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


def reader_of(settings: Settings, registry: RegistryClient | None = None) -> OutputReader:
    """What reads outputs of events such as the settings tell, by ids only with a registry.

    Raises:
        ConfigError: ``schemas.path`` cannot be used.
    """
    return OutputReader(registry, _input_fields(settings), schema_files(settings).values())


def _input_fields(settings: Settings) -> InputFields:
    fields = settings.input.fields
    return InputFields(fields.event_id, fields.customer_id, fields.event_time)


@contextmanager
def output_reader(settings: Settings | None) -> Iterator[OutputReader]:
    """What reads outputs, of any framing; asks the registry for ids, if there is one.

    Raises:
        RegistryRefused: a certificate cannot be used.
        ConfigError: a file of a secret or a certificate cannot be used.
    """
    registry = None if settings is None else open_registry(settings)
    try:
        yield OutputReader(registry) if settings is None else reader_of(settings, registry)
    finally:
        if registry is not None:
            registry.close()


def _allowed(settings: Settings) -> set[SchemaKey] | None:
    keys = settings.schema_registry.allowed
    return {int(key) if key.isdigit() else UUID(key).bytes for key in keys} or None


def schema_files(settings: Settings) -> dict[bytes, Any]:
    """The schemas in ``schemas.path``, by their fingerprints.

    Raises:
        ConfigError: it cannot be used.
    """
    path = settings.schemas.path
    with usable():
        return dict(_schemas(Path(path))) if path else {}


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
