"""Finds what ``enricher tail`` shows: the newest records that are chosen, all of a range, or what comes.

Invariants: to find the newest, no more of a topic is read than needed: from its end backwards, in steps that grow;
memory is bounded by what is shown.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from heapq import nlargest

from enricher.cli.ranges import Edge, Point
from enricher.cli.reading import Bounds, TopicReader
from enricher.cli.tail_view import Choice, Shown, opened
from enricher.codec import Decoder, OutputReader

FIRST_STEP = 50
"""Offsets of each partition that are looked at first, at least."""

GROWTH = 4


class Finder:
    """Finds records of one topic.

    Args:
        reader: of the topic.
        outputs: reads enriched events.
        decoder: reads the events in dead letters.
        choice: what is chosen.
        start, end: points that bound it; None for the ends of the log.
    """

    def __init__(
        self,
        reader: TopicReader,
        outputs: OutputReader,
        decoder: Decoder,
        choice: Choice,
        start: Point | None = None,
        end: Point | None = None,
    ) -> None:
        self._reader = reader
        self._outputs = outputs
        self._decoder = decoder
        self._choice = choice
        self._log = reader.bounds()
        self._bounds = _within(reader, self._log, start, end)

    def everything(self) -> Iterator[Shown]:
        """All that is chosen, in the order of the log."""
        starts = {p: at.low for p, at in self._bounds.items()}
        return self._chosen(starts, {p: at.high for p, at in self._bounds.items()})

    def newest(self, last: int) -> list[Shown]:
        """The newest that are chosen, of all partitions together, by their time."""
        found: dict[int, deque[Shown]] = {p: deque(maxlen=last) for p in self._bounds}
        ends = {p: at.high for p, at in self._bounds.items()}
        step = max(last, FIRST_STEP)
        while last:
            ends = {p: end for p, end in ends.items() if end > self._bounds[p].low and len(found[p]) < last}
            if not ends:
                break
            starts = {p: max(self._bounds[p].low, end - step) for p, end in ends.items()}
            newer = {p: found[p] for p in ends}
            found |= {p: deque(maxlen=last) for p in ends}
            for shown in self._chosen(starts, ends):
                found[shown.record.partition].append(shown)
            for p, later in newer.items():
                found[p].extend(later)
            ends, step = starts, step * GROWTH
        return sorted(nlargest(last, (one for of in found.values() for one in of), key=_age), key=_age)

    def coming(self) -> Iterator[Shown]:
        """What is chosen of all that comes; without end."""
        return self._chosen({p: at.high for p, at in self._log.items()}, None)

    def _chosen(self, starts: Mapping[int, int], ends: Mapping[int, int] | None) -> Iterator[Shown]:
        choice = self._choice
        for record in self._reader.read(starts, ends):
            if record is None or not choice.covers(record):
                continue
            shown = opened(record, self._outputs, self._decoder)
            if (shown.enriched is not None or shown.letter is not None or not choice.looks_inside) and choice.wants(
                shown
            ):
                yield shown


def _age(shown: Shown) -> tuple[int, int, int]:
    record = shown.record
    return record.timestamp, record.partition, record.offset


def _within(
    reader: TopicReader, log: Mapping[int, Bounds], start: Point | None, end: Point | None
) -> dict[int, Bounds]:
    """The offsets of each partition that the points leave; times leave what may hold them."""
    bounds = dict(log)
    if isinstance(start, int):
        firsts = reader.first_since(start)
        bounds = {p: at._replace(low=min(max(at.low, firsts[p]), at.high)) for p, at in bounds.items()}
    elif isinstance(start, tuple):
        named = {here.partition: here.offset for here in start if here.topic in (None, reader.topic)}
        bounds = {p: at._replace(low=min(max(at.low, named[p]), at.high)) for p, at in bounds.items() if p in named}
    elif start is Edge.END:
        bounds = {p: at._replace(low=at.high) for p, at in bounds.items()}
    if isinstance(end, tuple):
        named = {here.partition: here.offset for here in end if here.topic in (None, reader.topic)}
        bounds = {p: at._replace(high=max(min(at.high, named[p]), at.low)) for p, at in bounds.items() if p in named}
    elif end is Edge.BEGINNING:
        bounds = {p: at._replace(high=at.low) for p, at in bounds.items()}
    return bounds
