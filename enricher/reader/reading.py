"""Tells the framing of a value, finds the schema that it was written with, and reads it.

Invariant: whatever the bytes, ``decode`` gives a value or raises ``Undecodable``, in memory bounded by their length.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from io import BytesIO
from typing import Any, Final, NamedTuple, NoReturn, Protocol, TypeAlias, TypeVar
from uuid import UUID

import fastavro

from enricher.avroschema import AvroType, InvalidSchema, parse
from enricher.avroschema.derived import FIELD, added, derive, is_derived
from enricher.avroschema.values import Body, InvalidBody, reader
from enricher.reader.building import MAX_LEVELS, build, build_event
from enricher.reader.unrolling import plain_schema, unrolled
from enricher.reader.values import EnrichedContact, EnrichedEvent
from enricher.schemas import RELEASED, Schema, schema_of

SCHEMA_ID_HEADER: Final = "__value_schema_id"
NAME: Final = "enricher.EnrichedContact"

Headers: TypeAlias = Iterable[tuple[str, bytes | None]] | None
"""A record's headers, as confluent-kafka's ``Message.headers()`` gives them."""

_MARKER: Final = b"\xc3\x01"
_SINGLE_OBJECT: Final = 10
_PREFIX: Final = 5
_GUID: Final = 17

_Plain: TypeAlias = Callable[[bytes, int], Any]

T = TypeVar("T")


class Undecodable(ValueError):  # noqa: N818  says what it is
    """The value is no enriched contact; the text tells why, without showing any of it."""


class UnknownSchema(Undecodable):
    """The schema that the value was written with cannot be found."""


class _Written(NamedTuple):
    """A schema that values are written with: the name of its record, and what reads them."""

    name: str
    read: _Plain


class Registry(Protocol):
    """What is asked of a schema registry's client; confluent-kafka's ``SchemaRegistryClient`` fits."""

    def get_schema(self, schema_id: int, /) -> Any:
        """The schema of that id, which has its text in ``schema_str``."""
        ...

    def get_schema_by_guid(self, guid: str, /) -> Any:
        """The schema of that GUID, likewise."""
        ...


class Reader:
    """Reads enriched contacts, and enriched events of other types. May be used by several threads.

    Args:
        registry: asked for the schema of an id, once for each; its errors come through, and the next value asks again.
        ids: the released version of ``EnrichedContact`` that an id (or GUID) stands for, where there is no registry.
        schemas: the JSON of the schemas that derived outputs may have which tell it by a fingerprint; of an input's
            schema, all that is derived of it is known.

    Raises:
        InvalidSchema: one of the schemas is none.
        NotDerivable: nothing can be derived of one.
    """

    def __init__(
        self,
        registry: Registry | None = None,
        ids: Mapping[int | UUID, int] | None = None,
        schemas: Iterable[Any] = (),
    ) -> None:
        self._registry = registry
        self._by_id: dict[int | UUID, _Written] = {}
        for key, version in (ids or {}).items():
            self._by_id[key] = _of_release(version)
        self._by_fingerprint = dict(_BY_FINGERPRINT)
        for raw in schemas:
            self._by_fingerprint |= dict(_derived_of(raw))

    def decode(self, value: bytes | None, headers: Headers = None) -> EnrichedContact:
        """The enriched contact in a record's value.

        Args:
            value: of the record.
            headers: of the record; needed where a registry's ids are in a header.

        Raises:
            Undecodable: it is none.
            UnknownSchema: of a schema that cannot be found.
        """
        name, plain = self.named(value, headers)
        if name != NAME:
            raise Undecodable(f"it is a {name} with a history, and no enriched contact: read it with decode_event")
        return _built(build, plain, "contact")

    def decode_event(self, value: bytes | None, headers: Headers = None) -> EnrichedEvent:
        """The enriched event in the value of a derived output.

        Args:
            value: of the record.
            headers: of the record; needed where a registry's ids are in a header.

        Raises:
            Undecodable: it is none.
            UnknownSchema: of a schema that cannot be found.
        """
        name, plain = self.named(value, headers)
        if name == NAME:
            raise Undecodable("it is an enriched contact: read it with decode")
        if plain[FIELD] is None:
            raise Undecodable("it has no offer history: it is none of enricher's outputs")
        return _built(partial(build_event, name), plain, "event")

    def decode_all(
        self, values: Iterable[bytes | None], headers: Iterable[Headers] | None = None
    ) -> Iterator[EnrichedContact]:
        """The enriched contacts in many values, one after the other as they are asked for.

        Args:
            values: of the records.
            headers: of the records, in the same order; needed where a registry's ids are in headers.
        """
        return map(self.decode, values) if headers is None else map(self.decode, values, headers)

    def named(self, value: bytes | None, headers: Headers = None) -> tuple[str, Any]:
        """The name of a value's record, and the value as dicts and lists, with the names of the schema.

        Instants of contacts and histories are milliseconds since the epoch, and derived outputs' events as in
        ``EnrichedEvent.event``.

        Raises:
            Undecodable: as ``decode``.
        """
        if not value:
            raise Undecodable("the value is empty")
        for name, schema_id in headers or ():
            if name == SCHEMA_ID_HEADER:
                return self._by(_key(schema_id or b""), value, 0)
        first = value[0]
        if first == _MARKER[0]:
            return self._single_object(value)
        if first == 0:
            if len(value) < _PREFIX:
                raise Undecodable("it is too short for a schema id")
            return self._by(int.from_bytes(value[1:_PREFIX], "big"), value, _PREFIX)
        return NAME, _from_json(value)

    def _by(self, key: int | UUID, value: bytes, start: int) -> tuple[str, Any]:
        written = self._by_id.get(key)
        if written is None:
            written = self._by_id[key] = self._ask(key)
        return written.name, written.read(value, start)

    def _ask(self, key: int | UUID) -> _Written:
        if self._registry is None:
            raise UnknownSchema(
                f"its schema has the id {key}: give the reader a registry, or say what the id stands for"
            )
        ask = self._registry
        found = ask.get_schema(key) if isinstance(key, int) else ask.get_schema_by_guid(str(key))
        if (getattr(found, "schema_type", None) or "AVRO") != "AVRO":
            raise UnknownSchema(f"the id {key} stands for no Avro schema")
        return _of_text(found.schema_str)

    def _single_object(self, value: bytes) -> tuple[str, Any]:
        if not value.startswith(_MARKER) or len(value) < _SINGLE_OBJECT:
            raise Undecodable("it does not begin with c3 01 and a fingerprint, as an Avro single object does")
        written = self._by_fingerprint.get(value[2:_SINGLE_OBJECT])
        if written is None:
            raise UnknownSchema(f"its schema has the unknown fingerprint {value[2:_SINGLE_OBJECT].hex()}")
        return written.name, written.read(value, _SINGLE_OBJECT)


def _built(make: Callable[[Any], T], plain: Any, what: str) -> T:
    try:
        return make(plain)
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise Undecodable(f"it has not the fields of an enriched {what} ({type(error).__name__})") from None


def _key(schema_id: bytes) -> int | UUID:
    if len(schema_id) == _GUID and schema_id[0] == 1:
        return UUID(bytes=schema_id[1:])
    if len(schema_id) == _PREFIX and schema_id[0] == 0:
        return int.from_bytes(schema_id[1:], "big")
    raise Undecodable(f"its header {SCHEMA_ID_HEADER} holds no schema id")


def _from_json(value: bytes) -> Any:
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise Undecodable("it is neither Avro nor JSON") from None


def _of_release(version: int) -> _Written:
    for schema in RELEASED["EnrichedContact"]:
        if schema.version == version:
            return _BY_FINGERPRINT[schema.fingerprint]
    raise UnknownSchema(f"EnrichedContact has no version {version} here")


def _of_text(text: str) -> _Written:
    """What reads values of a schema that a registry gave: of a release, of a newer version, or a derived one."""
    try:
        raw = json.loads(text)
        parsed = parse(plain_schema(raw))
        if is_derived(parsed):
            return _derived(raw)
        fingerprint = schema_of(text, "EnrichedContact", 0).fingerprint
    except (InvalidSchema, ValueError) as error:
        raise UnknownSchema(f"its schema is none: {error}") from None
    if parsed.name != NAME:
        raise UnknownSchema(f"its schema describes {parsed.words}, and no {NAME}, nor an event with a history")
    return _BY_FINGERPRINT.get(fingerprint) or _Written(NAME, _bounded(reader(parsed)))


def _derived_of(raw: Any) -> Iterator[tuple[bytes, _Written]]:
    """By their fingerprints, a derived schema, or all those of an input's: the history has several versions."""
    derived = (
        [raw] if is_derived(parse(raw)) else [derive(raw, (), added(old.raw)) for old in RELEASED["EnrichedContact"]]
    )
    for one in derived:
        yield schema_of(json.dumps(one), "", 0).fingerprint, _derived(one)


