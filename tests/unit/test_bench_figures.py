"""What the benchmark makes of what it saw."""

import pytest

from bench.contestants import WORKER, Contestant, contestants
from bench.figures import Result, Sample, percentile, ratios, speed, table, zipf
from bench.workloads import WORKLOADS
from tests.harness.program import SCRIPT


def result(cpu: float, *, added: float | None = None) -> Result:
    """A measurement that took so much CPU."""
    return Result(100, 0, 50.0, None, cpu, 700.0, 1.5, added, added, None, 90.0, 1.0, 64)


def test_speed_is_that_from_the_first_request_to_the_last_output() -> None:
    """Neither the start nor the wait after the last output counts."""
    samples = [Sample(1.0, 0, 1.0), Sample(2.0, 50, 1.5), Sample(3.0, 100, 2.0), Sample(9.0, 100, 2.5)]
    assert speed(samples) == pytest.approx((50.0, 0.01))


@pytest.mark.parametrize("samples", [[], [Sample(0.0, 0, 1.0)], [Sample(0.0, 10, 1.0), Sample(1.0, 10, 2.0)]])
def test_without_outputs_there_is_no_speed(samples: list[Sample]) -> None:
    """Nor a division by nothing."""
    assert speed(samples) == (0.0, 0.0)


def test_percentiles_are_values_that_were_seen() -> None:
    """By nearest rank."""
    values = [float(v) for v in range(100, 0, -1)]
    assert [percentile(values, q) for q in (0.0, 0.5, 0.99, 1.0)] == [1.0, 50.0, 99.0, 100.0]
    assert percentile([7.0], 0.5) == 7.0


def test_zipf_weights() -> None:
    """The share of a rank falls with its power; with the exponent 0 all are alike."""
    assert zipf(3, 0.0) == [1.0, 2.0, 3.0]
    assert zipf(3, 1.0) == pytest.approx([1.0, 1.5, 1.5 + 1 / 3])


def test_a_table_has_minimum_median_and_maximum() -> None:
    """Of the figures that there are."""
    lines = table({("paced", "worker"): [result(3.0, added=1.0), result(1.0, added=2.0), result(2.0, added=9.0)]})
    cells = {line.split()[2]: line.split()[3:] for line in lines}
    assert cells["cpu_us_per_event"] == ["1.00", "2.00", "3.00"]
    assert cells["added_p99_ms"] == ["1.00", "2.00", "9.00"]
    assert "loop_lag_p99_ms" not in cells


def test_ratios_are_taken_within_rounds() -> None:
    """A slow round is slow for both: the median of the ratios, not the ratio of the medians."""
    results = {
        ("cpu-bound", "worker"): [result(10.0), result(200.0), result(30.0)],
        ("cpu-bound", "plain-loop"): [result(5.0), result(100.0), result(30.0)],
        ("paced", "worker"): [result(1.0)],
    }
    assert ratios(results, "cpu_us_per_event", "plain-loop") == [
        "cpu-bound: cpu_us_per_event of worker is 2.00 x that of plain-loop"
    ]


def test_a_line_tells_what_is_missing() -> None:
    """And nothing of what does not apply."""
    line = result(250.0)._replace(missing=3).line()
    assert "250 us CPU per event" in line
    assert line.endswith("3 of 100 MISSING")
    assert "added" not in line


def test_the_programs_of_the_workloads_exist() -> None:
    """Each name is one of a program; a further version of the worker has names of its own."""
    known = contestants(("service.timeout=1s",), {"": SCRIPT, "@base": SCRIPT})
    assert {name for workload in WORKLOADS for name in workload.programs} <= set(known)
    assert known["worker@base"] == Contestant(WORKER + "@base", (str(SCRIPT),), ("service.timeout=1s",))
    sets = ("http.listen=127.0.0.1:0", "service.timeout=1s", "delivery.guarantee=exactly-once")
    assert known["worker-exactly-once"].sets == sets
