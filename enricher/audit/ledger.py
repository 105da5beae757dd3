"""What has to be known of each input record of one partition, in memory of a fixed size for each.

Records are kept by their offset, in pages that are made when a record falls into them: 19 bytes for each offset of a
page. So the gaps of a compacted topic cost little, and a dense log 19 bytes a record. Pure.
"""

from collections.abc import Iterator
from struct import Struct

from enricher.audit.digests import Digest
from enricher.completed import Range

_PAGE = 512
_DIGEST = Struct("<IIHII")
_PRESENT = 0b1
_ONCE = 0b10  # the bits from here on count
_MOST = 0xFF - _ONCE
_MOST_HEADERS = 0xFFFF


class _Page:
    """Offsets that follow one another."""

    __slots__ = ("digests", "states")

    def __init__(self) -> None:
        self.states = bytearray(_PAGE)
        self.digests = bytearray(_PAGE * _DIGEST.size)


class Ledger:
    """The records of one partition, within a range of offsets.

    Attributes:
        span: the range.
        records: how many there are.
        resolved: how many have an output or a dead letter.
        repeated: how many have more than one.
    """

    __slots__ = ("_pages", "records", "repeated", "resolved", "span")

    def __init__(self, span: Range) -> None:
        self.span = span
        self.records = self.resolved = self.repeated = 0
        self._pages: dict[int, _Page] = {}

    def add(self, offset: int, digest: Digest) -> None:
        """There is a record at this offset. What is outside of the range, or known, is not taken."""
        if not self.span.start <= offset < self.span.end:
            return
        number, index = divmod(offset, _PAGE)
        page = self._pages.get(number)
        if page is None:
            page = self._pages[number] = _Page()
        if page.states[index]:
            return
        page.states[index] = _PRESENT
        self.records += 1
        key, headers, count, timestamp, value = digest
        _DIGEST.pack_into(page.digests, index * _DIGEST.size, key, headers, min(count, _MOST_HEADERS), timestamp, value)

    def digest(self, offset: int) -> Digest | None:
        """That of the record at this offset; None where there is none."""
        number, index = divmod(offset, _PAGE)
        page = self._pages.get(number)
        if page is None or not page.states[index]:
            return None
        return Digest(*_DIGEST.unpack_from(page.digests, index * _DIGEST.size))

    def resolve(self, offset: int) -> int:
        """A record has an output or a dead letter; returns how many it had before, up to a number."""
        number, index = divmod(offset, _PAGE)
        states = self._pages[number].states
        before = states[index] // _ONCE
        if before == 0:
            self.resolved += 1
        elif before == 1:
            self.repeated += 1
        if states[index] < _MOST:
            states[index] += _ONCE
        return before

    def missing(self) -> Iterator[int]:
        """The offsets of the records that have neither output nor dead letter, in order."""
        for number in sorted(self._pages):
            states = self._pages[number].states
            index = states.find(_PRESENT)
            while index >= 0:
                yield number * _PAGE + index
                index = states.find(_PRESENT, index + 1)
