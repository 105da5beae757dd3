"""Writes derived outputs: the input's own Avro body, byte for byte, and the history behind it.

An Avro record is its fields one after the other, so nothing is decoded and written again, and nothing can be lost. The
schema is derived once for each schema that inputs are written with. How an output tells it, a registry says, or its
fingerprint where there is none.

Invariants: an event is let in only when it is known how its output tells its schema, so no look-up is made for what
could not be published; memory does not grow but with the schemas that a registry or a file has.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

from enricher.avroschema import AvroType, InvalidSchema, parse
from enricher.avroschema.derived import NotDerivable, derive
from enricher.codec.avro_writer import write_history
from enricher.codec.framing import (
    HEADER,
    MARKER,
    PREFIX,
    SCHEMA_ID_HEADER,
    Framing,
    SchemaKey,
    fingerprint_of,
    key_in_header,
    words_of,
)
from enricher.codec.output import written
from enricher.codec.writer_schemas import SchemaNeeded, WriterSchema, WriterSchemas
from enricher.model import Enriched, Event, Headers, Record, Rejected, Stage
from enricher.schemas import RELEASED

Body: TypeAlias = Callable[[bytes, int], bytes]
"""Makes of a value, and where its body begins, the event's bytes in the output."""

Bodies: TypeAlias = Callable[[AvroType], Body]
"""For a type, what makes the events' bytes; raises ``NotDerivable``."""


class Decoder(Protocol):
    """Bytes to an event, as ``enricher.codec.Decoder`` does it."""

    def decode(self, record: Record) -> Event:
        """Raises ``Rejected``, ``SchemaNeeded``."""
        ...


class DerivedSchema(NamedTuple):
    """A derived schema.

    Attributes:
        name: of the record, with its namespace.
        raw: its JSON.
        body: makes the event's bytes.
    """

    name: str
    raw: Any
    body: Body

    @property
    def text(self) -> str:
        """As a registry takes it."""
        return json.dumps(self.raw)


class Derived(NamedTuple):
    """How outputs of one schema are written."""

    framing: Framing
    body: Body


def unchanged(_of: AvroType) -> Body:
    """Makes the input's bytes."""
    return lambda value, start: value[start:]


def derived_schema(schema: WriterSchema, bodies: Bodies = unchanged) -> DerivedSchema:
    """What is derived of a schema.

    Args:
        schema: the input's.
        bodies: makes the events' bytes.

    Raises:
        NotDerivable: nothing can be.
    """
    if schema.kind != "AVRO":
        raise NotDerivable(f"it is no Avro schema, but {schema.kind.lower()}, and only an Avro record can be added to")
    try:
        raw, of = derive(schema.raw, schema.references), parse(schema.raw, schema.references)
    except InvalidSchema as error:
        raise NotDerivable(f"it is no Avro schema that is read here: {error}") from None
    return DerivedSchema(of.name, raw, bodies(of))


