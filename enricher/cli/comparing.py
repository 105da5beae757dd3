"""What ``enricher replay --compare`` does: holds what would be published against what the output topic holds.

Invariants: nothing is published; memory is bounded: the outputs of the range wait in a temporary file that has no name
and goes with the process; where an event has several outputs, the one read last counts; the groups that it needs for
reading are deleted at the end.
"""

import asyncio
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import msgspec
import typer
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from enricher.cli.codecs import output_reader
from enricher.cli.compose import run_until_signal
from enricher.cli.options import FAILED, FOUND_WRONG
from enricher.cli.planning import instant
from enricher.cli.plans import Plans
from enricher.cli.progress import Figures, progress
from enricher.cli.reading import TIMEOUT, TopicReader
from enricher.cli.replaying import Replay, run_replay
from enricher.codec import OutputReader, UndecodableOutput
from enricher.config import Settings
from enricher.deadletter import parse_dead_letter
from enricher.delivery import AtLeastOnce
from enricher.model import Headers, Outgoing, Record, TopicPartition
from enricher.protocols import Delivered, Source
from enricher.replay.compare import Comparison, Output, schema_of
from enricher.replay.plan import Plan, progress_group, range_group
from enricher.stats import Stats

if TYPE_CHECKING:
    from enricher.cli.replay_command import Command

_ROWS = 1_000
_TIMES = frozenset({"timestamp", "contactTime", "asOf", "outcomeTime"})


class Published:
    """The outputs of a range, by the place of their event: in a temporary file."""

    def __init__(self, reader: OutputReader) -> None:
        self.reader = reader
        self._base = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._base.execute("PRAGMA journal_mode = OFF")
        self._base.execute(
            "CREATE TABLE output (topic TEXT, part INT, off INT, key BLOB, headers BLOB, time INT, value BLOB, "
            "PRIMARY KEY (topic, part, off)) WITHOUT ROWID"
        )

    def add(self, source: TopicPartition, offset: int, record: Record) -> None:
        """Keep an output; a later one of the event takes its place."""
        headers = msgspec.msgpack.encode(record.headers)
        self._base.execute(
            "INSERT OR REPLACE INTO output VALUES (?, ?, ?, ?, ?, ?, ?)",
            (*source, offset, record.key, headers, record.timestamp, record.value),
        )

    def get(self, source: TopicPartition, offset: int) -> Output | None:
        """The output of an event; None where there is none.

        Raises:
            UndecodableOutput: it cannot be read.
        """
        found = self._base.execute(
            "SELECT key, headers, time, value FROM output WHERE topic = ? AND part = ? AND off = ?", (*source, offset)
        ).fetchone()
        if found is None:
            return None
        key, headers, timestamp, value = found
        pairs = msgspec.msgpack.decode(headers, type=list[tuple[str, bytes | None]])
        return Output(key, pairs, timestamp, schema_of(value, pairs), self.reader.decode(value, pairs, timestamp))

    def close(self) -> None:
        """Forget all."""
        self._base.close()


class ComparingSink:
    """Takes outputs and dead letters as a sink does, and compares them instead of writing them."""

    def __init__(self, output: str, published: Published, comparison: Comparison) -> None:
        self._output = output
        self._published = published
        self._comparison = comparison

    async def start(self) -> None:
        """See ``enricher.protocols.Sink``."""

    def produce(self, record: Outgoing, delivered: Delivered) -> bool:
        """Compare; see ``enricher.protocols.Sink``."""
        if record.topic == self._output:
            self._compare(record.key, record.headers, record.timestamp, record.value or b"")
        elif (cause := parse_dead_letter(record.headers)) is not None:
            source = TopicPartition(cause.topic, cause.partition)
            with suppress(UndecodableOutput):
                there = self._published.get(source, cause.offset) is not None
                event = f"{cause.topic}[{cause.partition}]@{cause.offset}"
                self._comparison.rejected(event, cause.cause, was_published=there)
        asyncio.get_running_loop().call_soon(delivered, None)
        return True

    async def writable(self) -> None:
        """See ``enricher.protocols.Sink``."""

    async def flush(self) -> None:
        """See ``enricher.protocols.Sink``: what was taken is answered in the loop's next turn."""
        await asyncio.sleep(0)

    async def close(self) -> None:
        """See ``enricher.protocols.Sink``."""

    def _compare(self, key: bytes | None, headers: Headers, timestamp: int, value: bytes) -> None:
        enriched = self._published.reader.decode(value, headers, timestamp)
        new = Output(key, headers, timestamp, schema_of(value, headers), enriched)
        how = new.enriched.enrichment
        try:
            old = self._published.get(TopicPartition(how.topic, how.partition), how.offset)
        except UndecodableOutput:
            self._comparison.unreadable += 1
        else:
            self._comparison.compare(old, new)


