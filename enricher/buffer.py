"""How much of the input is held, and which partitions are paused for it.

Two caps hold for the whole worker: records, and bytes. A partition that holds more than its share of the records is
paused alone, so that one partition that is stuck (a key whose look-up hangs) does not take the room of the others.

Invariants: past a cap, every partition is paused; below half of it (and of its share) none is, unless the caller
says that it is full for another reason; a partition is in the paused set exactly as long as the source was told so.
Pure: changes are returned for the caller to carry out.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import NamedTuple

from enricher.model import TopicPartition


class Changes(NamedTuple):
    """Partitions to pause and to resume now."""

    pause: list[TopicPartition]
    resume: list[TopicPartition]


@dataclass(slots=True)
class Buffer:
    """What is held of each assigned partition.

    Args:
        max_records: cap on records held.
        max_bytes: cap on bytes held.
    """

    max_records: int
    max_bytes: int
    records: int = 0
    bytes: int = 0
    closed: bool = False  # true while draining: everything stays paused
    _held: dict[TopicPartition, int] = field(default_factory=dict)
    _paused: set[TopicPartition] = field(default_factory=set)
    _overfull: bool = False

    def assign(self, partitions: Collection[TopicPartition]) -> None:
        """These partitions are ours, not paused, with nothing held."""
        for partition in partitions:
            self._held[partition] = 0
            self._paused.discard(partition)

    def revoke(self, partitions: Collection[TopicPartition]) -> None:
        """These are ours no longer. What is still held of them stays counted until it is removed."""
        for partition in partitions:
            self._held.pop(partition, None)
            self._paused.discard(partition)

    def add(self, partition: TopicPartition, size: int) -> None:
        """A record is held."""
        self.records += 1
        self.bytes += size
        self._held[partition] += 1

    def grow(self, size: int) -> None:
        """A held record grew (its history came) or shrank."""
        self.bytes += size

    def remove(self, partition: TopicPartition, size: int, *, current: bool = True) -> None:
        """A record is no longer held. ``current`` is false for one of an assignment that has ended."""
        self.records -= 1
        self.bytes -= size
        if current:
            self._held[partition] -= 1

    @property
    def paused(self) -> frozenset[TopicPartition]:
        """The partitions that the source was told to pause."""
        return frozenset(self._paused)

    @property
    def share(self) -> int:
        """Records that one partition may hold."""
        return max(1, self.max_records // max(1, len(self._held)))

    def held(self, partition: TopicPartition) -> int:
        """Records held of an assigned partition."""
        return self._held[partition]

    def relieved(self, partition: TopicPartition) -> bool:
        """Whether a removal can have changed what ``changes`` says: cheap, asked after each one."""
        if not self._paused:
            return False
        if self._overfull:
            return self.records <= self.max_records // 2 and self.bytes <= self.max_bytes // 2
        return partition in self._paused and self._held[partition] <= self.share // 2

    def changes(self, full: Callable[[TopicPartition], bool]) -> Changes:
        """What to pause and to resume; taken as done. ``full`` tells what must not be read for another reason."""
        if self.records >= self.max_records or self.bytes >= self.max_bytes:
            self._overfull = True
        elif self.records <= self.max_records // 2 and self.bytes <= self.max_bytes // 2:
            self._overfull = False
        share = self.share
        changes = Changes([], [])
        for partition, held in self._held.items():
            paused = partition in self._paused
            limit = share // 2 if paused else share - 1
            stop = self.closed or self._overfull or held > limit or full(partition)
            if stop and not paused:
                changes.pause.append(partition)
            elif paused and not stop:
                changes.resume.append(partition)
        self._paused.update(changes.pause)
        self._paused.difference_update(changes.resume)
        return changes
