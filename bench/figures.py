"""Figures of what was measured, and tables of them. Pure."""

import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Sample(NamedTuple):
    """A look at a program while it runs."""

    at: float
    done: int
    cpu: float


class Result(NamedTuple):
    """One measurement; what does not apply is None.

    Attributes:
        events: given.
        missing: of those, not in the output at the deadline.
        events_per_second: from the first request that the service got to the last output.
        share_of_limit: of the events per second that the service's latency allows.
        cpu_us_per_event: user and system time of the process in that time.
        start_cpu_ms: the same before it.
        start_seconds: from the start of the process to the first output.
        added_p50_ms, added_p99_ms: from before the input is written to the broker's time of the output, less the
            service's latency.
        loop_lag_p99_ms: by how much the worker's event loop is late.
        peak_mib: resident memory.
        calls_per_event: requests that the service got.
        connections: that the service got.
    """

    events: int
    missing: int
    events_per_second: float
    share_of_limit: float | None
    cpu_us_per_event: float
    start_cpu_ms: float
    start_seconds: float
    added_p50_ms: float | None
    added_p99_ms: float | None
    loop_lag_p99_ms: float | None
    peak_mib: float
    calls_per_event: float
    connections: int

    def line(self) -> str:
        """For a person."""
        parts = [
            f"{self.events_per_second:,.0f} events/s",
            f"{self.cpu_us_per_event:,.0f} us CPU per event",
            f"start {self.start_seconds:.1f} s",
            f"{self.peak_mib:.0f} MiB",
            f"{self.calls_per_event:.2f} calls per event over {self.connections} connections",
        ]
        if self.share_of_limit is not None:
            parts.insert(1, f"{self.share_of_limit:.0%} of the limit")
        if self.added_p50_ms is not None:
            parts.insert(1, f"added {self.added_p50_ms:.1f} ms p50, {self.added_p99_ms:.1f} ms p99")
        if self.loop_lag_p99_ms is not None:
            parts.append(f"loop lag p99 {self.loop_lag_p99_ms:.1f} ms")
        if self.missing:
            parts.append(f"{self.missing} of {self.events:,} MISSING")
        return ", ".join(parts)


FIGURES = (
    "events_per_second", "share_of_limit", "cpu_us_per_event", "start_cpu_ms", "start_seconds", "added_p50_ms",
    "added_p99_ms", "loop_lag_p99_ms", "peak_mib", "calls_per_event", "connections",
)  # fmt: skip


def speed(samples: Sequence[Sample]) -> tuple[float, float]:
    """Events per second, and CPU seconds per event, from the first sample to the last with a new output."""
    if not samples:
        return 0.0, 0.0
    begun = samples[0]
    ended = next(sample for sample in samples if sample.done == samples[-1].done)
    done = ended.done - begun.done
    if not done or ended.at <= begun.at:
        return 0.0, 0.0
    return done / (ended.at - begun.at), (ended.cpu - begun.cpu) / done


def percentile(values: Sequence[float], q: float) -> float:
    """The value below which the share ``q`` (0 to 1) lies: one of them, by nearest rank."""
    ordered = sorted(values)
    return ordered[max(0, min(len(ordered) - 1, round(q * len(ordered)) - 1))]


def zipf(count: int, exponent: float) -> list[float]:
    """Cumulated weights of ``count`` ranks; all alike for the exponent 0."""
    total = 0.0
    return [total := total + rank**-exponent for rank in range(1, count + 1)]


def table(results: Mapping[tuple[str, str], Sequence[Result]]) -> list[str]:
    """Minimum, median and maximum of each figure, by workload and program."""
    lines = [f"{'workload':<10} {'program':<26} {'figure':<18} {'min':>10} {'median':>10} {'max':>10}"]
    for (workload, program), rounds in results.items():
        for figure in FIGURES:
            values = [value for result in rounds if (value := getattr(result, figure)) is not None]
            if values:
                low, middle, high = min(values), statistics.median(values), max(values)
                lines.append(f"{workload:<10} {program:<26} {figure:<18} {low:>10.2f} {middle:>10.2f} {high:>10.2f}")
    return lines


def ratios(results: Mapping[tuple[str, str], Sequence[Result]], figure: str, reference: str) -> list[str]:
    """How the figure of each program compares with that of the reference: the median of the ratios within rounds."""
    lines = []
    for (workload, program), rounds in results.items():
        others = results.get((workload, reference), ())
        pairs = [
            getattr(one, figure) / getattr(other, figure)
            for one, other in zip(rounds, others, strict=False)
            if getattr(other, figure) and getattr(one, figure)
        ]
        if pairs and program != reference:
            lines.append(f"{workload}: {figure} of {program} is {statistics.median(pairs):.2f} x that of {reference}")
    return lines
