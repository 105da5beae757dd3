"""Runs one case of ``enricher test``: the real worker, from decoder to encoder, with Kafka and the service in memory.

Invariants: time is virtual, so a case that waits an hour takes no longer than another; whatever it finds depends on the
case alone: clocks begin where it says, and jitter is drawn from a fixed seed.
"""

import asyncio
import random
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

from structlog.testing import capture_logs

from enricher.cli.codecs import offline_codecs, reader_of
from enricher.cli.compose import build_pipeline
from enricher.config.model import Guarantee, Settings
from enricher.deadletter import DeadLetterCause, parse_dead_letter
from enricher.delivery import AtLeastOnce, Delivery
from enricher.exactly_once import ExactlyOnce
from enricher.history.client import OfferHistoryClient
from enricher.model import Enriched, Record
from enricher.stats import Stats
from enricher.testing.cases.compare import ABSENT, Difference, differences, show
from enricher.testing.cases.loading import Prepared
from enricher.testing.cases.model import Expected
from enricher.testing.cases.service import ScriptedEngine
from enricher.testing.memory import MemoryBroker, MemorySink, MemorySource, MemoryTransactions
from enricher.testing.virtual_time import run_virtual

Place: TypeAlias = tuple[str, int, int]
"""Topic, partition and offset of an input."""

_GROUP = "test"
_TURN = 0.05
"""Virtual seconds between two looks at whether all is resolved."""


class Came(NamedTuple):
    """What came of an input: a record, with what it holds, and that of an output as its schema has it."""

    record: Record
    holds: Enriched | DeadLetterCause
    plain: Any = None


class Result(NamedTuple):
    """What a case has shown.

    Attributes:
        name: of the case.
        line: of its file.
        differences: by input, counted from 1.
        failure: how the worker ended by itself, None if it did not.
    """

    name: str
    line: int
    differences: tuple[tuple[int, Difference], ...]
    failure: str | None = None

    @property
    def passed(self) -> bool:
        """Whether all is as expected."""
        return not self.differences and self.failure is None


def run_case(test: Prepared) -> Result:
    """Run a case."""
    limit = test.case.within + test.settings.shutdown.deadline + 60.0
    try:
        world = _World(test)
        with capture_logs():
            failure = run_virtual(world.run(), limit=limit)
    except Exception as error:  # noqa: BLE001  one test that breaks must not keep the others from being run
        return Result(test.case.name, test.line, (), f"the test broke: {type(error).__name__}: {error}")
    found = [
        (number, difference)
        for number, (place, expected) in enumerate(zip(world.places, test.case.expect, strict=True), 1)
        for difference in _judged(expected, world.came.get(place), test.case.within)
    ]
    return Result(test.case.name, test.line, tuple(found), failure)


