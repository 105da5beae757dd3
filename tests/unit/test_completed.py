"""The map of completed offsets: what is written is read back, never claims too much, and fits."""

import base64
import random
import time
import tracemalloc
import zlib
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from enricher.completed import BITS, LIMIT, Range, decode_completed, encode_completed

moderate = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])

bases = st.integers(0, 2**62)
seeds = st.integers(0, 2**32)  # of bulky data, which Hypothesis would draw bit by bit
runs = st.one_of(st.integers(1, 3), st.integers(1, 300), st.integers(1, 2**20))


def ranges_of(base: int, numbers: list[int]) -> list[Range]:
    """Run lengths, alternately unresolved and resolved, as ranges."""
    ranges = []
    for unresolved, resolved in zip(numbers[::2], numbers[1::2], strict=True):
        start = base + unresolved
        base = start + resolved
        ranges.append(Range(start, base))
    return ranges


def ranges_of_offsets(offsets: list[int]) -> list[Range]:
    """Offsets in order as ranges."""
    ranges: list[Range] = []
    for offset in offsets:
        if ranges and ranges[-1].end == offset:
            ranges[-1] = Range(ranges[-1].start, offset + 1)
        else:
            ranges.append(Range(offset, offset + 1))
    return ranges


def packed(kind: str, body: bytes) -> str:
    """Metadata of one kind."""
    return f"e1{kind}{base64.b64encode(body).decode()}"


def assert_harmless(base: int, decoded: list[Range] | None) -> None:
    """Whatever was decoded is ordered, apart from each other, above the base, and not without bounds."""
    if decoded:
        assert all(start < end for start, end in decoded)
        assert all(first.end < second.start for first, second in pairwise(decoded))
        assert decoded[0].start > base
        assert decoded[-1].end - base <= 2**40


@moderate
@given(bases, st.lists(st.tuples(runs, runs), max_size=120))
def test_a_small_map_comes_back_whole(base: int, pairs: list[tuple[int, int]]) -> None:
    """Up to some hundred ranges fit, whatever their lengths."""
    ranges = ranges_of(base, [run for pair in pairs for run in pair])
    metadata = encode_completed(base, ranges)
    assert decode_completed(base, metadata) == ranges
    assert len(metadata) <= LIMIT


