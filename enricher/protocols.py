"""What the pipeline needs of the outside world; adapters fit by shape and import none of each other.

Obligations are stated at each method. One contract suite (``tests/contract``) holds the in-memory and the real
adapters to them.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

from enricher.model import Offer, Outgoing, Position, Record, Rejected, TopicPartition


class Listener(Protocol):
    """The pipeline as the source sees it. Every call comes on the event loop, in the order in which things happened."""

    def assigned(self, partitions: Mapping[TopicPartition, Position]) -> None:
        """These partitions are ours from now on, each read from the position given (committed, or by reset policy)."""
        ...

    def records(self, batch: Collection[Record]) -> None:
        """Records of assigned partitions, in order within each. Must not block."""
        ...

    async def revoked(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, Position]:
        """These partitions are about to go. Returns what is to be committed for them before they do.

        The source waits for the answer (bounded by its own deadline) and commits it.
        """
        ...

    def lost(self, partitions: Collection[TopicPartition]) -> None:
        """These partitions are gone already: nothing may be committed for them."""
        ...

    def failed(self, error: Exception) -> None:
        """The source cannot go on. The pipeline ends with this error."""
        ...


class Source(Protocol):
    """Reads records and commits offsets. Methods are called on the event loop and never block it."""

    async def start(self, listener: Listener) -> None:
        """Subscribe and begin to deliver to the listener."""
        ...

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        """Deliver no more of these until resumed. What was already fetched may still arrive."""
        ...

    def resume(self, partitions: Collection[TopicPartition]) -> None:
        """Deliver again. Pauses and resumes take effect in the order of the calls; partitions not ours are ignored."""
        ...

    async def commit(self, positions: Mapping[TopicPartition, Position]) -> None:
        """Commit, and return when the broker has answered.

        Partitions that are no longer assigned are left out.

        Raises:
            CommitFailed: the broker refused or did not answer; calling again later is right.
        """
        ...

    def group(self) -> object:
        """What a transaction shows the broker, so that it refuses one of a member that is none any more.

        It is never newer than what the listener has heard: else a transaction with positions of a partition that is
        another's by now would count. None: there is nothing that could be shown for what is held.
        """
        ...

    async def close(self) -> None:
        """Leave the group and release everything; nothing is delivered afterwards. May be called twice."""
        ...


class EndTellingSource(Source, Protocol):
    """A source that can also tell where the log ends.

    Attributes:
        on_end: to be set before ``start``. Called on the event loop, with the offset that the next record will get,
            when every record below it was delivered; again whenever the end is met after further records.
    """

    on_end: "OnEnd | None"


OnEnd = Callable[[TopicPartition, int], None]


class CommitFailed(Exception):  # noqa: N818  says what happened, as Kafka's CommitFailedException
    """Offsets were not committed; they may be committed again later."""


class ProduceFailed(Exception):  # noqa: N818  likewise
    """A record was not written and will not be.

    Attributes:
        too_large: the record is larger than the client or the broker takes; another record may do.
    """

    def __init__(self, message: str, *, too_large: bool = False) -> None:
        super().__init__(message)
        self.too_large = too_large


Delivered = Callable[[ProduceFailed | None], None]
"""Called once, on the event loop, when the broker has acknowledged (None) or finally refused a record."""


class Sink(Protocol):
    """Writes records at least once, in the order of the calls for each key."""

    async def start(self) -> None:
        """Connect."""
        ...

    def produce(self, record: Outgoing, delivered: Delivered) -> bool:
        """Hand over one record without waiting. False: the queue is full, nothing was taken; ask ``writable``."""
        ...

    async def writable(self) -> None:
        """Return when ``produce`` is worth another try."""
        ...

    async def flush(self) -> None:
        """Return when everything that was produced is acknowledged or refused. Bound it with ``asyncio.timeout``."""
        ...

    async def close(self) -> None:
        """Release everything. Records not acknowledged are dropped. May be called twice."""
        ...


class TransactionAborted(Exception):  # noqa: N818  likewise
    """Nothing of a transaction was written; the same may be written in another one.

    Attributes:
        too_large: indices of the records that are larger than the client or the broker takes.
    """

    def __init__(self, message: str, *, too_large: Sequence[int] = ()) -> None:
        super().__init__(message)
        self.too_large = too_large


class Transactions(Protocol):
    """Writes records and commits positions together. Methods never block the event loop."""

    async def start(self) -> None:
        """Connect."""
        ...

    async def commit(
        self, records: Sequence[Outgoing], positions: Mapping[TopicPartition, Position], group: object
    ) -> None:
        """Write the records and commit the positions in one transaction. One call at a time.

        Positions need a group: where it is None, the transaction is aborted. A cancelled call goes on: only its end
        tells what came of the transaction.

        Raises:
            TransactionAborted: nothing was written.
            ProduceFailed: the transactional producer cannot go on, or another one has taken its place.
        """
        ...

    async def close(self) -> None:
        """Release everything; a transaction under way is left to its timeout. May be called twice."""
        ...


class Answer(NamedTuple):
    """What the service said of one customer, and the wall-clock time (ms) at which it had said it."""

    offers: tuple[Offer, ...]
    looked_up_at: int


class Trace(Protocol):
    """The trace of one event, from the taking of its record until it is resolved or dropped."""

    def enter(self, attempts: int) -> None:
        """What the current task does from now on belongs to it; so many look-ups have begun for it, this one too."""
        ...

    def sending(self, output: Outgoing, *, dead: bool) -> Outgoing:
        """An output, or a ``dead`` letter, is about to be handed over. Returns it as it is to be written."""
        ...

    def end(self, rejected: Rejected | None) -> None:
        """The output, or the dead letter of a rejected event, was acknowledged."""
        ...

    def drop(self, outcome: str = "dropped") -> None:
        """There will be none: the partition went before, or the event was left out."""
        ...


class Tracing(Protocol):
    """Makes traces. Nothing that it is told may fail it."""

    def received(self, batch: Collection[Record]) -> None:
        """A batch came."""
        ...

    def begin(self, record: Record) -> Trace:
        """A record is taken."""
        ...

    def committed(self, seconds: float, error: Exception | None) -> None:
        """A commit has ended that took so long."""
        ...


class HistoryClient(Protocol):
    """The CustomerOfferHistory service: one call is one attempt."""

    async def fetch(self, customer_id: str) -> Answer:
        """One request, one answer.

        Raises:
            LookupFailure: with the kind of what went wrong; nothing else is raised but cancellation.
        """
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...
