"""Which dead letters of a partition have gone back, as a position that can be committed.

What is chosen leaves gaps. So the position is the first dead letter that was left, and the commit's metadata tells
which beyond it have gone back (``enricher.completed``).

Invariants: what is committed as gone back has gone; nothing that has gone back is forgotten: a map that does not fit
into the metadata is refused (``TooManyGaps``), and never cut. Pure.
"""

from copy import copy

from enricher.completed import Range, decode_completed, encode_completed
from enricher.model import Position


class TooManyGaps(Exception):  # noqa: N818  says what is wrong
    """The dead letters that were left lie too scattered between those that have gone back."""


class Done:
    """One partition of the dead letters, decided from its beginning on.

    Args:
        position: as it was committed; None if nothing was.
        log: the first offset of the partition, and the one past its last.

    Attributes:
        start: where to read from.
        void: what was committed is of another topic of this name, or of another program: it does not count.
    """

    def __init__(self, position: Position | None, log: Range) -> None:
        known = [] if position is None else decode_completed(position.offset, position.metadata)
        self.void = known is None or (position is not None and position.offset > log.end)
        at = log.start if position is None or self.void else max(position.offset, log.start)
        self._known = [] if self.void or known is None else known
        for here in self._known:
            if here.start <= at:  # the log begins later than it did
                at = max(at, here.end)
        self.start = at
        self._next = at  # all below is decided
        self._base: int | None = None  # the first that was left
        self._from = at  # what lies between this and the next has gone back
        self._gone: list[Range] = []
        self._asked = 0  # the ranges known before this one end below what was asked for

    def went(self, offset: int) -> bool:
        """Whether the dead letter has gone back earlier. To be asked in the order of the offsets."""
        while self._asked < len(self._known) and self._known[self._asked].end <= offset:
            self._asked += 1
        return self._asked < len(self._known) and self._known[self._asked].start <= offset

    def copy(self) -> "Done":
        """One that may be decided further, and thrown away."""
        twin = copy(self)
        twin._gone = list(self._gone)  # noqa: SLF001  its own kind
        return twin

    def decide(self, offset: int, *, back: bool) -> None:
        """A dead letter goes back, or is left. To be told in the order of the offsets."""
        if not back:
            if self._base is None:
                self._base = offset
            elif self._from < offset:
                self._gone.append(Range(self._from, offset))
            self._from = offset + 1
        self._next = offset + 1

    def position(self) -> Position:
        """What is to be committed.

        Raises:
            TooManyGaps: it does not fit into a commit's metadata.
        """
        base = self._next if self._base is None else self._base
        ranges = list(self._gone)
        if self._base is not None and self._from < self._next:
            ranges.append(Range(self._from, self._next))
        for known in self._known:
            first = max(known.start, self._next)
            if first >= known.end:
                continue
            if ranges and ranges[-1].end == first:
                first = ranges.pop().start
            ranges.append(Range(first, known.end))
        if ranges and ranges[0].start == base:
            base = ranges.pop(0).end
        metadata = encode_completed(base, ranges)
        if decode_completed(base, metadata) != ranges:
            raise TooManyGaps
        return Position(base, metadata)
