"""The map of completed offsets in a commit's metadata.

A commit says with one number that all below it is resolved. What is resolved beyond it stands in the commit's
metadata, so that a restart or a rebalance does not repeat it. The idea is Confluent's Parallel Consumer's
(https://github.com/confluentinc/parallel-consumer, offset map); the format is our own:

``e1`` + one letter + base64 of the body. The map covers the offsets from the committed one to the last completed one.

- ``r``: run lengths as unsigned LEB128 numbers, alternately unresolved and resolved, beginning with unresolved.
- ``b``: a bit for each offset, 1 is resolved, lowest bit first.
- ``R``, ``B``: the same, compressed with zlib.

The shortest is taken. Every run is longer than zero: the committed offset itself is never resolved.

Invariants: never longer than ``LIMIT`` (the broker refuses 4,096 bytes); a map that would be is cut at its end, where
less known only means work done again; what is written can be read; reading takes bounded time and memory, whoever
wrote it. Pure.
"""

import base64
import binascii
import zlib
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

PREFIX = "e1"
LIMIT = 4_000
_BODY = (LIMIT - len(PREFIX) - 1) // 4 * 3
_MAX_SPAN = 1 << 40  # offsets that a map may cover at the most
_MAX_BODY = 1 << 16  # bytes that a compressed map may have before

BITS = _BODY * 8
"""How many offsets fit always, whichever of them are resolved."""


class Range(NamedTuple):
    """Offsets from ``start`` up to, and without, ``end``."""

    start: int
    end: int


def encode_completed(base: int, ranges: Sequence[Range]) -> str:
    """The metadata for a commit at ``base``; ``ranges`` are ordered, apart from each other, above ``base``."""
    while ranges:
        body = _shortest(base, ranges)
        if body is not None:
            return body
        ranges = ranges[: len(ranges) * 3 // 4]
    return ""


def decode_completed(base: int, metadata: str) -> list[Range] | None:
    """The resolved ranges beyond ``base``; None for metadata that is not ours (another program's, a newer form)."""
    if not metadata:
        return []
    if len(metadata) > LIMIT or not metadata.startswith(PREFIX):
        return None
    kind, text = metadata[len(PREFIX) : len(PREFIX) + 1], metadata[len(PREFIX) + 1 :]
    if kind not in tuple("rbRB"):
        return None
    try:
        body = base64.b64decode(text, validate=True)
        if kind.isupper():
            inflater = zlib.decompressobj()
            body = inflater.decompress(body, _MAX_BODY)
            if not inflater.eof:
                return None
    except (binascii.Error, ValueError, zlib.error):
        return None
    runs = _runs_of_varints(body) if kind in "rR" else _runs_of_bits(body)
    return None if runs is None else _ranges(base, runs)


def _shortest(base: int, ranges: Sequence[Range]) -> str | None:
    """The shortest form of all ranges, None if none fits."""
    runs: list[int] = []
    at = base
    for start, end in ranges:
        runs += (start - at, end - start)
        at = end
    if at - base > _MAX_SPAN:
        return None
    bodies = {"r": _varints(runs)}
    if at - base <= _MAX_BODY * 8:
        bodies["b"] = _bits(base, ranges)
    for kind in tuple(bodies):
        if len(bodies[kind]) <= _MAX_BODY:
            bodies[kind.upper()] = zlib.compress(bodies[kind], 6)
    kind = min(bodies, key=lambda k: len(bodies[k]))
    return f"{PREFIX}{kind}{base64.b64encode(bodies[kind]).decode()}" if len(bodies[kind]) <= _BODY else None


def _varints(numbers: Iterable[int]) -> bytes:
    out = bytearray()
    for number in numbers:
        rest = number
        while rest > 0x7F:  # noqa: PLR2004  seven bits a byte
            out.append(rest & 0x7F | 0x80)
            rest >>= 7
        out.append(rest)
    return bytes(out)


def _runs_of_varints(body: bytes) -> list[int] | None:
    runs: list[int] = []
    number = shift = 0
    for byte in body:
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte & 0x80:
            continue
        runs.append(number)
        number = shift = 0
    return None if shift else runs


def _bits(base: int, ranges: Sequence[Range]) -> bytes:
    digits: list[str] = []
    at = base
    for start, end in ranges:
        digits += ("0" * (start - at), "1" * (end - start))
        at = end
    # int() and to_bytes() are linear here; shifting one big number for every range would be quadratic
    return int("".join(digits)[::-1], 2).to_bytes((at - base + 7) // 8, "little")


def _runs_of_bits(body: bytes) -> list[int]:
    digits = bin(int.from_bytes(body, "little"))[:1:-1]
    return [len(list(run)) for _, run in groupby(digits)]


def _ranges(base: int, runs: Sequence[int]) -> list[Range] | None:
    if len(runs) % 2 or 0 in runs or sum(runs) > _MAX_SPAN:
        return None
    ranges: list[Range] = []
    at = base
    for unresolved, resolved in zip(runs[::2], runs[1::2], strict=True):
        start = at + unresolved
        at = start + resolved
        ranges.append(Range(start, at))
    return ranges
