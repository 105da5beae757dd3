"""Reads Avro bodies of any schema, within bounds, as values that JSON can be made of.

fastavro reads the schemas that we know. A writer's schema from elsewhere is not ours to trust: an array of nulls takes
no bytes, so a few bytes may ask for any amount of memory; a record may stand within itself without an end; records of
records of nothing double with every level. So these are read here, with every value counted.

Invariant: the work and the memory for a body are bounded by its length and the schema's, whatever either says; a body
is read whole, or ``InvalidBody`` is raised.

Logical types become what a person would write: dates and times in ISO 8601, decimals with their digits; bytes become
base64, and numbers that JSON does not have (NaN) their names. An instant that no calendar knows stays its number.
"""

import struct
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, TypeAlias
from uuid import UUID

from enricher.avroschema.types import AvroType

MAX_DEPTH: Final = 100
"""Records, lists and maps within each other."""

_SPARE: Final = 1_000
"""Values that may take no byte."""

_MOST_DECIMAL: Final = 512
"""Bytes of a decimal: more than 1,200 digits."""

_MOST_SCALE: Final = 1 << 31
"""Of a big decimal: what an int holds."""

_LONGEST_VARINT: Final = 63
_NAMES: Final = {float("inf"): "Infinity", float("-inf"): "-Infinity"}


class InvalidBody(ValueError):  # noqa: N818  says what it is
    """The bytes are no value of the schema, or one that goes beyond what is read; the text says which."""


class Body:
    """Bytes on their way to a value."""

    __slots__ = ("budget", "data", "depth", "position")

    def __init__(self, data: bytes, position: int) -> None:
        self.data = data
        self.position = position
        self.budget = len(data) - position + _SPARE
        self.depth = 0

    def take(self, size: int) -> bytes:
        """The next bytes."""
        start = self.position
        end = start + size
        if size < 0 or end > len(self.data):
            raise InvalidBody("ends in the middle of a field")
        self.position = end
        return self.data[start:end]

    def number(self) -> int:
        """The next int or long."""
        data, position = self.data, self.position
        shift = result = 0
        try:
            while True:
                byte = data[position]
                position += 1
                result |= (byte & 0x7F) << shift
                if byte < 0x80:  # noqa: PLR2004  the last byte
                    break
                shift += 7
                if shift > _LONGEST_VARINT:
                    raise InvalidBody("holds a number of more than 64 bits")
        except IndexError:
            raise InvalidBody("ends in the middle of a field") from None
        self.position = position
        return (result >> 1) ^ -(result & 1)

    def spend(self) -> None:
        """Count a value that may have taken no byte."""
        self.budget -= 1
        if self.budget < 0:
            raise InvalidBody("asks for more values than it has bytes")

    def enter(self) -> None:
        """Begin an object or list."""
        self.spend()
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise InvalidBody(f"has more than {MAX_DEPTH} records and collections within each other")


Read: TypeAlias = Callable[[Body], Any]


def reader(schema: AvroType) -> Read:
    """What reads values of this schema."""
    return _Compiler().compile(schema)


class _Compiler:
    def __init__(self) -> None:
        self._records: dict[int, Read] = {}

    def compile(self, of: AvroType) -> Read:
        found = _LOGICAL.get((of.kind, of.logical))
        if found is not None:
            return found
        if of.logical == "decimal":
            return _decimal(of)
        primitive = _PRIMITIVE.get(of.kind)
        return self._COMPLEX[of.kind](self, of) if primitive is None else primitive

    def _record(self, of: AvroType) -> Read:
        known = self._records.get(id(of))
        if known is not None:
            return lambda body: self._records[id(of)](body)  # noqa: PLW0108  within itself it is not there yet
        self._records[id(of)] = _null  # until it is compiled
        fields = [(field.name, self.compile(field.type)) for field in of.fields]

        def read(body: Body) -> dict[str, Any]:
            body.enter()
            value = {name: inner(body) for name, inner in fields}
            body.depth -= 1
            return value

        self._records[id(of)] = read
        return read

    def _union(self, of: AvroType) -> Read:
        branches = [self.compile(branch) for branch in of.branches]
        count = len(branches)

        def read(body: Body) -> Any:
            index = body.number()
            if not 0 <= index < count:
                raise InvalidBody("names a branch that a union does not have")
            return branches[index](body)

        return read

    def _array(self, of: AvroType) -> Read:
        assert of.items is not None  # noqa: S101  the parser gives every array its items
        inner = self.compile(of.items)

        def read(body: Body) -> list[Any]:
            body.enter()
            value: list[Any] = []
            while count := block(body):
                for _ in range(count):
                    body.spend()
                    value.append(inner(body))
            body.depth -= 1
            return value

        return read

    def _map(self, of: AvroType) -> Read:
        assert of.items is not None  # noqa: S101  the parser gives every map its values
        inner = self.compile(of.items)

        def read(body: Body) -> dict[str, Any]:
            body.enter()
            value: dict[str, Any] = {}
            while count := block(body):
                for _ in range(count):
                    name = _string(body)
                    value[name] = inner(body)
            body.depth -= 1
            return value

        return read

    def _enum(self, of: AvroType) -> Read:
        symbols = of.symbols

        def read(body: Body) -> str:
            index = body.number()
            if not 0 <= index < len(symbols):
                raise InvalidBody("names a symbol that an enum does not have")
            return symbols[index]

        return read

    def _fixed(self, of: AvroType) -> Read:
        size = of.size
        return lambda body: body.take(size)

    _COMPLEX: Final[Mapping[str, Callable[["_Compiler", AvroType], Read]]] = {
        "record": _record, "union": _union, "array": _array, "map": _map, "enum": _enum, "fixed": _fixed,
    }  # fmt: skip