class _World:
    """Kafka, the service and the worker of a case."""

    def __init__(self, test: Prepared) -> None:
        self._case = test.case
        self._settings = settings = test.settings
        self._output, self._letters = settings.output.topic, settings.output.dead_letter_topic
        partitions = 1 + max(given.partition for given in test.case.input)
        topics = dict.fromkeys(settings.input.topics, partitions)
        self._broker = MemoryBroker({**topics, self._output: 1, self._letters: 1})
        self._engine = ScriptedEngine(test.answers, settings.service.timeout, settings.service.max_response)
        self._reader = reader_of(settings)
        self.places = [self._append(number) for number in range(len(test.case.input))]
        self.came: dict[Place, Came] = {}

    def _append(self, number: int) -> Place:
        given = self._case.input[number]
        record = self._broker.append(
            given.topic or self._settings.input.topics[0],
            given.data,
            key=None if given.key is None else given.key.encode(),
            partition=given.partition,
            headers=[(name, None if text is None else text.encode()) for name, text in given.headers.items()],
            timestamp=self._case.begin if given.timestamp < 0 else given.timestamp,
        )
        return record.topic, record.partition, record.offset

    async def run(self) -> str | None:
        """Let the worker work until all is resolved, or the case's time is over; tells why it ended, if by itself."""
        loop = asyncio.get_running_loop()
        begin = loop.time()

        def wall_clock() -> int:
            return self._case.begin + round((loop.time() - begin) * 1000)

        settings, stats = self._settings, Stats()
        service = settings.service
        client = OfferHistoryClient(self._engine, service.url, wall_clock=wall_clock, method=service.method)
        source = MemorySource(self._broker, _GROUP, initially=self._broker.partitions(settings.input.topics))
        pipeline = build_pipeline(
            settings,
            client,
            stats,
            codecs=offline_codecs(settings),
            source=source,
            delivery=_delivery(settings, self._broker, source, stats),
            clock=loop.time,
            wall_clock=wall_clock,
            rng=random.Random(0),  # noqa: S311  the same jitter each time
        )
        running = asyncio.create_task(pipeline.run())
        while not running.done() and loop.time() - begin < self._case.within:
            self._look()
            if len(self.came) == len(self.places):
                break
            await asyncio.sleep(_TURN)
        self._look()
        pipeline.stop()
        await asyncio.wait([running])
        error = running.exception()
        return None if error is None else f"the worker failed: {error}"

    def _look(self) -> None:
        """Take in what was written."""
        for record in self._broker.records(self._output):
            enriched, plain = self._reader.read(record.value, record.headers, record.timestamp)
            how = enriched.enrichment
            self.came[how.topic, how.partition, how.offset] = Came(record, enriched, plain)
        for record in self._broker.records(self._letters):
            cause = parse_dead_letter(record.headers)
            if cause is not None:
                self.came[cause.topic, cause.partition, cause.offset] = Came(record, cause)


def _delivery(settings: Settings, broker: MemoryBroker, source: MemorySource, stats: Stats) -> Delivery:
    if settings.delivery.guarantee is Guarantee.EXACTLY_ONCE:
        return ExactlyOnce(source, MemoryTransactions(broker, _GROUP, latency=0.002), stats)
    return AtLeastOnce(source, MemorySink(broker, latency=0.002), stats)


def _judged(expected: Expected, came: Came | None, within: float) -> Iterator[Difference]:
    """What is not as expected of one input."""
    wanted = "an output" if expected.output is not None else "a dead letter"
    if came is None:
        if expected.waits is None:
            yield Difference("", wanted, f"nothing, within {within:g} s")
        return
    if expected.waits is not None:
        yield Difference("", f"nothing, within {within:g} s", _told(came))
    elif isinstance(came.holds, Enriched) != (expected.output is not None):
        yield Difference("", wanted, _told(came))
    elif isinstance(came.holds, Enriched):
        yield from differences(expected.output, came.plain, "output")
    else:
        yield from _judged_letter(expected, came.holds)
    if expected.waits is None:
        yield from _judged_record(expected, came.record)


def _judged_letter(expected: Expected, came: DeadLetterCause) -> Iterator[Difference]:
    letter = expected.dead_letter
    wanted: dict[str, Any] = letter.model_dump(exclude_none=True) if letter is not None else {}
    part = wanted.pop("message", "")
    yield from differences(wanted, came._asdict(), "dead_letter")
    if part not in came.message:
        yield Difference("dead_letter.message", f"... {part} ...", came.message)


def _judged_record(expected: Expected, record: Record) -> Iterator[Difference]:
    if expected.key is not None:
        yield from differences(expected.key, _text(record.key), "key")
    if expected.timestamp is not None:
        yield from differences(expected.timestamp, record.timestamp, "timestamp")
    headers = {name: _text(value) for name, value in record.headers}
    for name, text in expected.headers.items():
        yield from differences(text, headers.get(name, ABSENT), f"headers.{name}")


def _told(came: Came) -> str:
    if isinstance(came.holds, DeadLetterCause):
        return f"a dead letter: {came.holds.stage}, {came.holds.cause}: {came.holds.message}"
    how = came.holds.enrichment
    return f"an output: {how.status} with {len(came.holds.offer_history.offers)} offers, {show(how.attempts)} attempts"


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "backslashreplace")
