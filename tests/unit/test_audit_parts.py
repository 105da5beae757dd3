"""What the audit stands on: the ledger of the inputs and the table of lanes, and that their memory is bounded."""

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from enricher.audit.digests import Digest
from enricher.audit.lanes import LastOffsets
from enricher.audit.ledger import Ledger
from enricher.completed import Range

DIGEST = Digest(1, 2, 3, 4, 5)


@given(st.lists(st.tuples(st.sampled_from((0, 1, 1_024, 2_048, -1, 2**64 - 1, 7)), st.integers(0, 2**62))))
def test_lanes_know_how_far_each_has_come(advances: list[tuple[int, int]]) -> None:
    """As a dict would, also where hashes collide in the table."""
    lanes, model = LastOffsets(), dict[int, int]()
    for lane, offset in advances:
        same = lane & (2**64 - 1) or 1
        assert lanes.advance(lane, offset) == model.get(same, -1)
        model[same] = max(model.get(same, -1), offset)
        assert len(lanes) == len(model)


def test_lanes_stay_known_while_the_table_grows() -> None:
    """Some thousands of lanes, most of which begin their search in one place."""
    lanes = LastOffsets()
    for number in range(5_000):
        assert lanes.advance(number * 4_096 + 5, number) == -1
    for number in range(5_000):
        assert lanes.advance(number * 4_096 + 5, 0) == number


def test_the_ledger_keeps_what_it_was_told() -> None:
    """Within its range, once each, whatever the page."""
    ledger = Ledger(Range(500, 1_500))
    for offset in (499, 500, 511, 512, 1_499, 1_500, 512):
        ledger.add(offset, DIGEST._replace(key=offset))
    assert ledger.records == 4
    assert [ledger.digest(offset) for offset in (499, 501, 3_000)] == [None, None, None]
    assert ledger.digest(512) == DIGEST._replace(key=512)
    assert list(ledger.missing()) == [500, 511, 512, 1_499]
    assert [ledger.resolve(offset) for offset in (511, 511, 511, 500)] == [0, 1, 2, 0]
    assert list(ledger.missing()) == [512, 1_499]
    assert (ledger.resolved, ledger.repeated) == (2, 1)


def test_more_headers_than_can_be_counted_are_no_error() -> None:
    """The count is cut, so that such a record's headers count as changed rather than ending the audit."""
    ledger = Ledger(Range(0, 1))
    ledger.add(0, DIGEST._replace(header_count=70_000))
    assert ledger.digest(0) == DIGEST._replace(header_count=65_535)


def test_memory_is_some_bytes_a_record_and_a_key() -> None:
    """200,000 records cost 19 bytes each, and 100,000 keys at most 48 each, whatever was resolved of them."""
    tracemalloc.start()
    try:
        ledger = Ledger(Range(0, 200_000))
        before = tracemalloc.get_traced_memory()[0]
        for offset in range(200_000):
            ledger.add(offset, DIGEST)
            ledger.resolve(offset)
        a_record = (tracemalloc.get_traced_memory()[0] - before) / 200_000
        lanes = LastOffsets()
        before = tracemalloc.get_traced_memory()[0]
        for number in range(100_000):
            lanes.advance(hash((number, "lane")), number)
        a_key = (tracemalloc.get_traced_memory()[0] - before) / 100_000
    finally:
        tracemalloc.stop()
    assert 19 <= a_record < 21
    assert 24 <= a_key <= 49
