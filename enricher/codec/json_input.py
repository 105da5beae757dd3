"""Reads an event from JSON.

One pass splits the object into its fields, each still as it was written; then each is read as its own type. So numbers
keep their digits, and what is not known costs no more than its text. Of a key that is given twice the last one counts.
A byte order mark in front is passed over.

Ids are text or integers, which become their decimal text. A time is an integer, milliseconds since the epoch, or an
ISO 8601 text with a zone; what it has beyond milliseconds is cut off, and no float is involved. An id that is missing
is ``topic-partition-offset``, in which the last two are numbers without a minus, so that it names one record only. A
time that is missing is the record's; if that has none either, there is nothing to go by, and the event is rejected.
"""

import codecs
import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import NoReturn

import msgspec
from msgspec import Raw

from enricher.codec.attributes import MAX_DEPTH, attribute, merge
from enricher.model import Event, Record, Rejected, Stage

_object = msgspec.json.Decoder(dict[str, Raw]).decode
_string = msgspec.json.Decoder(str).decode
_check = msgspec.json.Decoder(Raw).decode

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_FIRST = -62_135_596_800_000  # 0001-01-01, what a datetime can hold
_LAST = 253_402_300_799_999  # 9999-12-31
_LONGEST_TIME = 20  # more digits are out of range anyway, and slow to read where they are many

_MARK = codecs.BOM_UTF8  # RFC 8259 lets a reader skip it
_NULL = b"null"
_WHITESPACE = b" \t\r\n"
_BRACKETS = re.compile(rb'"(?:[^"\\]|\\.)*+"|([\[{])|[\]}]')


def _reject(cause: str, message: str) -> NoReturn:
    raise Rejected(Stage.DECODE, cause, message)


class JsonReader:
    """Reads events whose id, customer and time stand at these dotted paths.

    Raises:
        ValueError: two of the paths are the same, or one leads through the other.
    """

    BEGINNINGS = b'{[" \t\r\n-0123456789tfn' + _MARK[:1]
    """First bytes of what is JSON, even if no event."""

    def __init__(self, event_id: str, customer_id: str, event_time: str) -> None:
        paths = sorted(f"{path}." for path in (event_id, customer_id, event_time))
        for path, following in pairwise(paths):
            if following.startswith(path):
                raise ValueError(f"input.fields: {path[:-1]} and {following[:-1]} cannot both be read")
        self._event_id = _Path(event_id)
        self._customer_id = _Path(customer_id)
        self._event_time = _Path(event_time)

    def read(self, value: bytes, record: Record) -> Event:
        """The event in ``value``.

        Raises:
            Rejected: at stage decode.
        """
        value = value.removeprefix(_MARK)
        try:
            return self._read(value, record)
        except RecursionError:
            _reject_too_deep()
        except UnicodeDecodeError:
            _reject_invalid_utf8()
        except msgspec.DecodeError as error:
            _reject_broken(value, error)

    def _read(self, value: bytes, record: Record) -> Event:
        fields = _object(value)
        if value.count(b"[") + value.count(b"{") > MAX_DEPTH and _depth(value) > MAX_DEPTH:
            _reject_too_deep()
        customer_id = self._customer_id.take(fields)
        event_id = self._event_id.take(fields)
        event_time = self._event_time.take(fields)
        if customer_id is None:
            _reject("MissingCustomerId", f"the event has no {self._customer_id.text}; only that field is required")
        own = fields.pop("attributes", None)
        return Event(
            f"{record.topic}-{record.partition}-{record.offset}" if event_id is None else _event_id(event_id),
            _customer_id(customer_id),
            _record_time(record) if event_time is None else _time(event_time),
            _text(fields, "channel"),
            _text(fields, "direction"),
            _text(fields, "reason"),
            _text(fields, "agentId"),
            _attributes(fields, own),
        )


def _depth(value: bytes) -> int:
    """How many objects and lists stand within each other, in valid JSON."""
    depth = deepest = 0
    for token in _BRACKETS.finditer(value):
        if token[1]:
            depth += 1
            deepest = max(deepest, depth)
        elif token[0] in (b"]", b"}"):
            depth -= 1
    return deepest


def _reject_too_deep() -> NoReturn:
    _reject("TooDeep", f"the JSON has more than {MAX_DEPTH} objects and lists within each other")


def _reject_invalid_utf8() -> NoReturn:
    _reject("InvalidUtf8", "the value looks like JSON, but is not in UTF-8")


