"""Writes enriched events, in Avro or JSON, and reads them again.

Invariant: offers within bundles within bundles end at ``MAX_LEVELS``, on both sides.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, Final

import msgspec

from enricher.avroschema.derived import FIELD, NotDerivable, derive
from enricher.codec.avro_input import event_of
from enricher.codec.avro_writer import TooDeep, write_enriched
from enricher.codec.decoder import InputFields
from enricher.codec.framing import Framing
from enricher.codec.json_input import JsonReader
from enricher.model import Enriched, Enrichment, Event, Headers, OfferHistory, Record, Rejected, Stage
from enricher.reader import Headers as AnyHeaders
from enricher.reader import Reader, Registry, Undecodable
from enricher.reader.building import MAX_LEVELS
from enricher.reader.reading import NAME
from enricher.schemas import ENRICHED_CONTACT, RELEASED

SINGLE_OBJECT: Final = Framing.single_object(ENRICHED_CONTACT.fingerprint)
UNFRAMED: Final = Framing()


class UndecodableOutput(ValueError):  # noqa: N818  says what it is
    """The bytes are no enriched event."""


class Encoder:
    """Writes enriched events in Avro.

    Args:
        framing: how they tell their schema.
    """

    def __init__(self, framing: Framing = SINGLE_OBJECT) -> None:
        self._prefix = framing.prefix
        self.headers = framing.headers

    def encode(self, enriched: Enriched, record: Record | None = None) -> bytes:
        """The bytes of an enriched event.

        Raises:
            Rejected: at stage encode; a value does not fit its type, or bundles go too deep.
        """
        del record  # the event has all that is written of it
        return self._prefix + written(write_enriched, enriched)


def written(write: Callable[[Enriched, int], bytes], enriched: Enriched) -> bytes:
    """What a writer makes of an enriched event.

    Raises:
        Rejected: at stage encode, as ``Encoder.encode`` tells.
    """
    try:
        return write(enriched, MAX_LEVELS)
    except TooDeep:
        raise too_deep() from None
    except UnicodeEncodeError:
        reason = _HALF
    except OverflowError:
        reason = "a number has more than 64 bits"
    # Outside of the handlers, as the library's error holds the text, which is the customer's.
    raise not_encodable(reason)


class JsonEncoder:
    """Writes enriched events in JSON, with the names of the Avro schema, and instants as milliseconds."""

    def encode(self, enriched: Enriched, record: Record | None = None) -> bytes:
        """The bytes of an enriched event.

        Raises:
            Rejected: at stage encode; a text is none, or bundles go too deep.
        """
        del record
        check_levels(enriched)
        try:
            return msgspec.json.encode(enriched)
        except UnicodeEncodeError:
            reason = _HALF
        raise not_encodable(reason)

    def headers(self, record: Record) -> Headers:
        """The headers of the output: the input's, but for one that tells another schema."""
        return UNFRAMED.headers(record)


class OutputReader:
    """Reads enriched events in any framing. Of a derived output, the contact is what the worker reads in such an event.

    Args:
        registry: asked for schemas by their ids; its errors come through. None where there is no registry.
        fields: where the fields that matter stand in events.
        schemas: the Avro schemas, as JSON, of inputs of single objects that may come besides our own.
    """

    def __init__(
        self, registry: Registry | None = None, fields: InputFields | None = None, schemas: Iterable[Any] = ()
    ) -> None:
        ours = [old.raw for old in RELEASED["CustomerContact"]]
        self._reader = Reader(registry, schemas=filter(_is_derivable, [*ours, *schemas]))
        paths = fields or InputFields()
        self._paths = JsonReader(paths.event_id, paths.customer_id, paths.event_time)

    def decode(self, data: bytes | None, headers: AnyHeaders = None, timestamp: int = 0) -> Enriched:
        """The enriched event.

        Args:
            data: the value of an output.
            headers: of it.
            timestamp: of it, milliseconds: the time of an event that has none itself.

        Raises:
            UndecodableOutput: it is none.
        """
        return self.read(data, headers, timestamp)[0]

    def read(self, data: bytes | None, headers: AnyHeaders = None, timestamp: int = 0) -> tuple[Enriched, Any]:
        """As ``decode``, and the output as it stands there: with the names of its schema, in dicts and lists."""
        try:
            name, plain = self._reader.named(data, headers)
            enriched = msgspec.convert(plain, Enriched) if name == NAME else self._derived(name, plain, timestamp)
            check_levels(enriched)
        except Undecodable as error:
            raise UndecodableOutput(str(error)) from None
        except (msgspec.ValidationError, Rejected, RecursionError):
            raise UndecodableOutput("it has not the fields of an enriched event") from None
        return enriched, plain

    def _derived(self, name: str, plain: Mapping[str, Any], timestamp: int) -> Enriched:
        fields = dict(plain)
        history = fields.pop(FIELD)
        how = msgspec.convert(None if history is None else history["enrichment"], Enrichment)
        told = msgspec.convert(history, OfferHistory)
        source = Record(how.topic, how.partition, how.offset, timestamp, None, None, [])
        try:
            event = event_of(name, fields, self._paths, source)
        except Rejected:  # what was kept back, or is read with other settings
            event = Event(f"{how.topic}-{how.partition}-{how.offset}", told.customer_id, timestamp)
        return Enriched(event, told, how)


def _is_derivable(raw: Any) -> bool:
    with suppress(NotDerivable):
        derive(raw)
        return True
    return False


def decode_enriched(data: bytes) -> Enriched:
    """The enriched event in a value that tells its schema without a registry.

    Raises:
        UndecodableOutput: it is none.
    """
    return _READER.decode(data)


def check_levels(enriched: Enriched) -> None:
    """Refuse bundles that go too deep.

    Raises:
        Rejected: at stage encode.
    """
    level, offers = 0, enriched.offer_history.offers
    while offers:
        level += 1
        if level > MAX_LEVELS:
            raise too_deep()
        offers = tuple(part for offer in offers if offer.bundle for part in offer.bundle)


def too_deep() -> Rejected:
    """What is said of bundles within bundles."""
    return Rejected(Stage.ENCODE, "TooDeep", f"the history has bundles within bundles beyond {MAX_LEVELS} levels")


def not_encodable(reason: str) -> Rejected:
    """What is said of a value that does not fit."""
    return Rejected(Stage.ENCODE, "NotEncodable", f"a value does not fit the output's schema: {reason}")


_HALF: Final = "a text holds half of a surrogate pair, which UTF-8 cannot write"
_READER: Final = OutputReader()