def compare(command: "Command", examples: int) -> int:
    """Compare a range; returns the exit code.

    Raises:
        BadRange: the range is none.
        TopicMissing: a topic is not there.
        KafkaException: the brokers do not answer.
    """
    settings = command.loaded.settings
    plan, notes = command.make()
    comparison = Comparison(most=examples)
    with output_reader(settings) as reader, closing(Published(reader)) as published:
        with progress(f"reading {settings.output.topic}", "outputs") as tell:
            unreadable = _read(settings, plan, published, tell)
        if unreadable:
            notes.append(
                f"{unreadable:,} records of {settings.output.topic} cannot be read as enriched events: they are of "
                "another program, or in a schema that is not known, and count as no event's output"
            )
        done = _look_up(command, plan, published, comparison)
    if command.as_json:
        result = {
            "complete": done,
            "different": comparison.different,
            **msgspec.to_builtins(comparison),
            "notes": notes,
        }
        typer.echo(json.dumps(result))
    else:
        typer.echo("\n".join([*_lines(settings, comparison, done=done), *(f"note: {note}" for note in notes)]))
    if not done:
        return FAILED
    return FOUND_WRONG if comparison.different else 0


def _look_up(command: "Command", plan: Plan, published: Published, comparison: Comparison) -> bool:
    settings = command.loaded.settings
    kafka, group = settings.kafka.client_properties(), settings.kafka.group_id
    name = f"compare-{uuid4().hex[:8]}"
    plans = Plans(kafka, group, settings.input.topics)
    plans.begin(name, lambda: plan)
    replay = command.replay_of(name, plan)
    stats = Stats()

    def delivery(settings: Settings, source: Source, stats: Stats) -> AtLeastOnce:
        return AtLeastOnce(source, ComparingSink(settings.output.topic, published, comparison), stats)

    try:
        with closing(plans.progress(name)) as offsets, progress("comparing", "compare") as tell:
            work: Callable[[asyncio.Event], Any] = partial(_run, replay, stats, offsets, tell, delivery)
            return bool(run_until_signal(work))
    finally:
        _forget(kafka, [progress_group(group, name), range_group(group, name)])


async def _run(
    replay: Replay, stats: Stats, offsets: Any, tell: Callable[[Figures], None], delivery: Any, stop: asyncio.Event
) -> bool:
    return await run_replay(replay, stats, offsets, tell, stop, delivery)


def _forget(kafka: dict[str, Any], groups: list[str]) -> None:
    admin = AdminClient({**kafka, "log_level": 2})
    for answer in admin.delete_consumer_groups(groups, request_timeout=TIMEOUT).values():
        with suppress(KafkaException, TimeoutError):  # the brokers forget them by themselves, if later
            answer.result(2 * TIMEOUT)


def _read(settings: Settings, plan: Plan, published: Published, tell: Callable[[Figures], None]) -> int:
    """Keep the outputs of the range's events, which have the times of these; returns how many cannot be read."""
    unreadable = 0
    with TopicReader(settings.kafka.client_properties(), settings.output.topic) as reader:
        bounds = reader.bounds()
        since = plan.terms.since
        starts = {p: at.low for p, at in bounds.items()} if since is None else reader.first_since(since)
        total = sum(at.high - starts[p] for p, at in bounds.items())
        at = dict(starts)
        read = 0
        for record in reader.read(starts, {p: at.high for p, at in bounds.items()}):
            if record is None:
                continue
            at[record.partition] = record.offset + 1
            read += 1
            if read % _ROWS == 0:
                tell(Figures(sum(at[p] - start for p, start in starts.items()), total, read))
            try:
                how = published.reader.decode(record.value, record.headers).enrichment
            except UndecodableOutput:
                unreadable += 1
                continue
            source = TopicPartition(how.topic, how.partition)
            span = plan.spans.get(source)
            if span is not None and span.start <= how.offset < span.end:
                published.add(source, how.offset, record)
        tell(Figures(total, total, read))
    return unreadable


def _lines(settings: Settings, found: Comparison, *, done: bool) -> Iterator[str]:
    total = found.same + found.changed + found.new + found.dead + found.dead_before + found.unreadable
    yield f"{'compared' if done else 'interrupted; compared'} {total:,} events with {settings.output.topic}"
    yield f"  {found.same:,} would be the same"
    for count, words in (
        (found.changed, "would change"),
        (found.new, "have no output there, and would have one"),
        (found.dead, "have an output, and would become dead letters"),
        (found.dead_before, "have no output, and would become dead letters (no difference)"),
        (found.unreadable, "have an output that cannot be read"),
    ):
        if count:
            yield f"  {count:,} {words}"
    for field, count in found.fields.most_common():
        yield f"{field}: {count:,}"
        yield from _examples(found, field)
    for field, words in (("(no output)", "without an output"), ("(dead letter)", "would become dead letters")):
        if field in found.examples:
            yield f"{words}:"
            yield from _examples(found, field)
    if not found.different:
        yield "no difference"
    yield "not compared: the time of the look-up, the attempts, the version of enricher"


def _examples(found: Comparison, field: str) -> Iterator[str]:
    for example in found.examples.get(field, ()):
        change = f"  {_told(field, example.old)} -> {_told(field, example.new)}" if example.old or example.new else ""
        yield f"    {example.event}{change}"


def _told(field: str, text: str) -> str:
    """A value of an example; milliseconds as a person reads them."""
    number, space, rest = text.partition(" ")
    if field.rpartition(".")[2] not in _TIMES or not number.isdecimal():
        return text
    with suppress(ValueError, OverflowError):  # there may be any number
        number = instant(int(number))
    return f"{number}{space}{rest}"
