"""``--from`` and ``--to``: how a range of topics is written, and the offsets that it means.

A point is ``beginning``, ``end``, ``committed`` (where the group stands), a time (ISO 8601, UTC without a zone; or
``2h ago``), or offsets of single partitions (``0@1500,3@99`` or ``contacts[0]@1500``), which leave all other partitions
out.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import NamedTuple, TypeAlias

from enricher.completed import Range
from enricher.model import Position, TopicPartition


class NothingInRange(Exception):  # noqa: N818  says what is wrong
    """No partition is meant."""


class Edge(StrEnum):
    """A point that is the same in words for all partitions."""

    BEGINNING = "beginning"
    END = "end"
    COMMITTED = "committed"


class At(NamedTuple):
    """An offset of one partition; of each topic, where none is named."""

    topic: str | None
    partition: int
    offset: int

    def names(self, partition: TopicPartition) -> bool:
        """Whether this partition is meant."""
        return self.partition == partition.partition and self.topic in (None, partition.topic)


Milliseconds: TypeAlias = int
Point: TypeAlias = Edge | Milliseconds | tuple[At, ...]

_AGO = re.compile(r"(\d{1,9}) ?([smhdw]) ago")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_AT = re.compile(r"(?:([a-zA-Z0-9._-]+)\[(\d{1,9})\]|(\d{1,9}))@(\d{1,18})")


def parse_point(text: str, now: Milliseconds) -> Point:
    """What ``--from`` or ``--to`` was given; ``now`` is what ``2h ago`` counts from.

    Raises:
        ValueError: it is none, saying what would be.
    """
    if text in tuple(Edge):
        return Edge(text)
    if "@" in text:
        found = [_AT.fullmatch(part.strip()) for part in text.split(",")]
        ats = tuple(At(match[1], int(match[2] or match[3]), int(match[4])) for match in found if match)
        if len(ats) == len(found):
            return ats
    elif (ago := _AGO.fullmatch(text)) is not None:
        return max(0, now - int(ago[1]) * _SECONDS[ago[2]] * 1000)
    else:
        try:
            time = datetime.fromisoformat(text)
        except ValueError:
            pass
        else:
            return round((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000)
    raise ValueError(
        f"{text!r} is no point in the topics: write {', '.join(Edge)}, a time such as 2026-01-31T12:00Z or 2h ago, or "
        "offsets of partitions such as 0@1500,3@99 or contacts[0]@1500"
    )


def resolve(
    start: Point,
    end: Point,
    logs: Mapping[TopicPartition, Range],
    positions: Mapping[TopicPartition, Position],
    first_since: Callable[[Milliseconds], Mapping[TopicPartition, int]],
) -> dict[TopicPartition, Range]:
    """The offsets of each partition between two points, within the log; partitions that are left out have none.

    Args:
        start: the first that belongs to it.
        end: the first that does not.
        logs: where each partition begins and ends.
        positions: what the group has committed; a partition without one is taken to stand at its beginning.
        first_since: the first offset of each partition whose record is not older than a time.

    Raises:
        NothingInRange: no partition is left.
    """

    def at(point: Point) -> dict[TopicPartition, int]:
        if isinstance(point, int):
            return dict(first_since(point))
        if isinstance(point, tuple):
            return {p: here.offset for p in logs for here in point if here.names(p)}
        if point is Edge.COMMITTED:
            return {p: positions[p].offset if p in positions else log.start for p, log in logs.items()}
        return {p: log.start if point is Edge.BEGINNING else log.end for p, log in logs.items()}

    starts, ends = at(start), at(end)
    spans: dict[TopicPartition, Range] = {}
    for partition, log in logs.items():
        if partition in starts and partition in ends:
            first = min(max(starts[partition], log.start), log.end)
            spans[partition] = Range(first, min(max(ends[partition], first), log.end))
    if not spans:
        raise NothingInRange("there is none of the partitions that the range names")
    return spans