def _derived(raw: Any) -> _Written:
    """What reads derived outputs: the event as a person would write it, the history as in an enriched contact."""
    written, plainly = parse(raw), parse(plain_schema(raw))
    event = reader(AvroType("record", written.name, fields=written.fields[:-1]))
    history = reader(plainly.fields[-1].type)

    def read(body: Body) -> Any:
        value = event(body)
        value[FIELD] = history(body)
        return value

    return _Written(written.name, _bounded(read))


def _bounded(read: Callable[[Body], Any]) -> _Plain:
    def plain(value: bytes, start: int) -> Any:
        body = Body(value, start)
        try:
            found = read(body)
        except InvalidBody as error:
            raise Undecodable(f"its Avro body {error}") from None
        _check_end(body.position, value)
        return found

    return plain


def _released(schema: Schema) -> _Plain:
    """What reads values of a released version. fastavro trusts a schema with the C stack, so bundles are unrolled."""
    parsed = fastavro.parse_schema(unrolled(plain_schema(schema.raw), MAX_LEVELS))

    def plain(value: bytes, start: int) -> Any:
        stream = BytesIO(value)
        stream.seek(start)
        try:
            found = fastavro.schemaless_reader(stream, parsed, None)
        except Exception as error:  # noqa: BLE001  fastavro raises whatever the broken bytes lead it to
            _refuse_body(error)
        _check_end(stream.tell(), value)
        return found

    return plain


def _refuse_body(error: Exception) -> NoReturn:
    """Say what fastavro's error means, without the values that it may show."""
    if isinstance(error, EOFError):
        raise Undecodable("its Avro body ends in the middle of a field") from None
    if isinstance(error, UnicodeDecodeError):
        raise Undecodable("its Avro body has a text that is not in UTF-8") from None
    raise Undecodable(f"its Avro body is cut off or does not match the schema ({type(error).__name__})") from None


def _check_end(end: int, value: bytes) -> None:
    if end != len(value):
        raise Undecodable("bytes follow its Avro body")


_BY_FINGERPRINT: Final = {
    schema.fingerprint: _Written(NAME, _released(schema)) for schema in RELEASED["EnrichedContact"]
}
