"""What the offset tracker says may be committed, held against a log and the plain truth about it."""

import random
from bisect import bisect_left
from itertools import accumulate, pairwise

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from enricher.completed import BITS, Range, decode_completed, encode_completed
from enricher.model import Position
from enricher.offsets import SPARSE, WINDOW, OffsetTracker

BATCH = 500
"""Records that the source hands over at a time."""

LATE = 3
"""Batches that still come after the one that filled the partition."""


def claimed(position: Position) -> list[Range]:
    """What a position's metadata calls resolved."""
    ranges = decode_completed(position.offset, position.metadata)
    assert ranges is not None
    return ranges


def covers(position: Position, offset: int) -> bool:
    """Whether a commit of this position says that the offset is resolved."""
    return offset < position.offset or any(start <= offset < end for start, end in claimed(position))


class PartitionLife(RuleBasedStateMachine):
    """A log with gaps that is read, worked on, committed and read again by one tracker after the other.

    The model is the log, which records are resolved as far as the group remembers, and which are in work.
    """

    @initialize(start=st.sampled_from([0, 1, 1_000]), ended=st.integers(0, 2**20 - 1))
    def begin(self, start: int, ended: int) -> None:
        """The group has committed nothing but where it begins; a first worker then ends some works in an odd order."""
        self.log: list[int] = []
        self.log_end = start
        self.restart_from(Position(start))
        self.write([0, 0, 0, 1] * 5)
        self.read(20)
        for n, offset in enumerate(list(self.log)):
            if ended >> n & 1:
                self.tracker.resolve(offset)
                self.working.remove(offset)
                self.resolved.add(offset)
        self.stop_and_start()

    def restart_from(self, position: Position) -> None:
        """Another assignment of the partition."""
        self.tracker = OffsetTracker(position)
        assert not self.tracker.foreign_metadata
        self.known = self.committed = position
        self.read_to = position.offset
        self.working: set[int] = set()
        self.resolved = {offset for offset in self.log if covers(position, offset)}
        self.last = position.offset

    @rule(gaps=st.lists(st.sampled_from([0, 0, 0, 1, 2, 10]), max_size=12))
    def write(self, gaps: list[int]) -> None:
        """Records are appended; transaction markers and compaction leave gaps."""
        for gap in gaps:
            self.log.append(self.log_end + gap)
            self.log_end += gap + 1

    @rule(count=st.sampled_from([1, 2, 3, 12]))
    def read(self, count: int) -> None:
        """Records are read in order: each is handed out unless the group remembers it as resolved."""
        first = bisect_left(self.log, self.read_to)
        for offset in self.log[first : first + count]:
            handed_out = self.tracker.track(offset)
            assert handed_out is not covers(self.known, offset)
            if handed_out:
                self.working.add(offset)
            self.read_to = offset + 1

    @precondition(lambda self: self.working)
    @rule(data=st.data(), count=st.integers(1, 6))
    def resolve(self, data: st.DataObject, count: int) -> None:
        """Works end in any order."""
        for _ in range(min(count, len(self.working))):
            offset = data.draw(st.sampled_from(sorted(self.working)))
            self.tracker.resolve(offset)
            self.working.remove(offset)
            self.resolved.add(offset)

    @precondition(lambda self: self.working)
    @rule()
    def resolve_all_but_the_first(self) -> None:
        """One work hangs and all others end."""
        for offset in sorted(self.working)[1:]:
            self.tracker.resolve(offset)
            self.working.remove(offset)
            self.resolved.add(offset)

    @precondition(lambda self: self.working)
    @rule()
    def resolve_all(self) -> None:
        """Nothing is left in work; what is known from before may lie ahead."""
        for offset in sorted(self.working):
            self.tracker.resolve(offset)
        self.resolved |= self.working
        self.working = set()

    @rule()
    def stop_and_start(self) -> None:
        """The worker commits and ends; another goes on."""
        self.restart_from(self.tracker.position())

    @rule()
    def commit(self) -> None:
        """What a crash goes back to."""
        self.committed = self.tracker.position()

    @rule()
    def crash_and_start(self) -> None:
        """The worker ends without a commit: what was resolved since the last is forgotten, and nothing else."""
        self.restart_from(self.committed)

    @rule(keep=st.integers(0, 3))
    def start_with_a_map_that_was_cut(self, keep: int) -> None:
        """The map was too long for the metadata: what it lost is done again, the rest is not."""
        position = self.tracker.position()
        ranges = claimed(position)[:keep]
        self.restart_from(Position(position.offset, encode_completed(position.offset, ranges)))

    @invariant()
    def position_is_right(self) -> None:
        """Nothing unresolved is committed, all that is resolved is, and the committed offset never goes back."""
        position = self.tracker.position()
        ranges = claimed(position)
        assert all(first.end < second.start for first, second in pairwise(ranges))
        assert {offset for offset in self.log if covers(position, offset)} == self.resolved
        assert position.offset >= self.last
        assert position.offset <= max(self.log_end, self.known.offset)
        unresolved = [offset for offset in self.log if offset not in self.resolved]
        below = [offset for offset in self.log if not unresolved or offset < unresolved[0]]
        assert not below or position.offset > below[-1]  # no further back than need be
        self.last = position.offset

    @invariant()
    def counts_are_right(self) -> None:
        """What is pending, and how far that reaches."""
        assert self.tracker.pending == len(self.working)
        assert self.tracker.span == (self.read_to - min(self.working) if self.working else 0)
        assert not self.tracker.full
        assert len(self.tracker._tracked) <= self.tracker.span
        assert self.tracker._unresolved == self.working


