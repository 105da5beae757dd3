"""The latencies' histogram."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enricher.stats import BOUNDS, Histogram, Stats


@given(st.lists(st.floats(0.0, BOUNDS[-1]), min_size=1, max_size=200), st.floats(0.0, 1.0))
def test_a_quantile_is_within_ten_per_cent(durations: list[float], q: float) -> None:
    """The quantile is at or above the true one, and at most a bucket's width too high."""
    histogram = Histogram()
    for duration in durations:
        histogram.add(duration)
    ordered = sorted(durations)
    rank = next(rank for rank in range(1, len(ordered) + 1) if rank >= q * len(ordered))
    true = ordered[rank - 1]
    assert true <= histogram.quantile(q) * (1 + 1e-9)
    assert histogram.quantile(q) <= max(true, BOUNDS[0]) * 1.1 * (1 + 1e-9)


@pytest.mark.parametrize("seconds", [0.0, 1e-9, 1e6])
def test_durations_outside_the_bounds_are_counted(seconds: float) -> None:
    """They fall into the first and the last bucket."""
    histogram = Histogram()
    histogram.add(seconds)
    assert (histogram.count, histogram.total, sum(histogram.counts)) == (1, seconds, 1)
    assert histogram.quantile(0.5) == (BOUNDS[0] if seconds < 1 else BOUNDS[-1])


def test_nothing_counted_is_zero() -> None:
    """A histogram without a duration has the quantile 0."""
    assert Histogram().quantile(0.99) == 0.0


def test_dead_letters_are_summed_over_causes() -> None:
    """One number for all stages and causes."""
    stats = Stats()
    stats.dead_letters["decode", "InvalidJson"] += 2
    stats.dead_letters["lookup", "BadRequest"] += 1
    assert stats.dead_lettered == 3
