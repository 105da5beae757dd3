"""Reads an event from JSON.

One pass splits the object into its fields, each still as it was written; then each is read as its own type. So numbers
keep their digits, and what is not known costs no more than its text. Of a key that is given twice the last one counts.
"""

from datetime import UTC, datetime, timedelta
from typing import NoReturn

import msgspec
from msgspec import Raw

from enricher.codec.attributes import attribute, merge
from enricher.model import Event, Record, Rejected, Stage

_object = msgspec.json.Decoder(dict[str, Raw]).decode
_string = msgspec.json.Decoder(str).decode

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_FIRST = -62_135_596_800_000  # 0001-01-01, what a datetime can hold
_LAST = 253_402_300_799_999  # 9999-12-31

_NULL = b"null"


def _reject(cause: str, message: str) -> NoReturn:
    raise Rejected(Stage.DECODE, cause, message)


class JsonReader:
    """Reads events whose id, customer and time stand at these dotted paths."""

    def __init__(self, event_id: str, customer_id: str, event_time: str) -> None:
        self._event_id = _Path(event_id)
        self._customer_id = _Path(customer_id)
        self._event_time = _Path(event_time)

    def read(self, value: bytes, record: Record) -> Event:
        """The event in ``value``.

        Raises:
            Rejected: at stage decode.
        """
        try:
            return self._read(value, record)
        except RecursionError:
            _reject("TooDeep", "the JSON is nested too deeply")
        except UnicodeDecodeError as error:
            _reject("InvalidUtf8", f"byte {error.object[error.start]:#04x} is no UTF-8")
        except msgspec.DecodeError as error:
            try:
                value.decode()
            except UnicodeDecodeError as undecodable:
                _reject("InvalidUtf8", f"the byte at {undecodable.start} is no UTF-8")
            _reject("InvalidJson", f"the value is no valid JSON object: {error}")

    def _read(self, value: bytes, record: Record) -> Event:
        fields = _object(value)
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
    if value[0] == 0x22:  # noqa: PLR2004  a quotation mark
        text = _string(value)
        if not text.strip():
            _reject("InvalidCustomerId", "the customer id is empty")
        return text
    if _is_integer(value):
        return value.decode()
    _reject("InvalidCustomerId", f"the customer id is {_kind(value)}; text or an integer was expected")


def _event_id(value: bytes) -> str:
    if value[0] == 0x22:  # noqa: PLR2004  a quotation mark
        text = _string(value)
        if not text:
            _reject("InvalidEventId", "the event id is empty; leave it out to have it derived")
        return text
    if _is_integer(value):
        return value.decode()
    _reject("InvalidEventId", f"the event id is {_kind(value)}; text or an integer was expected")


def _record_time(record: Record) -> int:
    if record.timestamp < 0:
        _reject("MissingEventTime", "the event has no time, and the record has no timestamp")
    return record.timestamp


def _time(value: bytes) -> int:
    """Milliseconds since the epoch; what is finer is cut off."""
    if _is_integer(value) and len(value) < 20:  # noqa: PLR2004  longer ones are out of range anyway
        time = int(value)
    elif value[0] == 0x22:  # noqa: PLR2004  a quotation mark
        try:
            moment = datetime.fromisoformat(_string(value))
            if moment.tzinfo is None:
                _reject("InvalidEventTime", "the event time has no zone: write it as 2026-11-23T08:15:30.250Z")
            time = (moment - _EPOCH) // _MILLISECOND
        except (ValueError, OverflowError) as error:
            if isinstance(error, msgspec.DecodeError):
                raise
            _reject("InvalidEventTime", "the event time is no ISO 8601 time such as 2026-11-23T08:15:30.250Z")
    else:
        _reject("InvalidEventTime", f"the event time is {_kind(value)}; milliseconds or an ISO 8601 time was expected")
    if not _FIRST <= time <= _LAST:
        _reject("InvalidEventTime", "the event time is outside the years 1 to 9999")
    return time


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
    return kinds.get(value[:1], "a number")
