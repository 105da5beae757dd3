"""What differs between what was expected and what came out. Pure.

A map expected is part of the one that came: fields that it does not name may be anything. A list has the same length,
item by item. A key with dots is a path, unless the map has that very key; numbers in it count items. Where a number
came and a time in ISO 8601 was expected, it is the milliseconds since the epoch.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

ABSENT = object()
"""In place of a value that is not there."""


class Difference(NamedTuple):
    """Something that is not as expected. Where nothing can be compared, ``expected`` and ``actual`` are sentences."""

    path: str
    expected: str
    actual: str


def differences(expected: Any, actual: Any, path: str = "") -> Iterator[Difference]:
    """Each difference, with its path.

    Args:
        expected: of what YAML has.
        actual: of what JSON has, or ``ABSENT``.
        path: of both, from the top.
    """
    if isinstance(expected, Mapping) and isinstance(actual, Mapping):
        for key, value in expected.items():
            yield from differences(value, _at(actual, key), f"{path}.{key}" if path else key)
    elif _is_list(expected) and _is_list(actual) and len(expected) == len(actual):
        for index, (one, other) in enumerate(zip(expected, actual, strict=True)):
            yield from differences(one, other, f"{path}[{index}]")
    elif _is_list(expected) and _is_list(actual):
        yield Difference(path, f"{len(expected)} items", f"{len(actual)} items: {show(actual)}")
    elif not _same(expected, actual):
        timed = isinstance(actual, int) and isinstance(expected, str) and _milliseconds(expected) is not None
        yield Difference(path, show(expected), show(_iso(actual) if timed else actual))


def show(value: Any) -> str:
    """A value as JSON."""
    return "nothing there" if value is ABSENT else json.dumps(value, ensure_ascii=False, default=str)


def _at(values: Any, key: str) -> Any:
    """The value of a key, or at a path."""
    if isinstance(values, Mapping) and key in values:
        return values[key]
    head, dot, rest = key.partition(".")
    inner: Any = ABSENT
    if isinstance(values, Mapping):
        inner = values.get(head, ABSENT)
    elif _is_list(values) and head.isdecimal() and int(head) < len(values):
        inner = values[int(head)]
    return _at(inner, rest) if dot and inner is not ABSENT else inner


def _same(expected: Any, actual: Any) -> bool:
    if isinstance(expected, str) and isinstance(actual, int) and not isinstance(actual, bool):
        return _milliseconds(expected) == actual
    return bool(expected == actual and isinstance(expected, bool) == isinstance(actual, bool))


def _milliseconds(text: str) -> int | None:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        return None
    zoned = instant if instant.tzinfo else instant.replace(tzinfo=UTC)
    return round((zoned - datetime.fromtimestamp(0, UTC)).total_seconds() * 1000)


def _iso(milliseconds: int) -> str:
    instant = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=milliseconds)
    return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)
