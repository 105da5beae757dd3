"""What is compared between an input and what became of it, as numbers of a fixed size.

A difference is missed if two different values have one CRC-32: once in four billion differences. Pure.
"""

from collections.abc import Iterable
from typing import NamedTuple
from zlib import crc32

from enricher.deadletter import is_cause
from enricher.model import REPLAY_HEADER, Headers

MOVING = frozenset({"traceparent", "tracestate", "__value_schema_id", REPLAY_HEADER})
"""Headers that change from hop to hop by their nature (W3C Trace Context, the schema of the value), or name a replay:
not compared."""


class Digest(NamedTuple):
    """A record, as far as it is compared. ``headers`` counts those that are."""

    key: int
    headers: int
    header_count: int
    timestamp: int
    value: int


def of_bytes(data: bytes | None) -> int:
    """Of a key or a value; none is not the same as an empty one."""
    return 0 if data is None else crc32(data, 1)


def of_timestamp(timestamp: int) -> int:
    """Of milliseconds."""
    return timestamp & 0xFFFF_FFFF


def compared(headers: Headers) -> Headers:
    """The headers that have to pass unchanged: all but a dead letter's cause and what moves by its nature."""
    return [header for header in headers if not (is_cause(header[0]) or header[0] in MOVING)]


def of_headers(headers: Iterable[tuple[str, bytes | None]]) -> int:
    """Of names and values in their order."""
    digest = 0
    for name, value in headers:
        text = name.encode("utf-8", "surrogateescape")
        digest = crc32(b"%d,%d;" % (len(text), -1 if value is None else len(value)), digest)
        digest = crc32(text, digest)
        if value:
            digest = crc32(value, digest)
    return digest