@moderate
@given(
    bases,
    seeds,
    st.integers(1, 6_000),
    st.sampled_from([2, 50, 300, 70_000, 2**30]),
    st.sampled_from([2, 50, 300, 70_000, 2**30]),
)
def test_a_map_of_any_size_is_a_prefix_of_the_truth(base: int, seed: int, count: int, gap: int, length: int) -> None:
    """What does not fit is cut at its end, and no more than a quarter of what would have fitted."""
    rng = random.Random(seed)
    ranges = ranges_of(base, [run for _ in range(count) for run in (rng.randrange(1, gap), rng.randrange(1, length))])
    metadata = encode_completed(base, ranges)
    decoded = decode_completed(base, metadata)
    assert decoded is not None
    assert decoded == ranges[: len(decoded)]
    assert len(metadata) <= LIMIT
    if len(decoded) < count:
        rest = ranges[: len(decoded) * 4 // 3 + 1]
        one_more = encode_completed(base, rest)
        assert len(decode_completed(base, one_more) or ()) < len(rest)


@pytest.mark.parametrize("first", [0, 1])
def test_every_other_of_16384_offsets_fits(first: int) -> None:
    """The most ranges that a window can have come back whole, and short, as the pattern is regular."""
    ranges = ranges_of_offsets(list(range(1 + first, 16_384, 2)))
    metadata = encode_completed(0, ranges)
    assert decode_completed(0, metadata) == ranges
    assert len(metadata) < 200


@settings(moderate, max_examples=30)
@given(seeds, st.floats(0.0, 1.0))
def test_as_many_offsets_as_promised_fit_whichever_are_resolved(seed: int, density: float) -> None:
    """``BITS`` offsets fit without being cut, and the last one counts."""
    rng = random.Random(seed)
    base = rng.choice([0, 10**9])
    offsets = [base + offset for offset in range(1, BITS - 1) if rng.random() < density]
    ranges = ranges_of_offsets([*offsets, base + BITS - 1])
    metadata = encode_completed(base, ranges)
    assert decode_completed(base, metadata) == ranges
    assert len(metadata) <= LIMIT


def test_the_promise_is_used_up() -> None:
    """Random bits beyond ``BITS`` do not fit: the promise is no smaller than need be."""
    rng = random.Random(1)
    ranges = ranges_of_offsets([offset for offset in range(1, BITS + 2_000) if rng.random() < 0.5])
    decoded = decode_completed(0, encode_completed(0, ranges))
    assert decoded is not None
    assert len(ranges) * 3 // 4 == len(decoded)


@pytest.mark.parametrize(
    ("ranges", "metadata"),
    [
        pytest.param([], "", id="nothing"),
        pytest.param([Range(1, 2)], "e1bAg==", id="bits of one byte"),
        pytest.param([Range(1, 9)], "e1rAQg=", id="runs where both are as long"),
        pytest.param([Range(5, 300)], packed("r", b"\x05\xa7\x02"), id="runs"),
        pytest.param(
            [Range(128, 255), Range(16_639, 16_640)], packed("r", b"\x80\x01\x7f\x80\x80\x01\x01"), id="LEB128"
        ),
        pytest.param(
            [Range(n, n + 1) for n in range(1, 2_000, 2)],
            packed("B", zlib.compress(b"\xaa" * 250, 6)),
            id="deflated bits",
        ),
        pytest.param(
            [Range(n, n + 1_000) for n in range(10_000, 5_000_000, 10_000)],
            packed("R", zlib.compress(b"\x90\x4e\xe8\x07" + b"\xa8\x46\xe8\x07" * 498, 6)),
            id="deflated runs",
        ),
    ],
)
def test_the_format_is_as_described(ranges: list[Range], metadata: str) -> None:
    """Each form has fixed bytes, the shortest is taken: what an older worker committed is still read."""
    moved = [Range(start + 100, end + 100) for start, end in ranges]
    assert encode_completed(100, moved) == metadata
    assert decode_completed(100, metadata) == moved


@pytest.mark.parametrize("offsets", [65_536 * 8, 65_536 * 8 + 1])
def test_the_largest_deflated_map_can_be_read(offsets: int) -> None:
    """At and beyond the limit of the bit map (64 KiB, inflated) what is written is read back."""
    ranges = ranges_of_offsets(list(range(1, offsets, 5)))
    ranges[-1] = Range(ranges[-1].start, offsets)
    metadata = encode_completed(0, ranges)
    decoded = decode_completed(0, metadata)
    assert decoded is not None
    assert decoded == ranges[: len(decoded)]
    assert len(decoded) > 10_000
    if offsets == 65_536 * 8:
        assert decoded == ranges


def test_deflated_runs_that_could_not_be_read_are_not_written() -> None:
    """More runs than a reader takes, too far apart for a bit map, are cut until they can be read."""
    ranges = [Range(n * 40 + 1, n * 40 + 20) for n in range(60_000)]
    decoded = decode_completed(0, encode_completed(0, ranges))
    assert decoded == ranges[: len(decoded or ())]
    assert len(decoded or ()) == 25_312  # 60,000 less a quarter three times


def test_a_map_wider_than_a_reader_believes_is_cut() -> None:
    """Ranges up to 2**40 offsets beyond the committed one are written, others left out."""
    ranges = [Range(1, 2), Range(3, 2**40)]
    assert decode_completed(0, encode_completed(0, ranges)) == ranges
    wider = [Range(1, 2), Range(3, 2**40 + 1)]
    assert decode_completed(0, encode_completed(0, wider)) == wider[:1]
    assert encode_completed(0, [Range(1, 2**41)]) == ""


@pytest.mark.parametrize(
    "metadata",
    [
        pytest.param("some other program's", id="foreign"),
        pytest.param("e2rAQE=", id="newer"),
        pytest.param("e1", id="no kind"),
        pytest.param("e1xAQE=", id="unknown kind"),
        pytest.param("e1rAQE", id="no padding"),
        pytest.param("e1rA QE=", id="space"),
        pytest.param("e1r\u00e9\u00e9\u00e9\u00e9", id="not ASCII"),
        pytest.param(packed("r", b"\x01"), id="odd number of runs"),
        pytest.param(packed("r", b"\x01\x81"), id="ends within a number"),
        pytest.param(packed("r", b"\x00\x01"), id="resolved at the committed offset"),
        pytest.param(packed("r", b"\x01\x00"), id="run of length zero"),
        pytest.param(packed("b", b"\x01"), id="bit of the committed offset"),
        pytest.param(packed("b", b"\x00"), id="no bit"),
        pytest.param(packed("b", b""), id="no bits"),
        pytest.param(packed("R", b"\x01\x01"), id="not deflated"),
        pytest.param(packed("R", zlib.compress(b"\x01\x01")[:-1]), id="deflated, truncated"),
        pytest.param(packed("r", b"\x01\x80\x80\x80\x80\x80\x20"), id="one run too long"),
        pytest.param(packed("r", b"\x01\xff\xff\xff\xff\xff\x1f\x01\x01"), id="too long together"),
        pytest.param(packed("b", b"\x02" + b"\x00" * 3_000 + b"\x01"), id="longer than ever written"),
        pytest.param(packed("B", zlib.compress(b"\x02" * 65_538)), id="inflates to more than ever written"),
    ],
)
def test_metadata_that_is_not_ours_is_told_apart(metadata: str) -> None:
    """It gives None, which is not the same as nothing resolved."""
    assert decode_completed(7, metadata) is None


@moderate
@given(bases, st.one_of(st.text(), st.builds(packed, st.sampled_from("rbRB"), st.binary(max_size=200))))
def test_garbage_is_harmless(base: int, metadata: str) -> None:
    """Any text is decoded to None or to something that could be a map."""
    assert_harmless(base, decode_completed(base, metadata))


@moderate
@given(bases, st.sampled_from("RB"), st.binary(max_size=300))
def test_deflated_garbage_is_harmless(base: int, kind: str, body: bytes) -> None:
    """So is any body, properly deflated."""
    assert_harmless(base, decode_completed(base, packed(kind, zlib.compress(body))))


@moderate
@given(st.lists(st.tuples(runs, runs), min_size=1, max_size=50), st.integers(0), st.characters(codec="ascii"))
def test_a_damaged_map_is_harmless(pairs: list[tuple[int, int]], at: int, character: str) -> None:
    """One wrong character does not do more than change what is claimed."""
    metadata = encode_completed(0, ranges_of(0, [run for pair in pairs for run in pair]))
    at %= len(metadata)
    assert_harmless(0, decode_completed(0, metadata[:at] + character + metadata[at + 1 :]))


bombs = pytest.mark.parametrize(
    "metadata",
    [
        pytest.param(packed("B", zlib.compress(b"\x02" * 2_900_000, 9)), id="bits"),
        pytest.param(packed("R", zlib.compress(b"\x01" * 2_900_000, 9)), id="runs"),
        pytest.param(packed("R", zlib.compress(b"\xff" * 2_900_000, 9)), id="one number"),
        pytest.param(
            packed("R", zlib.compress(b"\xff" * 65_535 + b"\x01", 9)), id="one number, of a size that is read"
        ),
        pytest.param(packed("R", zlib.compress(b"\x80" * 65_000 + b"\x01\x01", 9)), id="one number of mostly zeros"),
        pytest.param(packed("r", b"\xff" * 1_000_000), id="too long to be looked at"),
    ],
)


@bombs
def test_a_bomb_takes_little_memory(metadata: str) -> None:
    """What 4,000 characters can be inflated to is not inflated."""
    tracemalloc.start()
    try:
        assert decode_completed(0, metadata) is None
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000


@bombs
def test_a_bomb_takes_little_time(metadata: str) -> None:
    """A number as long as the longest body is added up in quadratic time, which is short as the body is."""
    started = time.thread_time()
    assert decode_completed(0, metadata) is None
    assert time.thread_time() - started < 0.5
