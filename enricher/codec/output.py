"""Writes enriched events in Avro's single-object encoding, and reads them again.

See https://avro.apache.org/docs/1.12.0/specification/#single-object-encoding.

Invariant: offers within bundles within bundles end at ``MAX_LEVELS``, on both sides. fastavro follows them on the C
stack without a limit, so that some kilobytes of broken or hostile output would otherwise end the process.
"""

from copy import deepcopy
from io import BytesIO
from typing import Any

import fastavro
import msgspec

from enricher.codec.avro_input import HEADER, MARKER, why_unreadable, without_logical_types
from enricher.codec.avro_writer import TooDeep, write_enriched
from enricher.model import Enriched, Rejected, Stage
from enricher.schemas import ENRICHED_CONTACT

MAX_LEVELS = 16
"""Levels of offers; a history without bundles has one."""

_PREFIX = MARKER + ENRICHED_CONTACT.fingerprint


def _unrolled(schema: dict[str, Any], levels: int) -> Any:
    """The schema with the type of offers written out that many times instead of referring to itself.

    The bytes are the same. In the innermost offers an empty bundle, which is one zero byte, is read as the only symbol
    of an enum: anything else in its place is an error.
    """
    unrolled: Any = deepcopy(schema)
    history = next(field for field in unrolled["fields"] if field["name"] == "offerHistory")["type"]
    offers = next(field for field in history["fields"] if field["name"] == "offers")["type"]
    offer = offers["items"]
    *others, bundle = offer["fields"]
    inner: Any = {"name": "end", "type": {"type": "enum", "name": "Empty", "symbols": ["EMPTY"]}}
    for level in reversed(range(levels)):
        record = offer | {"name": f"Offer{level}", "fields": [*others, inner]}
        inner = bundle | {"type": {"type": "array", "items": record}}
    offers["items"] = inner["type"]["items"]
    return unrolled


_PLAIN: Any = without_logical_types(ENRICHED_CONTACT.raw)
_READ = fastavro.parse_schema(_unrolled(_PLAIN, MAX_LEVELS))


class UndecodableOutput(ValueError):  # noqa: N818  says what it is
    """The bytes are no enriched event."""


class Encoder:
    """Writes enriched events."""

    def encode(self, enriched: Enriched) -> bytes:
        """The bytes of an enriched event.

        Raises:
            Rejected: at stage encode; a value does not fit its type, or bundles go too deep.
        """
        try:
            return _PREFIX + write_enriched(enriched, MAX_LEVELS)
        except TooDeep:
            raise Rejected(
                Stage.ENCODE, "TooDeep", f"the history has bundles within bundles beyond {MAX_LEVELS} levels"
            ) from None
        except UnicodeEncodeError:
            reason = "a text holds half of a surrogate pair, which UTF-8 cannot write"
        except OverflowError:
            reason = "a number has more than 64 bits"
        # Outside of the handlers, as the library's error holds the text, which is the customer's.
        raise Rejected(Stage.ENCODE, "NotEncodable", f"a value does not fit the output's schema: {reason}")


def decode_enriched(data: bytes) -> Enriched:
    """The enriched event in bytes that ``Encoder`` wrote.

    Raises:
        UndecodableOutput: it is none.
    """
    if not data.startswith(MARKER):
        raise UndecodableOutput("it does not begin with c3 01, as an Avro single object does")
    if len(data) < HEADER:
        raise UndecodableOutput("it ends within the fingerprint of its schema")
    if not data.startswith(_PREFIX):
        raise UndecodableOutput(f"its schema has the unknown fingerprint {data[2:HEADER].hex()}")
    stream = BytesIO(data)
    stream.seek(HEADER)
    try:
        fields: Any = fastavro.schemaless_reader(stream, _READ, None)
        enriched = msgspec.convert(fields, Enriched)
    except Exception as error:  # noqa: BLE001  fastavro raises whatever the broken bytes lead it to
        raise UndecodableOutput(f"its Avro body {why_unreadable(error)}") from None
    if stream.tell() != len(data):
        raise UndecodableOutput("bytes follow its Avro body")
    return enriched
