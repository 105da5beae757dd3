"""A replay's plan: which offsets of which partitions, and on what terms; fixed when the replay begins.

The plan is kept in Kafka itself, so that a replay can be resumed from anywhere: a group of its own, ``range_group``,
has the end of each partition's range as its committed offset, with the start and, at the first partition, the terms in
the metadata. The progress is that of another group, ``progress_group``, which the workers of the replay are members of.

Invariants: neither group is the live one, or another replay's; what ``positions`` writes, ``read_plan`` reads; no
customer's id is written. Pure.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from enricher.completed import Range
from enricher.model import Position, TopicPartition

LIMIT = 4_000
"""Bytes of a commit's metadata that every broker takes."""

VERSION = 1

NAME = re.compile(r"[A-Za-z0-9_-]{1,80}")


class BadPlan(ValueError):  # noqa: N818  says what it is
    """The plan cannot be kept, or what was read is none."""


class Terms(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a replay does with its range; a resumed one does the same.

    Attributes:
        asked: the range as it was asked for, in words that are compared.
        since, until: record timestamps, ms, that bound it.
        where: the expression that events have to pass.
        customers: digest of the ids of the customers that were chosen.
        topic: where the outputs go.
        as_of: the setting ``history.as_of``, if it was given.
    """

    asked: str
    since: int | None = None
    until: int | None = None
    where: str | None = None
    customers: str | None = None
    topic: str | None = None
    as_of: str | None = None


class Plan(NamedTuple):
    """A replay: its terms, and the offsets of each partition of its topics; a partition left out has an empty range."""

    terms: Terms
    spans: dict[TopicPartition, Range]

    @property
    def offsets(self) -> int:
        """How many offsets there are to go through."""
        return sum(span.end - span.start for span in self.spans.values())

    @property
    def topics(self) -> list[str]:
        """The topics of the range."""
        return sorted({partition.topic for partition, span in self.spans.items() if span.start < span.end})

    def starts(self) -> dict[TopicPartition, Position]:
        """Where the progress begins."""
        return {partition: Position(span.start) for partition, span in self.spans.items()}

    def ends(self) -> dict[TopicPartition, int]:
        """Where each partition's range ends."""
        return {partition: span.end for partition, span in self.spans.items()}

    def positions(self) -> dict[TopicPartition, Position]:
        """What to commit in the ``range_group``.

        Raises:
            BadPlan: the terms are too long to be kept.
        """
        kept: dict[TopicPartition, Position] = {}
        for partition, span in sorted(self.spans.items()):
            note = _Note(VERSION, span.start, None if kept else self.terms)
            text = msgspec.json.encode(note).decode()
            if len(text.encode()) > LIMIT:
                raise BadPlan("--where is too long to be kept with the replay")
            kept[partition] = Position(span.end, text)
        return kept


class _Note(msgspec.Struct, frozen=True, omit_defaults=True):
    v: int
    start: int
    terms: Terms | None = None


def read_plan(positions: Mapping[TopicPartition, Position]) -> Plan | None:
    """The plan that was committed; None where there is none.

    Raises:
        BadPlan: what is there is no plan of this program, or only a part of one.
    """
    if not positions:
        return None
    spans: dict[TopicPartition, Range] = {}
    terms: Terms | None = None
    for partition, at in sorted(positions.items()):
        try:
            note = msgspec.json.decode(at.metadata, type=_Note)
        except msgspec.DecodeError:
            raise BadPlan(f"{partition.topic}[{partition.partition}] has no plan of a replay in its metadata") from None
        if note.v != VERSION:
            raise BadPlan("the plan is of another version of this program")
        terms = terms or note.terms
        spans[partition] = Range(note.start, at.offset)
    if terms is None:
        raise BadPlan("the part of the plan that has its terms is missing")
    return Plan(terms, spans)


def progress_group(group: str, name: str) -> str:
    """The group whose committed offsets are the progress of a replay."""
    return f"{group}-replay-{name}"


def range_group(group: str, name: str) -> str:
    """The group whose committed offsets are the ends of a replay's ranges."""
    return f"{progress_group(group, name)}.range"  # a name has no dot, so no other replay's progress is called so
