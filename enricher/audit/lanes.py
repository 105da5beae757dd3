"""How far each key's outputs have come, in memory of a fixed size for each key.

A hash table in two arrays rather than a dict of objects: 16 bytes a slot, between a third and two thirds of them used,
so 24 to 48 bytes a key. Two keys with one 64-bit hash would be taken for one. Pure.
"""

from array import array

_FIRST_SIZE = 1_024


class LastOffsets:
    """The highest offset of each lane."""

    __slots__ = ("_hashes", "_mask", "_offsets", "_used")

    def __init__(self) -> None:
        self._allocate(_FIRST_SIZE)
        self._used = 0

    def __len__(self) -> int:
        """Lanes that are known."""
        return self._used

    def advance(self, lane: int, offset: int) -> int:
        """Take note that a lane has come to an offset; returns the highest that it had come to before, or -1.

        Args:
            lane: a hash of the lane, of at most 64 bits.
            offset: never negative.
        """
        wanted = lane & 0xFFFF_FFFF_FFFF_FFFF or 1  # 0 is a free slot
        slot = self._find(wanted)
        if not self._hashes[slot]:
            self._hashes[slot] = wanted
            self._offsets[slot] = offset
            self._used += 1
            if self._used * 3 > len(self._hashes) * 2:
                self._grow()
            return -1
        before = self._offsets[slot]
        if offset > before:
            self._offsets[slot] = offset
        return before

    def _find(self, wanted: int) -> int:
        """The slot of a hash, or the free one where it belongs."""
        hashes, mask = self._hashes, self._mask
        slot = wanted & mask
        while hashes[slot] and hashes[slot] != wanted:
            slot = (slot + 1) & mask
        return slot

    def _grow(self) -> None:
        hashes, offsets = self._hashes, self._offsets
        self._allocate(len(hashes) * 2)
        for lane, offset in zip(hashes, offsets, strict=True):
            if lane:
                slot = self._find(lane)
                self._hashes[slot] = lane
                self._offsets[slot] = offset

    def _allocate(self, size: int) -> None:
        self._hashes = array("Q", bytes(8 * size))
        self._offsets = array("q", bytes(8 * size))
        self._mask = size - 1
