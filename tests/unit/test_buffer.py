"""Back-pressure: memory stays bounded, and nothing that may be read stays paused."""

import copy
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from enricher.buffer import Buffer, Changes
from enricher.model import TopicPartition

P0, P1, P2, P3 = PARTITIONS = [TopicPartition("contacts", n) for n in range(4)]


def never(_partition: TopicPartition) -> bool:
    """No partition is full for another reason."""
    return False


class Held(NamedTuple):
    """A record that is held; ``life`` tells the assignments of a partition apart."""

    partition: TopicPartition
    life: int
    size: int


class BackPressure(RuleBasedStateMachine):
    """Records come and go, partitions too; the source does as it is told, as the pipeline asks."""

    @initialize(max_records=st.integers(1, 24), max_bytes=st.sampled_from([1, 50, 200]))
    def begin(self, max_records: int, max_bytes: int) -> None:
        """The caps."""
        self.buffer = Buffer(max_records, max_bytes)
        self.lives = dict.fromkeys(PARTITIONS, 0)
        self.ours: set[TopicPartition] = set()
        self.paused: set[TopicPartition] = set()
        self.full: set[TopicPartition] = set()
        self.held: list[Held] = []
        self.overfull = False

    def of(self, partition: TopicPartition) -> int:
        """Records held of the partition's present assignment."""
        return sum(held.partition == partition and held.life == self.lives[partition] for held in self.held)

    def size(self) -> int:
        """Bytes held."""
        return sum(held.size for held in self.held)

    def ask(self) -> None:
        """Ask for changes, carry them out, and check them."""
        buffer = self.buffer
        before = frozenset(self.paused)
        changes = buffer.changes(self.full.__contains__)
        assert len(set(changes.pause)) == len(changes.pause)
        assert len(set(changes.resume)) == len(changes.resume)
        assert self.ours - self.paused >= set(changes.pause)
        assert self.paused >= set(changes.resume)
        self.paused = (self.paused | set(changes.pause)) - set(changes.resume)

        size, share = self.size(), max(1, buffer.max_records // max(1, len(self.ours)))
        assert buffer.share == share
        if len(self.held) >= buffer.max_records or size >= buffer.max_bytes:
            self.overfull = True
        elif len(self.held) <= buffer.max_records // 2 and size <= buffer.max_bytes // 2:
            self.overfull = False
        for partition in self.ours:
            held = self.of(partition)
            if buffer.closed or self.overfull or partition in self.full or held >= share:
                assert partition in self.paused
            elif held <= share // 2 or partition not in before:
                assert partition not in self.paused
            else:
                assert partition in self.paused  # stays so until half of its share is free
        assert buffer.changes(self.full.__contains__) == Changes([], [])  # they were taken as done

    @rule(partitions=st.sets(st.sampled_from(PARTITIONS)))
    def assign(self, partitions: set[TopicPartition]) -> None:
        """Partitions come; the source reads them from the start."""
        partitions -= self.ours
        self.ours |= partitions
        self.buffer.assign(partitions)
        self.ask()

    @rule(partitions=st.sets(st.sampled_from(PARTITIONS)))
    def revoke(self, partitions: set[TopicPartition]) -> None:
        """Partitions go, ours or not; what is held of them is let go of later."""
        for partition in partitions:
            self.lives[partition] += 1
        self.ours -= partitions
        self.paused -= partitions
        self.full -= partitions
        self.buffer.revoke(partitions)
        self.ask()

    @precondition(lambda self: self.ours)
    @rule(data=st.data(), sizes=st.lists(st.sampled_from([0, 1, 5, 60]), min_size=1, max_size=10), full=st.booleans())
    def batch(self, data: st.DataObject, sizes: list[int], *, full: bool) -> None:
        """Records come, perhaps after a pause; with them the partition may become full."""
        partition = data.draw(st.sampled_from(sorted(self.ours)))
        for size in sizes:
            self.held.append(Held(partition, self.lives[partition], size))
            self.buffer.add(partition, size)
        if full:
            self.full.add(partition)
        self.ask()

    @precondition(lambda self: self.held)
    @rule(data=st.data(), size=st.sampled_from([-1, 1, 30]))
    def grow(self, data: st.DataObject, size: int) -> None:
        """A history came; nobody asks for changes at this point."""
        at = data.draw(st.integers(0, len(self.held) - 1))
        self.held[at] = self.held[at]._replace(size=self.held[at].size + size)
        self.buffer.grow(size)

    @precondition(lambda self: self.held)
    @rule(data=st.data(), count=st.integers(1, 12))
    def remove(self, data: st.DataObject, count: int) -> None:
        """Records are resolved or dropped; changes are asked for where that can have made any."""
        for _ in range(min(count, len(self.held))):
            held = self.held.pop(data.draw(st.integers(0, len(self.held) - 1)))
            self.buffer.remove(held.partition, held.size, current=held.life == self.lives[held.partition])
            self.full.discard(held.partition)
            if self.buffer.relieved(held.partition):
                self.ask()
            else:
                # What a caller misses who trusts this must be nothing.
                assert not copy.deepcopy(self.buffer).changes(self.full.__contains__).resume

    @rule(closed=st.booleans())
    def close(self, *, closed: bool) -> None:
        """Draining pauses everything."""
        self.buffer.closed = closed
        self.ask()

    @invariant()
    def counts_are_right(self) -> None:
        """What is counted is what is held."""
        assert self.buffer.records == len(self.held)
        assert self.buffer.bytes == self.size()
        assert self.buffer.paused == self.paused
        assert {partition: self.buffer.held(partition) for partition in self.ours} == {
            partition: self.of(partition) for partition in self.ours
        }

    def teardown(self) -> None:
        """When all is resolved, every partition is read again."""
        if not hasattr(self, "buffer"):
            return
        self.close(closed=False)
        while self.held:
            held = self.held.pop()
            self.buffer.remove(held.partition, held.size, current=held.life == self.lives[held.partition])
            self.full.discard(held.partition)
            if self.buffer.relieved(held.partition):
                self.ask()
        assert self.paused == self.full  # full without a record held: then only the caller knows when that ends
        assert (self.buffer.records, self.buffer.bytes) == (0, 0)


TestBackPressure = BackPressure.TestCase
TestBackPressure.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def buffer_of(max_records: int, max_bytes: int, *partitions: TopicPartition) -> Buffer:
    """A buffer with these partitions, that was asked once."""
    buffer = Buffer(max_records, max_bytes)
    buffer.assign(partitions)
    assert buffer.changes(never) == Changes([], [])
    return buffer


def test_at_the_cap_of_records_all_stop_until_half_is_free() -> None:
    """Between the two nothing changes."""
    buffer = buffer_of(8, 1_000, P0, P1)
    for partition in (P0, P0, P0, P1, P1, P1):
        buffer.add(partition, 1)
    assert buffer.changes(never) == Changes([], [])
    buffer.add(P0, 1)
    assert buffer.changes(never) == Changes([P0], [])  # its share
    buffer.add(P0, 1)
    assert buffer.changes(never) == Changes([P1], [])  # the cap
    for _ in range(3):
        buffer.remove(P0, 1)
        assert not buffer.relieved(P0)
    buffer.remove(P1, 1)
    assert buffer.relieved(P1)
    assert buffer.changes(never) == Changes([], [P0, P1])


def test_at_the_cap_of_bytes_all_stop_until_half_is_free() -> None:
    """Whatever the number of records; histories count."""
    buffer = buffer_of(100, 10, P0, P1)
    buffer.add(P0, 6)
    assert buffer.changes(never) == Changes([], [])
    buffer.grow(4)
    assert buffer.changes(never) == Changes([P0, P1], [])
    buffer.add(P1, 6)
    buffer.remove(P0, 10)
    assert not buffer.relieved(P0)
    buffer.grow(-1)
    assert buffer.relieved(P0)
    assert buffer.changes(never) == Changes([], [P0, P1])


def test_a_stuck_partition_stops_alone() -> None:
    """It may hold its share; the others go on, and its own records let it go on again."""
    buffer = buffer_of(12, 1_000, P0, P1, P2)
    for _ in range(4):
        buffer.add(P0, 1)
    assert buffer.changes(never) == Changes([P0], [])
    assert buffer.paused == {P0}
    buffer.add(P1, 1)
    buffer.remove(P1, 1)
    assert not buffer.relieved(P1)
    buffer.remove(P0, 1)
    assert not buffer.relieved(P0)
    buffer.remove(P0, 1)
    assert buffer.relieved(P0)
    assert buffer.changes(never) == Changes([], [P0])
    assert not buffer.relieved(P0)


def test_a_full_partition_stops_for_as_long_as_it_is_full() -> None:
    """Its offsets may be spread too far, though little of it is held."""
    buffer = buffer_of(12, 1_000, P0, P1)
    assert buffer.changes(lambda partition: partition == P1) == Changes([P1], [])
    assert buffer.relieved(P1)
    assert buffer.changes(never) == Changes([], [P1])


def test_nothing_is_read_while_draining() -> None:
    """Neither what is assigned nor what is assigned later."""
    buffer = buffer_of(12, 1_000, P0)
    buffer.closed = True
    assert buffer.changes(never) == Changes([P0], [])
    buffer.assign([P1])
    assert buffer.changes(never) == Changes([P1], [])


def test_a_partition_that_comes_back_is_not_paused() -> None:
    """The source starts it anew; what is still held of the old assignment counts for the caps alone."""
    buffer = buffer_of(2, 1_000, P0)
    buffer.add(P0, 1)
    buffer.add(P0, 1)
    assert buffer.changes(never) == Changes([P0], [])
    buffer.revoke([P0])
    buffer.assign([P0])
    assert buffer.paused == frozenset()
    assert (buffer.records, buffer.held(P0)) == (2, 0)
    assert buffer.changes(never) == Changes([P0], [])
    buffer.remove(P0, 1, current=False)
    assert buffer.changes(never) == Changes([], [P0])
    assert (buffer.records, buffer.held(P0)) == (1, 0)


def test_a_partition_assigned_again_without_a_revocation_is_not_paused() -> None:
    """A client that skips the revocation must not leave it paused for ever."""
    buffer = buffer_of(4, 1_000, P0)
    assert buffer.changes(lambda _: True) == Changes([P0], [])
    buffer.assign([P0])
    assert buffer.paused == frozenset()


@pytest.mark.parametrize(("partitions", "share"), [(0, 3), (1, 3), (2, 1), (4, 1)])
def test_every_partition_has_a_share(partitions: int, share: int) -> None:
    """At least one record, however many partitions there are."""
    assert buffer_of(3, 1_000, *PARTITIONS[:partitions]).share == share


def test_a_share_grows_when_partitions_go() -> None:
    """What stopped for its share may go on then."""
    buffer = buffer_of(8, 1_000, P0, P1, P3)
    buffer.add(P0, 1)
    buffer.add(P0, 1)
    assert buffer.changes(never) == Changes([P0], [])
    buffer.revoke([P1, P3])
    assert buffer.changes(never) == Changes([], [P0])
