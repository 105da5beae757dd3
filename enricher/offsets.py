"""Which records of a partition are resolved, and what may be committed.

Invariants:

- ``position().offset`` never passes a tracked record that is not resolved, and never goes back.
- What the metadata calls complete is resolved: a record is looked up and published again only if the map was cut.
- An offset that was never tracked (compaction, transaction markers) counts as resolved: gaps need no special case.

Pure: no I/O, no clock.
"""

from collections import deque

from enricher.completed import BITS, Range, decode_completed, encode_completed
from enricher.model import Position

WINDOW = 16_384
"""Offsets that fit into the metadata as a plain bit map, and leave 7,592 of ``BITS`` for what is on its way."""

SPARSE = 190
"""Unresolved stretches that fit as run lengths, each far from the next, and leave room for what is on its way.

That is as far as 2**28 offsets: such runs take 1,134 bytes (5 and 1 each), what 2,000 more records add is deflated to
about 1,000 at the worst, and 2,997 are there. A test holds this.
"""


class OffsetTracker:
    """The offsets of one partition during one assignment.

    Args:
        position: where the partition is read from, as committed. Its metadata says which records beyond the offset
            are resolved already; metadata of another program is ignored (``foreign_metadata`` tells).
    """

    __slots__ = ("_known", "_next", "_tracked", "_unresolved", "foreign_metadata")

    def __init__(self, position: Position) -> None:
        known = decode_completed(position.offset, position.metadata)
        self.foreign_metadata = known is None
        self._known: deque[Range] = deque(known or ())  # resolved before this assignment and not read yet
        self._tracked: deque[int] = deque()  # in order, from the oldest unresolved one
        self._unresolved: set[int] = set()  # those of the tracked ones that are not resolved
        self._next = position.offset  # one past the highest offset seen

    def track(self, offset: int) -> bool:
        """Take note of a record that was read. False: it is resolved already, and nothing is to be done.

        Raises:
            ValueError: the offset is below one that was read before.
        """
        if offset < self._next:
            raise ValueError(f"offset {offset} was read after {self._next - 1}")
        self._next = offset + 1
        known = self._known
        while known and known[0].end <= offset:
            known.popleft()
        if known and known[0].start <= offset:
            return False
        self._tracked.append(offset)
        self._unresolved.add(offset)
        return True

    def resolve(self, offset: int) -> None:
        """A tracked record is resolved (produced, dead-lettered or skipped, and acknowledged).

        Raises:
            ValueError: it is not tracked, or was resolved before.
        """
        if offset not in self._unresolved:
            raise ValueError(f"offset {offset} is not unresolved here")
        self._unresolved.remove(offset)
        while self._tracked and self._tracked[0] not in self._unresolved:
            self._tracked.popleft()

    @property
    def base(self) -> int:
        """The lowest unresolved offset, or the one after the highest seen."""
        return self._tracked[0] if self._tracked else self._next

    @property
    def seen(self) -> int:
        """One past the highest offset seen."""
        return self._next

    @property
    def pending(self) -> int:
        """How many tracked records are unresolved."""
        return len(self._unresolved)

    @property
    def span(self) -> int:
        """How many offsets lie between the committable one and the highest seen."""
        return self._next - self._tracked[0] if self._tracked else 0

    @property
    def full(self) -> bool:
        """The partition should take no more records: the map of completed offsets might outgrow the metadata.

        Until it is, the map fits uncut, also with 2,000 more records: the batch that fills it, and three that the
        source is ahead by. These may span 7,592 offsets; the gaps of a compacted topic may be wider, and then the map
        may be cut. With nothing unresolved it never is full, so that it cannot stay so.
        """
        if len(self._unresolved) + len(self._known) < SPARSE or not self._tracked:
            return False
        beyond = self._known[-1].end - self._tracked[0] if self._known else 0
        return self.span >= WINDOW or beyond > BITS

    def position(self) -> Position:
        """What may be committed: the lowest unresolved offset, and the map of those resolved beyond it."""
        base = self._tracked[0] if self._tracked else self._next
        if not self._tracked and self._known and self._known[0].start <= base:
            base = self._known[0].end  # known to be resolved, though not read again yet
        return Position(base, encode_completed(base, self._completed(base)))

    def _completed(self, base: int) -> list[Range]:
        """The resolved ranges above ``base``, in order."""
        ranges: list[Range] = []
        start = base
        for offset in self._tracked:
            if offset in self._unresolved:
                if start < offset:
                    ranges.append(Range(start, offset))
                start = offset + 1
        if self._tracked and start < self._next:
            ranges.append(Range(start, self._next))
        for known in self._known:
            first = max(known.start, self._next, base)
            if first >= known.end:
                continue
            if ranges and ranges[-1].end == first:
                first = ranges.pop().start
            ranges.append(Range(first, known.end))
        return ranges