def block(body: Body) -> int:
    """How many elements come next; a negative count has the block's size behind it."""
    count = body.number()
    if count < 0:
        body.number()
        return -count
    return count


def _null(_body: Body) -> None:
    return None


def _boolean(body: Body) -> bool:
    byte = body.take(1)[0]
    if byte > 1:
        raise InvalidBody("holds a boolean that is neither true nor false")
    return byte == 1


def _floating(layout: str) -> Read:
    unpack = struct.Struct(layout)

    def read(body: Body) -> float | str:
        (value,) = unpack.unpack(body.take(unpack.size))
        return "NaN" if value != value else _NAMES.get(value, value)  # noqa: PLR0124  what tells NaN

    return read


def _bytes(body: Body) -> bytes:
    return body.take(body.number())


def _string(body: Body) -> str:
    try:
        return body.take(body.number()).decode()
    except UnicodeDecodeError:
        raise InvalidBody("has a text that is not in UTF-8") from None


def _decimal(of: AvroType) -> Read:
    size = of.size if of.kind == "fixed" else None
    scale = of.scale

    def read(body: Body) -> Decimal:
        digits = body.take(body.number() if size is None else size)
        if len(digits) > _MOST_DECIMAL:
            raise InvalidBody(f"has a decimal of more than {_MOST_DECIMAL} bytes")
        return Decimal(f"{int.from_bytes(digits, 'big', signed=True)}E-{scale}")

    return read


def _big_decimal(body: Body) -> Decimal:
    """One that tells its scale itself: within the bytes, the digits as bytes and the scale as a number."""
    inner = Body(_bytes(body), 0)
    digits, scale = _bytes(inner), inner.number()
    if inner.position != len(inner.data) or len(digits) > _MOST_DECIMAL or abs(scale) > _MOST_SCALE:
        raise InvalidBody("holds a big decimal that is none, or too large a one")
    return Decimal(f"{int.from_bytes(digits, 'big', signed=True)}E{-scale}")


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def _timestamp(per_second: int, *, local: bool) -> Read:
    digits = len(str(per_second)) - 1
    suffix = "" if local else "Z"

    def read(body: Body) -> str | int:
        number = body.number()
        seconds, rest = divmod(number, per_second)
        try:
            moment = _EPOCH + timedelta(seconds=seconds)
        except OverflowError:
            return number
        fraction = f".{rest:0{digits}}" if rest else ""
        return moment.replace(tzinfo=None).isoformat() + fraction + suffix

    return read


def _time(per_second: int) -> Read:
    digits = len(str(per_second)) - 1

    def read(body: Body) -> str | int:
        number = body.number()
        seconds, rest = divmod(number, per_second)
        if not 0 <= seconds < 86_400:  # noqa: PLR2004  seconds of a day
            return number
        fraction = f".{rest:0{digits}}" if rest else ""
        return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{fraction}"

    return read


def _date(body: Body) -> str | int:
    days = body.number()
    try:
        return (_EPOCH + timedelta(days=days)).date().isoformat()
    except OverflowError:
        return days


def _uuid(body: Body) -> str:
    return str(UUID(bytes=body.take(16)))


def _duration(body: Body) -> dict[str, int]:
    return dict(zip(("months", "days", "milliseconds"), struct.unpack("<III", body.take(12)), strict=True))


_PRIMITIVE: Final[Mapping[str, Read]] = {
    "null": _null,
    "boolean": _boolean,
    "int": Body.number,
    "long": Body.number,
    "float": _floating("<f"),
    "double": _floating("<d"),
    "bytes": _bytes,
    "string": _string,
}

_LOGICAL: Final[Mapping[tuple[str, str], Read]] = {
    ("int", "date"): _date,
    ("int", "time-millis"): _time(1_000),
    ("long", "time-micros"): _time(1_000_000),
    ("bytes", "big-decimal"): _big_decimal,
    ("fixed", "uuid"): _uuid,
    ("fixed", "duration"): _duration,
    **{
        ("long", f"{prefix}timestamp-{unit}"): _timestamp(per_second, local=bool(prefix))
        for prefix in ("", "local-")
        for unit, per_second in (("millis", 1_000), ("micros", 1_000_000), ("nanos", 1_000_000_000))
    },
}
