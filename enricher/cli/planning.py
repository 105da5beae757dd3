"""Which offsets a replay goes through: the range that was asked for, held against what the topics have.

Invariants: what is refused is refused with the real bounds and with what to write instead; a range by time holds every
record of that time, wherever it stands: it is scanned to the end of the log unless the topic's own times (log append
time) or a bound on their disorder tell that nothing more can come; nothing is written.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from enricher.cli.groups import group_offsets
from enricher.cli.ranges import At, Edge, Point
from enricher.cli.reading import TopicReader, topic_settings
from enricher.completed import Range
from enricher.model import Record, TopicPartition


class BadRange(ValueError):  # noqa: N818  says what it is
    """The range is none, or not there (any more)."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The range that was asked for.

    Attributes:
        start: the first that belongs to it.
        end: the first that does not.
        partitions: numbers of those that are wanted; all if none are named.
        disorder: ms by which a record's time may lie before that of one that was written earlier; None if unknown.
        allow_missing: whether it is well that a part of it was deleted.
    """

    start: Point = Edge.BEGINNING
    end: Point = Edge.END
    partitions: frozenset[int] = frozenset()
    disorder: int | None = None
    allow_missing: bool = False


@dataclass(slots=True)
class Found:
    """What the range comes to.

    Attributes:
        spans: offsets to go through, of every partition; an empty span where there is nothing.
        since, until: the record timestamps (ms) that bound it.
        notes: what a person should know.
    """

    spans: dict[TopicPartition, Range] = field(default_factory=dict)
    since: int | None = None
    until: int | None = None
    notes: list[str] = field(default_factory=list)


def instant(milliseconds: int) -> str:
    """A time as it may be written after ``--from``."""
    at = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return at.isoformat(timespec="milliseconds" if at.microsecond else "seconds").replace("+00:00", "Z")


def find_range(properties: Mapping[str, Any], group: str, topics: Collection[str], asked: Asked, now: int) -> Found:
    """The offsets of a range.

    Args:
        properties: librdkafka's.
        group: the live one, whose position ``committed`` means.
        topics: to look at.
        asked: the range.
        now: ms.

    Raises:
        BadRange: with what is wrong, the real bounds, and what to write.
        TopicMissing: a topic is not there.
        KafkaException: the brokers do not answer.
    """
    found = Found(
        since=asked.start if isinstance(asked.start, int) else None,
        until=asked.end if isinstance(asked.end, int) else None,
    )
    with ExitStack() as stack:
        readers = [stack.enter_context(TopicReader(properties, topic)) for topic in topics]
        logs = {
            TopicPartition(reader.topic, number): Range(*bounds)
            for reader in readers
            for number, bounds in reader.bounds().items()
        }
        _check_partitions(asked, logs)
        wanted = {p: log for p, log in logs.items() if _wanted(asked, p)}
        look = _Look(properties, group, {reader.topic: reader for reader in readers}, wanted)
        _check_times(look, asked, found, now)
        starts = look.offsets(asked.start)
        settings = topic_settings(properties, topics)
        ends = look.offsets(asked.end)
        if found.until is not None:
            ends = _ends_by_time(look, found.until, asked.disorder, settings)
        for partition, log in logs.items():
            span = Range(log.end, log.end)
            if partition in wanted:
                start = min(max(starts[partition], log.start), log.end)
                span = Range(start, min(max(start, ends[partition]), log.end))
            found.spans[partition] = span
        _check_offsets(look, asked, starts, ends, found)
        found.notes += _empty(look, found)
    compacted = sorted(t for t in topics if "compact" in settings.get(t, {}).get("cleanup.policy", ""))
    if compacted:
        found.notes.append(
            f"{', '.join(compacted)}: the topic is compacted, so older events of a key may be gone; what is left is "
            "replayed"
        )
    return found


@dataclass(slots=True)
class _Look:
    """What is asked of the topics."""

    properties: Mapping[str, Any]
    group: str
    readers: Mapping[str, TopicReader]
    logs: Mapping[TopicPartition, Range]

    def offsets(self, point: Point) -> dict[TopicPartition, int]:
        """Where a point lies in each partition that is wanted."""
        if isinstance(point, int):
            return self.first_since(point)
        if point is Edge.COMMITTED:
            with group_offsets(self.properties, self.group) as live:
                positions = live.read(self.logs)
            return {p: positions[p].offset if p in positions else log.start for p, log in self.logs.items()}
        if isinstance(point, Edge):
            return {p: log.start if point is Edge.BEGINNING else log.end for p, log in self.logs.items()}
        return {p: at.offset for p in self.logs for at in point if at.names(p)}

    def first_since(self, milliseconds: int) -> dict[TopicPartition, int]:
        """The first offset of each partition whose record is not older than a time; its end where there is none."""
        found = {}
        for topic, reader in self.readers.items():
            offsets = reader.first_since(milliseconds)
            found.update({p: offsets[p.partition] for p in self.logs if p.topic == topic})
        return found

    def first(self, starts: Mapping[TopicPartition, int]) -> dict[TopicPartition, Record]:
        """The first record of each partition from an offset on, where there is one."""
        firsts: dict[TopicPartition, Record] = {}
        for topic, reader in self.readers.items():
            for partition, start in starts.items():
                if partition.topic != topic or start >= self.logs[partition].end:
                    continue
                end = self.logs[partition].end
                records = reader.read({partition.partition: start}, {partition.partition: end})
                record = next((record for record in records if record is not None), None)
                if record is not None:
                    firsts[partition] = record
        return firsts

    def describe(self) -> str:
        """The bounds of the logs, for a person."""
        lines = [f"{_name(p)} has offsets {log.start} to {log.end}" for p, log in sorted(self.logs.items())]
        return "; ".join(lines[:8]) + ("; ..." if len(lines) > 8 else "")  # noqa: PLR2004  more would not be read


def _name(partition: TopicPartition) -> str:
    return f"{partition.topic}[{partition.partition}]"


def _ats(point: Point) -> tuple[At, ...]:
    return point if isinstance(point, tuple) else ()


def _wanted(asked: Asked, partition: TopicPartition) -> bool:
    if asked.partitions and partition.partition not in asked.partitions:
        return False
    return all(not ats or any(at.names(partition) for at in ats) for ats in (_ats(asked.start), _ats(asked.end)))


def _check_partitions(asked: Asked, logs: Mapping[TopicPartition, Range]) -> None:
    numbers = {p.partition for p in logs}
    for number in sorted(asked.partitions - numbers):
        raise BadRange(f"there is no partition {number}: {_partitions(logs)}")
    for at in (*_ats(asked.start), *_ats(asked.end)):
        if not any(at.names(partition) for partition in logs):
            where = f"{at.topic}[{at.partition}]" if at.topic else f"partition {at.partition}"
            raise BadRange(f"there is no {where}: {_partitions(logs)}")
    if not any(_wanted(asked, partition) for partition in logs):
        raise BadRange("no partition is left: --from, --to and --partition name different ones")


def _partitions(logs: Mapping[TopicPartition, Range]) -> str:
    counts: dict[str, int] = {}
    for partition in logs:
        counts[partition.topic] = counts.get(partition.topic, 0) + 1
    return ", ".join(f"{topic} has partitions 0 to {count - 1}" for topic, count in sorted(counts.items()))


def _check_times(look: _Look, asked: Asked, found: Found, now: int) -> None:
    since, until = found.since, found.until
    if since is not None and until is not None and since >= until:
        raise BadRange(f"--from {instant(since)} is not before --to {instant(until)}; exchange them")
    for option, at in (("--from", since), ("--to", until)):
        if at is not None and at > now:
            hint = "leave --to out to replay all that is there now" if option == "--to" else "write an earlier time"
            raise BadRange(f"{option} {instant(at)} lies in the future (it is {instant(now)} now); {hint}")
    if since is None:
        return
    shortened = {p: log.start for p, log in look.logs.items() if log.start > 0}
    late = {p: r.timestamp for p, r in look.first(shortened).items() if r.timestamp > since}
    late |= {p: now for p, start in shortened.items() if start >= look.logs[p].end and p not in late}
    if not late:
        return
    partition = max(late, key=lambda p: late[p])
    first = instant(late[partition])
    log = look.logs[partition]
    missing = (
        f"{_name(partition)} was deleted up to offset {log.start}, and "
        + (f"begins at {first}" if log.start < log.end else "is empty now")
        + f": after --from {instant(since)}"
    )
    if not asked.allow_missing:
        raise BadRange(
            f"a part of the range is not there any more: {missing}; write --from {first} or later, or --allow-missing "
            "to replay what is left"
        )
    found.notes.append(f"a part of the range is not there any more: {missing}")


def _empty(look: _Look, found: Found) -> Iterator[str]:
    """Why a range by time holds nothing, or next to nothing, with the times that are there."""
    held = {p: log for p, log in look.logs.items() if log.start < log.end}
    if found.since is not None and held and all(found.spans[p].start >= log.end for p, log in held.items()):
        lasts = look.first({p: log.end - 1 for p, log in held.items()})
        newest = max((record.timestamp for record in lasts.values()), default=-1)
        seen = f"the logs end with one of {instant(newest)}" if newest >= 0 else "the logs are at their end"
        yield f"there is no record of --from {instant(found.since)} or later; {seen}"
    elif found.until is not None and held:
        firsts = [record.timestamp for record in look.first({p: log.start for p, log in held.items()}).values()]
        if firsts and min(firsts) >= found.until:
            yield (
                f"the logs begin with a record of {instant(min(firsts))}, after --to {instant(found.until)}: only "
                "records that are out of order can be in the range"
            )


def _ends_by_time(
    look: _Look, until: int, disorder: int | None, settings: Mapping[str, Mapping[str, str]]
) -> dict[TopicPartition, int]:
    """Where nothing more can come that was written before a time, as far as the topic tells; else the log's end."""
    ends = {p: log.end for p, log in look.logs.items()}
    ordered = {t for t, s in settings.items() if s.get("message.timestamp.type") == "LogAppendTime"}
    if ordered:
        ends |= {p: end for p, end in look.first_since(until).items() if p.topic in ordered}
    if disorder is not None:
        ends |= {p: end for p, end in look.first_since(until + disorder).items() if p.topic not in ordered}
    return ends


