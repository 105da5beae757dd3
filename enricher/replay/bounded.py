"""A source that ends: it gives the pipeline the records below fixed ends, and no others.

Invariants: the pipeline never sees a record at or past its partition's end; when a partition is read to its end, the
pipeline has seen an offset just below it (a ``Filler`` where the log has none there: compaction, a transaction's
marker), so that what it commits reaches the end; a partition that is read to its end stays paused. Pure but for the
calls that it passes on.
"""

from collections.abc import Collection, Mapping

from enricher.model import Position, Record, TopicPartition
from enricher.protocols import EndTellingSource, Listener
from enricher.replay.selection import Filler


class BoundedSource:
    """Stands between a source and the pipeline. Fits ``enricher.protocols.Source``, and ``Listener`` to the other side.

    Args:
        source: the one that reads.
        ends: of each partition; what is not in it is not read at all.

    Attributes:
        fillers: how many records the pipeline has seen that are none.
    """

    _listener: Listener

    def __init__(self, source: EndTellingSource, ends: Mapping[TopicPartition, int]) -> None:
        self._source = source
        self._ends = dict(ends)
        self._next: dict[TopicPartition, int] = {}  # of each assigned partition, one past the last that was passed on
        self._done: set[TopicPartition] = set()
        self.fillers = 0

    # ---- what the pipeline calls -------------------------------------------------------------------------------

    async def start(self, listener: Listener) -> None:
        """See ``enricher.protocols.Source``."""
        self._listener = listener
        self._source.on_end = self._end_met
        await self._source.start(self)

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        """See ``enricher.protocols.Source``."""
        self._source.pause(partitions)

    def resume(self, partitions: Collection[TopicPartition]) -> None:
        """See ``enricher.protocols.Source``; those at their end stay as they are."""
        if going_on := [partition for partition in partitions if partition not in self._done]:
            self._source.resume(going_on)

    async def commit(self, positions: Mapping[TopicPartition, Position]) -> None:
        """See ``enricher.protocols.Source``."""
        await self._source.commit(positions)

    def group(self) -> object:
        """See ``enricher.protocols.Source``."""
        return self._source.group()

    async def close(self) -> None:
        """See ``enricher.protocols.Source``."""
        await self._source.close()

    # ---- what the source tells ---------------------------------------------------------------------------------

    def assigned(self, partitions: Mapping[TopicPartition, Position]) -> None:
        """See ``enricher.protocols.Listener``."""
        self._done.difference_update(partitions)
        self._next.update({partition: at.offset for partition, at in partitions.items()})
        self._listener.assigned(partitions)
        self._finish([partition for partition, at in partitions.items() if at.offset >= self._ends.get(partition, 0)])

    def records(self, batch: Collection[Record]) -> None:
        """See ``enricher.protocols.Listener``."""
        within: list[Record] = []
        ended: list[TopicPartition] = []
        for record in batch:
            partition = record.source
            if partition in self._done or partition not in self._next:
                continue
            end = self._ends[partition]
            if record.offset < end:
                within.append(record)
                self._next[partition] = record.offset + 1
            if record.offset >= end - 1:
                within += self._fill(partition)
                self._done.add(partition)
                ended.append(partition)
        self._listener.records(within)
        self._finish(ended)

    async def revoked(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, Position]:
        """See ``enricher.protocols.Listener``."""
        self._forget(partitions)
        return await self._listener.revoked(partitions)

    def lost(self, partitions: Collection[TopicPartition]) -> None:
        """See ``enricher.protocols.Listener``."""
        self._forget(partitions)
        self._listener.lost(partitions)

    def failed(self, error: Exception) -> None:
        """See ``enricher.protocols.Listener``."""
        self._listener.failed(error)

    # ---- inside ------------------------------------------------------------------------------------------------

    def _end_met(self, partition: TopicPartition, offset: int) -> None:
        """The log ends at ``offset``; that is past our end where the last records before it are gone."""
        if partition in self._next and partition not in self._done and offset >= self._ends[partition]:
            self._listener.records(self._fill(partition))
            self._finish([partition])

    def _fill(self, partition: TopicPartition) -> list[Record]:
        """The record that takes the pipeline to the end of a partition, if it is not there yet."""
        last = self._ends[partition] - 1
        if self._next[partition] > last:
            return []
        self._next[partition] = last + 1
        self.fillers += 1
        return [Filler(partition.topic, partition.partition, last, -1, None, None, [])]

    def _finish(self, partitions: Collection[TopicPartition]) -> None:
        self._done.update(partitions)
        if partitions:
            self._source.pause(partitions)

    def _forget(self, partitions: Collection[TopicPartition]) -> None:
        for partition in partitions:
            self._next.pop(partition, None)
            self._done.discard(partition)