class DerivedOutputs:
    """How outputs are written, by the schema of their input.

    Args:
        files: by fingerprint, the schemas of single objects that may come besides the ``CustomerContact``.
        known: the registry's schemas; None where there is no registry.
        bodies: see ``derived_schema``.
    """

    def __init__(
        self,
        files: Mapping[bytes, Any],
        known: WriterSchemas | None = None,
        bodies: Bodies = unchanged,
    ) -> None:
        ours = {old.fingerprint: old.raw for old in RELEASED["CustomerContact"]}
        self._files: Mapping[bytes, Any] = {**files, **ours}
        self._known = known
        self._bodies = bodies
        self._derived: dict[SchemaKey, Derived] = {}
        self._schemas: dict[SchemaKey, DerivedSchema] = {}  # for which the registry has to be asked
        self._refused: dict[SchemaKey, tuple[str, str]] = {}

    def find(self, record: Record) -> tuple[Derived, int]:
        """How the output for a record is written whose event was decoded, and where its body begins.

        Raises:
            Rejected: it cannot be.
            SchemaNeeded: the registry has to be asked first.
        """
        key, start = self._locate(record)
        found = self._derived.get(key)
        if found is None:
            schema = self.missing(key)
            if (why := self._refused.get(key)) is not None:
                raise Rejected(Stage.ENCODE, *why)
            if schema is not None:
                raise SchemaNeeded(key)
            found = self._derived[key]
        return found, start

    def missing(self, key: SchemaKey) -> DerivedSchema | None:
        """The derived schema that the registry has to be asked about; None if there is nothing to ask.

        Raises:
            Rejected: the input's schema is not there, or may not be used.
            SchemaNeeded: it has to be fetched first.
        """
        if key in self._derived or key in self._refused:
            return None
        schema = self._schemas.get(key)
        if schema is None:
            try:
                schema = derived_schema(self._written_with(key), self._bodies)
            except NotDerivable as error:
                self.refuse(key, "NotDerivable", str(error))
                return None
            if self._known is None:
                self.add(key, schema, Framing.single_object(fingerprint_of(schema.raw)))
                return None
            self._schemas[key] = schema
        return schema

    def is_in_files(self, key: SchemaKey) -> bool:
        """Whether the input's schema is known without a registry."""
        return key in self._files

    def add(self, key: SchemaKey, schema: DerivedSchema, framing: Framing) -> None:
        """Outputs of inputs with this schema are written so, for good."""
        self._schemas.pop(key, None)
        self._derived[key] = Derived(framing, schema.body)

    def refuse(self, key: SchemaKey, cause: str, message: str) -> None:
        """No outputs can be written of inputs with this schema; the message says why."""
        text = f"the offer history cannot be added to events of the schema {words_of(key)}: {message}"
        self._refused[key] = cause, text

    def forget(self, key: SchemaKey) -> None:
        """What was refused may go now: ask again."""
        self._refused.pop(key, None)

    def _written_with(self, key: SchemaKey) -> WriterSchema:
        if isinstance(key, bytes) and key in self._files:
            return WriterSchema("AVRO", self._files[key])
        assert self._known is not None  # noqa: S101  an id was decoded, which only a registry makes possible
        return self._known.get(key)

    def _locate(self, record: Record) -> tuple[SchemaKey, int]:
        """The schema of a value that could be decoded, and where its body begins."""
        value = record.value or b""
        if self._known is not None:
            for name, schema_id in record.headers:
                if name == SCHEMA_ID_HEADER and (key := key_in_header(schema_id)) is not None:
                    return key, 0
        if value.startswith(MARKER):
            return value[len(MARKER) : HEADER], HEADER
        if value.startswith(b"\x00"):
            return int.from_bytes(value[1:PREFIX], "big"), PREFIX
        raise Rejected(Stage.DECODE, "NotAvro", _JSON)


_JSON: Final = (
    "the event is JSON, and output.schema: derived adds the offer history to the event's own Avro record; write it in "
    "Avro, or set output.schema: contact"
)


class DerivingDecoder:
    """Reads events whose outputs can be written.

    Args:
        decoder: reads them.
        outputs: knows how.
    """

    def __init__(self, decoder: Decoder, outputs: DerivedOutputs) -> None:
        self._decode = decoder.decode
        self._find = outputs.find

    def decode(self, record: Record) -> Event:
        """As the decoder behind it, but it also raises what ``DerivedOutputs.find`` does."""
        event = self._decode(record)
        self._find(record)
        return event


class DerivedEncoder:
    """Writes derived outputs, of records that ``DerivingDecoder`` has read."""

    def __init__(self, outputs: DerivedOutputs) -> None:
        self._find = outputs.find

    def encode(self, enriched: Enriched, record: Record) -> bytes:
        """The bytes of an output.

        Raises:
            Rejected: at stage encode, as ``Encoder.encode`` tells.
        """
        derived, start = self._find(record)
        history = written(write_history, enriched)
        return b"".join((derived.framing.prefix, derived.body(record.value or b"", start), history))

    def headers(self, record: Record) -> Headers:
        """The headers of the output."""
        derived, _ = self._find(record)
        return derived.framing.headers(record)