def _check_offsets(
    look: _Look,
    asked: Asked,
    starts: Mapping[TopicPartition, int],
    ends: Mapping[TopicPartition, int],
    found: Found,
) -> None:
    for option, ats in (("--from", _ats(asked.start)), ("--to", _ats(asked.end))):
        for partition in look.logs:
            for at in ats:
                if at.names(partition):
                    _check_offset(look, f"{option} {_name(partition)}@{at.offset}", partition, at.offset, asked)
    for partition in look.logs:
        start, end = starts[partition], ends[partition]
        if start > end and found.since is None and found.until is None:
            raise BadRange(f"--from ({start}) is past --to ({end}) in {_name(partition)}; exchange them")
    if _ats(asked.start) and _ats(asked.end):
        _check_left(look, {p: Range(starts[p], ends[p]) for p in look.logs if starts[p] < ends[p]})


def _check_offset(look: _Look, what: str, partition: TopicPartition, offset: int, asked: Asked) -> None:
    log = look.logs[partition]
    if offset > log.end:
        raise BadRange(f"{what} lies past the end of the log: {look.describe()}")
    if offset < log.start and not asked.allow_missing:
        raise BadRange(
            f"{what} lies before the log's start, and what was there is deleted: {look.describe()}; begin there, or "
            "write --allow-missing to replay what is left"
        )


def _check_left(look: _Look, spans: Mapping[TopicPartition, Range]) -> None:
    firsts = look.first({partition: max(span.start, look.logs[partition].start) for partition, span in spans.items()})
    for partition, span in spans.items():
        first = firsts.get(partition)
        if first is None or first.offset >= span.end:
            then = f"the next one is at {first.offset}" if first else "none follows"
            raise BadRange(
                f"{_name(partition)} has no record left from offset {span.start} to {span.end}: they were compacted "
                f"away, or are markers of transactions; {then}"
            )