def _reject_broken(value: bytes, error: msgspec.DecodeError) -> NoReturn:
    """Tell what is wrong with a value that is no JSON object."""
    try:
        value.decode()
        _check(value)
    except RecursionError:
        _reject_too_deep()
    except UnicodeDecodeError:
        _reject_invalid_utf8()
    except msgspec.DecodeError:
        if value.lstrip(_WHITESPACE)[:1] not in b'{["':
            _reject("UnknownEncoding", "the value is neither JSON nor Avro; it looks like plain text")
        _reject("InvalidJson", f"the JSON cannot be read: {error}")
    _reject("NotAnObject", f"the value is JSON, but {_kind(value.lstrip(_WHITESPACE))}; an object was expected")


class _Path:
    """A dotted path into an object."""

    __slots__ = ("_name", "_parents", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        *self._parents, self._name = text.split(".")

    def take(self, fields: dict[str, Raw]) -> bytes | None:
        """Take the value out of the fields; None if it is missing or null. What stands beside it stays."""
        if not self._parents:
            raw = fields.pop(self._name, None)
            return None if raw is None else _not_null(raw)
        chain = [fields]
        for parent in self._parents:
            inner = chain[-1].get(parent)
            if inner is None or bytes(inner)[:1] != b"{":
                return None
            chain.append(_object(inner))
        raw = chain[-1].pop(self._name, None)
        if raw is None:
            return None
        for parent, outer, inner_fields in zip(
            reversed(self._parents), reversed(chain[:-1]), reversed(chain[1:]), strict=True
        ):
            if inner_fields:
                outer[parent] = Raw(msgspec.json.encode(inner_fields))
            else:
                del outer[parent]
        return _not_null(raw)


def _not_null(raw: Raw) -> bytes | None:
    value = bytes(raw)
    return None if value == _NULL else value


def _is_integer(value: bytes) -> bool:
    return value.lstrip(b"-").isdigit()


def _customer_id(value: bytes) -> str:
    text = _id(value, "InvalidCustomerId", "customer id")
    if not text or text.isspace():
        _reject("InvalidCustomerId", "the customer id is empty")
    return text


def _event_id(value: bytes) -> str:
    text = _id(value, "InvalidEventId", "event id")
    if not text:
        _reject("InvalidEventId", "the event id is empty; leave it out to have it derived")
    return text


def _id(value: bytes, cause: str, name: str) -> str:
    if value[0] == 0x22:  # noqa: PLR2004  a quotation mark
        return _string(value)
    if _is_integer(value):
        return value.decode()
    _reject(cause, f"the {name} is {_kind(value)}; text or an integer was expected")


def _record_time(record: Record) -> int:
    if record.timestamp == -1:
        _reject("MissingEventTime", "the event has no time, and the record has no timestamp")
    return checked_time(record.timestamp)


def checked_time(time: int) -> int:
    """The time of an event, if it is one that calendars know.

    Raises:
        Rejected: at stage decode.
    """
    if not _FIRST <= time <= _LAST:
        _reject("InvalidEventTime", "the event time is outside the years 1 to 9999")
    return time


def _time(value: bytes) -> int:
    """Milliseconds since the epoch; what is finer is cut off."""
    if value[0] == 0x22:  # noqa: PLR2004  a quotation mark
        text = _string(value)
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            _reject("InvalidEventTime", "the event time is no ISO 8601 time such as 2026-11-23T08:15:30.250Z")
        if moment.tzinfo is None:
            _reject("InvalidEventTime", "the event time has no zone: write it as 2026-11-23T08:15:30.250Z")
        return checked_time((moment - _EPOCH) // _MILLISECOND)
    if _is_integer(value):
        return checked_time(int(value) if len(value) <= _LONGEST_TIME else _LAST + 1)
    _reject("InvalidEventTime", f"the event time is {_kind(value)}; whole milliseconds or ISO 8601 text was expected")


def _text(fields: dict[str, Raw], name: str) -> str | None:
    raw = fields.pop(name, None)
    if raw is None:
        return None
    value = bytes(raw)
    if value[0] == 0x22:  # noqa: PLR2004  a quotation mark
        return _string(value)
    if value == _NULL:
        return None
    _reject("InvalidField", f"{name} is {_kind(value)}; text was expected")


def _attributes(unknown: dict[str, Raw], own: Raw | None) -> dict[str, str]:
    others = {name: attribute(bytes(raw)) for name, raw in unknown.items()}
    given = None if own is None else _not_null(own)
    if given is None:
        return others
    if given[:1] != b"{":
        _reject("InvalidField", f"attributes is {_kind(given)}; an object was expected")
    return merge({name: attribute(bytes(raw)) for name, raw in _object(given).items()}, others)


def _kind(value: bytes) -> str:
    """What kind of JSON value it is, without showing it."""
    kinds = {b'"': "text", b"{": "an object", b"[": "a list", b"t": "true", b"f": "false", b"n": "null"}
    return kinds.get(value[:1]) or ("an integer" if _is_integer(value) else "a number that is no integer")