TestPartitionLife = PartitionLife.TestCase
TestPartitionLife.settings = settings(
    max_examples=120, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def test_without_metadata_nothing_is_known() -> None:
    """Every record from the committed offset on is handed out, and the position follows."""
    tracker = OffsetTracker(Position(5))
    assert not tracker.foreign_metadata
    assert (tracker.position(), tracker.pending, tracker.span) == (Position(5), 0, 0)
    assert [tracker.track(offset) for offset in (5, 6, 9)] == [True] * 3
    gap = Position(5, encode_completed(5, [Range(7, 9)]))
    assert (tracker.position(), tracker.pending, tracker.span) == (gap, 3, 5)
    tracker.resolve(6)
    assert tracker.position() == Position(5, encode_completed(5, [Range(6, 9)]))
    tracker.resolve(5)
    assert (tracker.position(), tracker.pending, tracker.span) == (Position(9), 1, 1)
    tracker.resolve(9)
    assert (tracker.position(), tracker.pending, tracker.span) == (Position(10), 0, 0)


@pytest.mark.parametrize("metadata", ["another program's", "e1r!", "e2rAQE="])
def test_foreign_metadata_is_told_and_ignored(metadata: str) -> None:
    """Every record is handed out; the first commit replaces the metadata."""
    tracker = OffsetTracker(Position(5, metadata))
    assert tracker.foreign_metadata
    assert tracker.track(5)
    assert tracker.position() == Position(5)


def test_what_is_known_is_committed_before_it_is_read_again() -> None:
    """The committed offset passes the next stretch that is resolved, no further, and keeps those beyond in its map."""
    known = [Range(6, 8), Range(9, 10), Range(12, 14)]
    tracker = OffsetTracker(Position(5, encode_completed(5, known)))
    assert tracker.track(5)
    tracker.resolve(5)
    assert tracker.position() == Position(8, encode_completed(8, known[1:]))
    assert [tracker.track(offset) for offset in (6, 7, 8)] == [False, False, True]
    assert tracker.position() == Position(8, encode_completed(8, known[1:]))
    tracker.resolve(8)
    assert tracker.position() == Position(10, encode_completed(10, known[2:]))
    assert tracker.track(11)  # offset 10 is a gap
    tracker.resolve(11)
    assert tracker.position() == Position(14)


def test_an_offset_read_again_is_an_error() -> None:
    """The source promises order; what breaks it must not pass for progress."""
    tracker = OffsetTracker(Position(5))
    with pytest.raises(ValueError, match=r"^offset 4 was read after 4$"):
        tracker.track(4)
    assert tracker.track(7)
    for offset in (6, 7):
        with pytest.raises(ValueError, match=f"^offset {offset} was read after 7$"):
            tracker.track(offset)
    assert tracker.position() == Position(5 + 2)


@pytest.mark.parametrize("offset", [4, 6, 8, 9, 12, 20])
def test_only_what_is_unresolved_can_be_resolved(offset: int) -> None:
    """Not what is below, resolved already, in a gap, known from before, or not read yet."""
    tracker = OffsetTracker(Position(5, encode_completed(5, [Range(9, 10)])))
    assert [tracker.track(read) for read in (5, 6, 7, 9, 11)] == [True, True, True, False, True]
    tracker.resolve(6)
    with pytest.raises(ValueError, match=f"^offset {offset} is not unresolved here$"):
        tracker.resolve(offset)
    assert tracker.pending == 3


def tracker_with_every(step: int, count: int, *, known: int = 0, known_step: int = 1 << 28) -> OffsetTracker:
    """A tracker with ``count`` pending records, ``step`` apart, and ``known`` resolved stretches beyond."""
    base = count * step
    ranges = [Range(base + known_step * (2 * n + 1), base + known_step * (2 * n + 2)) for n in range(known)]
    tracker = OffsetTracker(Position(0, encode_completed(0, ranges)))
    assert len(claimed(tracker.position())) == known  # not cut
    for n in range(count):
        assert tracker.track(n * step)
    return tracker


def test_a_window_of_few_unresolved_records_is_not_full() -> None:
    """A record that hangs stops nobody, however far the others get."""
    tracker = tracker_with_every(1, WINDOW * 20)
    for offset in range(1, WINDOW * 20):
        tracker.resolve(offset)
    assert tracker.span == WINDOW * 20
    assert not tracker.full
    assert claimed(tracker.position()) == [Range(1, WINDOW * 20)]


def test_full_begins_with_both_a_wide_span_and_many_stretches() -> None:
    """Just below either it is not full; what is resolved makes room again."""
    tracker = tracker_with_every(1, WINDOW - 1)
    assert not tracker.full
    tracker.track(WINDOW - 1)
    assert tracker.full
    for offset in range(SPARSE, WINDOW):
        tracker.resolve(offset)
    assert tracker.full
    tracker.resolve(7)
    assert not tracker.full
    tracker.track(WINDOW)
    assert tracker.full
    tracker.resolve(0)
    tracker.resolve(1)
    assert not tracker.full


def test_stretches_known_from_before_count() -> None:
    """They take as much of the map as others, also those that lie far beyond what was read."""
    assert tracker_with_every(1, 1, known=SPARSE - 1).full
    assert not tracker_with_every(1, 1, known=SPARSE - 2).full
    assert not tracker_with_every(1, 1, known=SPARSE - 1, known_step=2).full  # a bit map does


@pytest.mark.parametrize("over", [0, 1])
def test_many_stretches_known_from_before_may_reach_as_far_as_a_bit_map(over: int) -> None:
    """Counted from the oldest unresolved record to the end of the last stretch."""
    base = 1_000_000
    steps = range(base + 100, base + 100 + 2 * SPARSE, 2)
    known = [*(Range(step, step + 1) for step in steps), Range(base + BITS - 3, base + BITS + over)]
    tracker = OffsetTracker(Position(base, encode_completed(base, known)))
    for offset in range(base, base + 10):
        assert tracker.track(offset)
    assert tracker.full is bool(over)
    assert_uncut(tracker)


def test_the_constants_are_those_that_were_measured() -> None:
    """Their docstrings count on these numbers."""
    assert (BITS, WINDOW, SPARSE) == (23_976, 16_384, 190)


def test_a_partition_with_nothing_unresolved_is_not_full() -> None:
    """Nothing would ever end that."""
    tracker = tracker_with_every(1, 0, known=SPARSE + 50, known_step=1 << 20)
    assert not tracker.full
    assert tracker.track(0)
    assert tracker.full
    tracker.resolve(0)
    assert not tracker.full


def assert_uncut(tracker: OffsetTracker) -> None:
    """The whole truth is in the metadata."""
    position = tracker.position()
    assert claimed(position) == tracker._completed(position.offset)


@pytest.mark.parametrize(
    ("step", "count", "known"),
    [
        pytest.param(1 << 28, SPARSE - 1, 0, id="pending, far apart"),
        pytest.param(1, 1, SPARSE - 2, id="known, far apart"),
        pytest.param(1, WINDOW - 1, 0, id="dense"),
    ],
)
@pytest.mark.parametrize(("gap", "batches"), [(0, 1 + LATE), (1, 1 + LATE), (14, 1)])
@pytest.mark.parametrize("ending", [0.0, 0.1, 0.5, 0.9])
def test_until_it_is_full_what_is_on_its_way_fits(
    step: int, count: int, known: int, gap: int, batches: int, ending: float
) -> None:
    """The most that is not full, and some more batches in about 7,500 offsets: all of the map fits."""
    tracker = tracker_with_every(step, count, known=known)
    assert not tracker.full
    rng = random.Random(gap)
    if count > SPARSE:
        for offset in rng.sample(range(1, count), count // 2):
            tracker.resolve(offset)
    offset = tracker._next
    for _ in range(batches * BATCH):
        offset += rng.randint(0, 2 * gap)
        assert tracker.track(offset)
        if rng.random() < ending:
            tracker.resolve(offset)
        offset += 1
    assert_uncut(tracker)
    assert tracker.full


@pytest.mark.parametrize(
    ("gap", "ending", "restarting"),
    [(0, 0.5, 0.0), (0, 0.99, 0.02), (2, 0.5, 0.0), (2, 0.9, 0.05), (2, 0.3, 0.1)],
)
def test_a_partition_that_heeds_full_never_loses_a_part_of_its_map(gap: int, ending: float, restarting: float) -> None:
    """Over batches, works that hang, and restarts, no record that was resolved and committed is handed out again."""
    rng = random.Random(gap)
    log = list(accumulate(rng.randint(1, 1 + 2 * gap) for _ in range(60 * BATCH)))
    tracker = OffsetTracker(Position(0))
    at = 0
    working: list[int] = []
    resolved: set[int] = set()
    full, late = 0, LATE
    for _ in range(70):
        if tracker.full and not late:
            full += 1
            ended = max(1, len(working) // 4)  # the oldest
        else:
            late = late - 1 if tracker.full else LATE
            for offset in log[at : at + BATCH]:
                assert tracker.track(offset) is (offset not in resolved)
                if offset not in resolved:
                    working.append(offset)
            at += BATCH
            ended = 0
        later = {offset for offset in working[ended:][-BATCH:] if rng.random() < ending}
        for offset in [*working[:ended], *later]:
            tracker.resolve(offset)
            resolved.add(offset)
        working = [offset for offset in working[ended:] if offset not in later]
        assert_uncut(tracker)
        if rng.random() < restarting:
            position = tracker.position()
            tracker = OffsetTracker(position)
            at = bisect_left(log, position.offset)
            working = []
    assert full or restarting


def test_it_tells_how_far_it_has_read_and_what_holds_it_back() -> None:
    """``seen`` is one past what was read; ``base`` stands at the oldest unresolved record, or at ``seen``."""
    tracker = OffsetTracker(Position(10))
    assert (tracker.base, tracker.seen) == (10, 10)
    tracker.track(10)
    tracker.track(15)
    tracker.resolve(15)
    assert (tracker.base, tracker.seen) == (10, 16)
    tracker.resolve(10)
    assert (tracker.base, tracker.seen) == (16, 16)
