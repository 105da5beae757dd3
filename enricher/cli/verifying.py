"""What ``enricher verify`` does: reads input, outputs and dead letters, and gives them to the audit.

Invariants: nothing is written anywhere, and the group is left alone; where each topic ends is fixed before it is read,
and that of the input, with what the group has committed, before the others, so that outputs that come meanwhile do no
harm; memory does not grow with the outputs.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any

from confluent_kafka import IsolationLevel
from confluent_kafka import TopicPartition as KafkaPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec

from enricher.audit import Audit, Report
from enricher.cli.codecs import output_reader
from enricher.cli.groups import group_offsets
from enricher.cli.ranges import Edge, Point, resolve
from enricher.cli.reading import TIMEOUT, Bounds, TopicReader, topic_settings
from enricher.codec import OutputReader, UndecodableOutput
from enricher.completed import Range
from enricher.config import Settings
from enricher.deadletter import parse_dead_letter
from enricher.model import Record, TopicPartition

Progress = Callable[[str, int, int], None]
"""Told what is read, how many offsets of it are done, and how many there are."""

EVERY = 0.5
"""Seconds between two reports of progress."""


def verify_topics(
    settings: Settings,
    progress: Progress,
    *,
    start: Point = Edge.BEGINNING,
    end: Point = Edge.END,
    most: int = 20,
) -> Report:
    """Audit a range of the input.

    Args:
        settings: name the topics and the group.
        progress: told how far it is.
        start: the first input that belongs to the range.
        end: the first that does not.
        most: examples of each kind of finding.

    Raises:
        TopicMissing: one of the topics is not there.
        KafkaException: the brokers do not answer.
        RegistryError: the schema registry does not answer.
        ConfigError: a file that the settings of the registry name cannot be used.
    """
    kafka = settings.kafka.client_properties()
    output, dead = settings.output.topic, settings.output.dead_letter_topic
    with ExitStack() as stack:
        outputs = stack.enter_context(output_reader(settings))
        readers = {
            topic: stack.enter_context(TopicReader(kafka, topic)) for topic in (*settings.input.topics, output, dead)
        }
        inputs = [readers[topic] for topic in settings.input.topics]
        partitions = [TopicPartition(reader.topic, p) for reader in inputs for p in reader.partitions]
        with group_offsets(kafka, settings.kafka.group_id) as group:
            positions = group.read(partitions)
        logs = _logs(inputs)

        def first_since(milliseconds: int) -> dict[TopicPartition, int]:
            return {
                TopicPartition(reader.topic, p): offset
                for reader in inputs
                for p, offset in reader.first_since(milliseconds).items()
            }

        spans = resolve(start, end, logs, positions, first_since)
        audit = Audit(spans, order=settings.delivery.order, untimed=_untimed(kafka, (output, dead)), most=most)
        for reader in inputs:
            mine = {p.partition: span for p, span in spans.items() if p.topic == reader.topic}
            for record in _read(reader, mine, progress):
                audit.input(record)
        notes: list[str] = []
        for topic, take in ((dead, _take_dead_letter), (output, partial(_take_output, outputs))):
            bounds = readers[topic].bounds()
            notes += _notes(kafka, topic, bounds)
            for record in _read(readers[topic], {p: Range(*at) for p, at in bounds.items()}, progress):
                take(audit, record)
        return audit.report(positions, {**_logs(inputs)}, notes)


def _notes(kafka: dict[str, Any], topic: str, bounds: Mapping[int, Bounds]) -> Iterator[str]:
    """What makes outputs invisible though they were written."""
    latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]  # the library leaves it untyped
    asked = {KafkaPartition(topic, partition): latest for partition in bounds}
    admin = AdminClient({**kafka, "log_level": 2})
    written = admin.list_offsets(asked, isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=TIMEOUT)
    for place, answer in written.items():
        partition, at = place.partition, bounds[place.partition]
        if at.low:
            yield f"{topic}[{partition}] begins at offset {at.low}: what was deleted before it counts as missing"
        if answer.result(2 * TIMEOUT).offset > at.high:
            yield f"{topic}[{partition}] has a transaction open at offset {at.high}: what is behind it is not seen yet"


def _take_output(outputs: OutputReader, audit: Audit, record: Record) -> None:
    try:
        how = outputs.decode(record.value, record.headers).enrichment
    except UndecodableOutput:
        audit.unreadable()
    else:
        audit.output(TopicPartition(how.topic, how.partition), how.offset, record)


def _take_dead_letter(audit: Audit, record: Record) -> None:
    cause = parse_dead_letter(record.headers)
    if cause is None:
        audit.foreign()
    else:
        audit.dead_letter(TopicPartition(cause.topic, cause.partition), cause.offset, record)


def _read(reader: TopicReader, spans: Mapping[int, Range], progress: Progress) -> Iterator[Record]:
    """The records of a topic within the spans, telling how far it is now and then."""
    total = sum(span.end - span.start for span in spans.values())
    at = {partition: span.start for partition, span in spans.items()}
    told = time.monotonic()

    def done() -> int:
        return sum(at[partition] - span.start for partition, span in spans.items())

    progress(reader.topic, 0, total)
    starts = {partition: span.start for partition, span in spans.items()}
    for record in reader.read(starts, {partition: span.end for partition, span in spans.items()}):
        if record is not None:
            at[record.partition] = record.offset + 1
            yield record
        if (now := time.monotonic()) - told >= EVERY:
            told = now
            progress(reader.topic, done(), total)
    progress(reader.topic, total, total)


def _logs(readers: list[TopicReader]) -> dict[TopicPartition, Range]:
    return {TopicPartition(reader.topic, p): Range(*at) for reader in readers for p, at in reader.bounds().items()}


def _untimed(kafka: dict[str, Any], topics: tuple[str, ...]) -> set[str]:
    """Those of the topics that replace a record's timestamp by the time of writing (LogAppendTime).

    What is not ours to see does not count: timestamps are compared, as topics have the record's own by default.
    """
    settings = topic_settings(kafka, topics)
    return {topic for topic, all_ in settings.items() if all_.get("message.timestamp.type") == "LogAppendTime"}
