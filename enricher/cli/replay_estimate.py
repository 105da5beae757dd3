"""What a replay would come to: events, calls and duration, by a look at samples of the range.

Invariants: nothing is looked up and nothing is written; a small range is counted, a large one is estimated from samples
that are spread over each partition, and the result says which of the two it is.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

from enricher.cli.codecs import build_decoder
from enricher.cli.progress import clock
from enricher.cli.reading import TopicReader
from enricher.cli.registries import open_registry
from enricher.codec.writer_schemas import KnownSchemas, SchemaNeeded
from enricher.completed import Range
from enricher.config import Settings
from enricher.model import NotSelected, Record, Rejected
from enricher.replay.plan import Plan
from enricher.replay.selection import SelectingDecoder, Selection

COUNTED = 5_000
"""Offsets of a range that is counted whole."""

SAMPLES = 10
"""Places of a partition that are looked at."""

SAMPLE = 100
"""Offsets at each place."""

LATENCIES = (0.02, 0.1)
"""Seconds that a look-up may take, for the estimate of the duration."""

FASTEST = 2_500.0
"""Events per second that one process does not exceed."""


class Estimate(NamedTuple):
    """What a replay would come to.

    Attributes:
        exact: whether it was counted.
        offsets: to go through.
        events: to be looked up.
        broken: records that would become dead letters.
    """

    exact: bool
    offsets: int
    events: int
    broken: int

    def seconds(self, latency: float, settings: Settings) -> float:
        """How long the look-ups take at a latency."""
        return self.events / min(settings.service.max_in_flight / latency, FASTEST)

    def lines(self, rate: float | None, settings: Settings) -> list[str]:
        """For a person."""
        about = "" if self.exact else "about "
        lines = [
            f"{self.offsets:,} offsets to go through",
            f"{about}{self.events:,} events, which is as many calls to the service at most",
        ]
        if self.broken:
            lines.append(f"{about}{self.broken:,} records that cannot be decoded, which become dead letters")
        if rate:
            lines.append(f"at least {clock(self.events / rate)} at {rate:g} calls a second")
        flying = settings.service.max_in_flight
        times = " and ".join(f"{clock(self.seconds(t, settings))} at {t * 1000:.0f} ms" for t in LATENCIES)
        lines.append(f"about {times} a look-up, with {flying} in flight")
        return lines

    def to_json(self, rate: float | None, settings: Settings) -> dict[str, Any]:
        """For a program."""
        return {
            "exact": self.exact,
            "events": self.events,
            "calls": self.events,
            "broken": self.broken,
            "seconds_at_rate": round(self.events / rate, 1) if rate else None,
            "seconds_at_latency": {f"{t * 1000:.0f}ms": round(self.seconds(t, settings), 1) for t in LATENCIES},
        }


def estimate(settings: Settings, plan: Plan, selection: Selection) -> Estimate:
    """Look at a plan's range.

    Raises:
        KafkaException: the brokers do not answer.
        RegistryError: the schema registry does not answer.
    """
    with ExitStack() as stack:
        registry = open_registry(settings)
        if registry is not None:
            stack.callback(registry.close)
        known = None if registry is None else KnownSchemas()
        decoder = SelectingDecoder(build_decoder(settings, known), selection)

        def decode(record: Record) -> None:
            try:
                decoder.decode(record)
            except SchemaNeeded as needed:
                assert registry is not None and known is not None  # noqa: S101, PT018  nobody else needs any
                schema = registry.writer_schema(needed.key)
                if schema is None:
                    known.refuse(needed.key, "the schema registry does not know it")
                else:
                    known.add(needed.key, schema)
                decode(record)

        return _estimate(settings, plan, decode)


def _estimate(settings: Settings, plan: Plan, decode: Callable[[Record], None]) -> Estimate:
    exact = plan.offsets <= COUNTED
    events = broken = 0.0
    for topic in plan.topics:
        with TopicReader(settings.kafka.client_properties(), topic) as reader:
            for partition, span in plan.spans.items():
                if partition.topic != topic or span.start >= span.end:
                    continue
                seen = good = bad = 0
                for part in [span] if exact else _places(span):
                    seen += part.end - part.start
                    for record in _read(reader, partition.partition, part):
                        try:
                            decode(record)
                        except NotSelected:
                            continue
                        except Rejected:
                            bad += 1
                        else:
                            good += 1
                events += good * (span.end - span.start) / seen
                broken += bad * (span.end - span.start) / seen
    return Estimate(exact, plan.offsets, round(events), round(broken))


def _places(span: Range) -> list[Range]:
    """Where to look in a span: spread over it, each once."""
    length = span.end - span.start
    if length <= SAMPLES * SAMPLE:
        return [span]
    step = length // SAMPLES
    return [Range(start, start + SAMPLE) for start in range(span.start, span.start + SAMPLES * step, step)]


def _read(reader: TopicReader, partition: int, part: Range) -> Iterator[Record]:
    for record in reader.read({partition: part.start}, {partition: part.end}):
        if record is not None:
            yield record
