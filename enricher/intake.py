"""Takes records in: decodes them in their order, and holds a partition back while a schema for it is fetched.

A record whose schema is not known yet must not be overtaken by those behind it, so they wait with it, partition by
partition; the others go on. What waits counts as held, so that a partition which waits for long is paused.

Invariants: works leave in the order in which they came, partition by partition; when a partition goes, nothing of it
is left here, and nobody fetches for it any more.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Coroutine
from typing import Any, Protocol

from enricher.codec.framing import SchemaKey
from enricher.codec.writer_schemas import SchemaNeeded
from enricher.model import Event, NotSelected, Record, Rejected, TopicPartition
from enricher.work import Work


class Decoder(Protocol):
    """Bytes to an event."""

    def decode(self, record: Record) -> Event:
        """Raises ``Rejected``, ``NotSelected``; ``SchemaNeeded`` where a schema has to be fetched first."""
        ...


class SchemaFetcher(Protocol):
    """Asks a registry."""

    async def fetch(self, key: SchemaKey) -> None:
        """Return when it is known what the key stands for, or that it stands for nothing; however long that takes."""
        ...


class _Waiting:
    """What waits of one partition, and the task that fetches for it."""

    __slots__ = ("task", "works")

    def __init__(self, work: Work) -> None:
        self.works = deque((work,))
        self.task: asyncio.Task[None] | None = None


class Intake:
    """Decodes.

    Args:
        decoder: bytes to an event.
        fetcher: asks the registry; None where there is none.
        admit: takes a work whose event is decoded.
        refuse: takes one that is rejected.
        leave_out: takes one that is not selected.
        on_resumed: told when works that waited have been let in.
        spawn: starts a task.
    """

    def __init__(
        self,
        decoder: Decoder,
        fetcher: SchemaFetcher | None,
        *,
        admit: Callable[[Work], None],
        refuse: Callable[[Work, Rejected], None],
        leave_out: Callable[[Work], None],
        on_resumed: Callable[[], None],
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
    ) -> None:
        self._decode = decoder.decode
        self._fetcher = fetcher
        self._admit = admit
        self._refuse = refuse
        self._leave_out = leave_out
        self._on_resumed = on_resumed
        self._spawn = spawn
        self._waiting: dict[TopicPartition, _Waiting] = {}

    def take(self, work: Work) -> None:
        """Decode a work and pass it on; or hold it, behind one whose schema is being fetched."""
        if self._waiting and (waiting := self._waiting.get(work.source)) is not None:
            waiting.works.append(work)
            return
        try:
            work.event = self._decode(work.record)
        except Rejected as rejected:
            self._refuse(work, rejected)
        except NotSelected:
            self._leave_out(work)
        except SchemaNeeded as needed:
            waiting = self._waiting[work.source] = _Waiting(work)
            waiting.task = self._spawn(self._resume(work.source, waiting, needed.key))
        else:
            self._admit(work)

    @property
    def waiting(self) -> int:
        """How many works wait for a schema, or behind one that does."""
        return sum(len(waiting.works) for waiting in self._waiting.values())

    def revoke(self, partitions: Collection[TopicPartition]) -> list[Work]:
        """Give back what waits of these partitions, and fetch for them no more."""
        dropped: list[Work] = []
        for partition in partitions if self._waiting else ():
            waiting = self._waiting.pop(partition, None)
            if waiting is not None:
                dropped += waiting.works
                if waiting.task is not None:
                    waiting.task.cancel()
        return dropped

    async def _resume(self, partition: TopicPartition, waiting: _Waiting, key: SchemaKey) -> None:
        assert self._fetcher is not None  # noqa: S101  a decoder that needs schemas comes with one
        await self._fetcher.fetch(key)
        del self._waiting[partition]
        for work in waiting.works:  # one of them may need another schema, and holds back those behind it
            self.take(work)
        self._on_resumed()
