"""Which dead letters are chosen, and what there is of each kind.

Invariant: memory is bounded by ``MOST`` kinds, whatever the headers hold. Pure.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from enricher.model import Record
from enricher.redrive.letters import Letter

MOST = 200
"""Kinds that are told apart; further ones count as ``OTHERS``."""

OTHERS = "(others)"


@dataclass(frozen=True, slots=True)
class Selection:
    """What is chosen: all that passes every condition that is there.

    Attributes:
        stages, causes: their names, in any case; of a cause with dots (a Java class), the last word will do.
        keys: of the records.
        since, until: the first timestamp that is chosen, and the first that is not any more; milliseconds.
        starts, ends: likewise offsets of the dead letters, by partition; a partition that is not named is left out.
    """

    stages: frozenset[str] = frozenset()
    causes: frozenset[str] = frozenset()
    keys: frozenset[bytes] = frozenset()
    since: int | None = None
    until: int | None = None
    starts: Mapping[int, int] | None = None
    ends: Mapping[int, int] | None = None

    def wants(self, record: Record, letter: Letter | None) -> bool:
        """Whether a dead letter is chosen."""
        if self.keys and record.key not in self.keys:
            return False
        at = record.timestamp
        if (self.since is not None and at < self.since) or (self.until is not None and not -1 < at < self.until):
            return False
        if self.starts is not None and record.offset < self.starts.get(record.partition, record.offset + 1):
            return False
        if self.ends is not None and record.offset >= self.ends.get(record.partition, 0):
            return False
        return _among(self.stages, letter and letter.stage) and _among(self.causes, letter and letter.cause)


def selection(
    stages: Iterable[str] = (),
    causes: Iterable[str] = (),
    keys: Iterable[str] = (),
    **bounds: int | Mapping[int, int] | None,
) -> Selection:
    """What is chosen, from what a person writes."""
    return Selection(
        frozenset(name.casefold() for name in stages),
        frozenset(name.casefold() for name in causes),
        frozenset(key.encode("utf-8", "surrogateescape") for key in keys),
        **bounds,  # type: ignore[arg-type]  # each has its own type in the dataclass
    )


def _among(wanted: frozenset[str], name: str | None) -> bool:
    if not wanted:
        return True
    found = (name or "").casefold()
    return found in wanted or found.rpartition(".")[2] in wanted


@dataclass(slots=True)
class Kind:
    """Dead letters of one stage and cause.

    Attributes:
        stage, cause: theirs.
        count: how many.
        oldest, newest: their timestamps, milliseconds; -1 where none has one.
        redriven: of these, how many were sent back before, and failed again.
        example: the place of one of them.
        message: what that one says in words; None if that may hold a customer's data.
    """

    stage: str
    cause: str
    count: int = 0
    oldest: int = -1
    newest: int = -1
    redriven: int = 0
    example: str = ""
    message: str | None = None


@dataclass(slots=True)
class Kinds:
    """Groups dead letters by stage and cause."""

    found: dict[tuple[str, str], Kind] = field(default_factory=dict)

    def add(self, record: Record, letter: Letter | None) -> None:
        """Count one; None for a record that tells of no cause."""
        name = (letter.stage, letter.cause) if letter else ("", "")
        if name not in self.found and len(self.found) >= MOST:
            name = (OTHERS, OTHERS)
        kind = self.found.get(name)
        if kind is None:
            message = None if letter is None or letter.foreign else letter.message
            place = f"{record.topic}[{record.partition}]@{record.offset}"
            kind = self.found[name] = Kind(*name, example=place, message=message)
        kind.count += 1
        kind.redriven += letter is not None and letter.redrives > 0
        if record.timestamp >= 0:
            kind.oldest = record.timestamp if kind.oldest < 0 else min(kind.oldest, record.timestamp)
            kind.newest = max(kind.newest, record.timestamp)

    def ordered(self) -> list[Kind]:
        """The most frequent first."""
        return sorted(self.found.values(), key=lambda kind: (-kind.count, kind.stage, kind.cause))
