"""The partitions that the consumer holds: how they come and go, and which of them are paused.

Invariants:

- A partition is held from when the listener was told of its assignment until it was told of its revocation or loss.
- It is read from the committed offset with the commit's metadata, looked up at each assignment, never from a position
  that the client remembered. An offset outside the log follows ``auto.offset.reset``; its metadata is void.
- A consumer that has become another member, as ``enricher.membership`` tells, has lost what it holds, and another one
  has to take over (``anew``), as well as when it is not told in time where partitions begin.
- All that happens inside a rebalance is bounded (``enricher.consumer.times``).
"""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

import structlog
from confluent_kafka import Consumer
from confluent_kafka import TopicPartition as KafkaPartition

from enricher.consumer import Times, commit_before_leaving, incremental, leave, leaves_when_closed
from enricher.handover import Handover
from enricher.kafka import to_kafka
from enricher.membership import Membership
from enricher.model import Position, TopicPartition
from enricher.protocols import Listener
from enricher.pulse import Pulse
from enricher.starts import NotYet, patient_starts

log = structlog.get_logger(__name__)

RebalanceCallback = Callable[[Consumer, list[KafkaPartition]], None]

GROUP = 0.05
"""Seconds between two looks at the group's metadata: each waits for librdkafka's own main thread."""


class Partitions:
    """Called on the consumer's thread.

    Args:
        configured: the consumer's properties, all of them.
        times: how long what happens inside a rebalance may take.
        listener: told what comes and goes, on the loop.
        loop: the event loop.
        post: has the loop call something.
        show_group: told the group's metadata, on the loop.
        handover: what is on its way to the loop; while something waits in it, everything is paused.
        given_up: whether the consumer is about to be closed.
        pulse: told of rebalances.

    Attributes:
        anew: this consumer is to be closed, and another one to take over.
    """

    def __init__(
        self,
        configured: Mapping[str, Any],
        times: Times,
        listener: Listener,
        loop: asyncio.AbstractEventLoop,
        *,
        post: Callable[..., None],
        show_group: Callable[[object], None],
        handover: Handover,
        given_up: Callable[[], bool],
        pulse: Pulse,
    ) -> None:
        self._reset = str(configured["auto.offset.reset"])
        self._incremental = incremental(configured)
        self._leaves_when_closed = leaves_when_closed(configured)
        self._times = times
        self._listener = listener
        self._loop = loop
        self._post = post
        self._show_group = show_group
        self._handover = handover
        self._given_up = given_up
        self._pulse = pulse
        self._membership = Membership(static=bool(configured.get("group.instance.id")))
        self._group_due = 0.0  # when it is looked at again
        self._held: set[TopicPartition] = set()
        self._paused: set[TopicPartition] = set()  # by the listener
        self._error: Exception | None = None  # raised in a callback
        self.anew = False

    def __contains__(self, partition: TopicPartition) -> bool:
        """Whether it is held."""
        return partition in self._held

    # ---- pauses --------------------------------------------------------------------------------------------------

    def pause(self, consumer: Consumer, partitions: Collection[TopicPartition]) -> None:
        """The listener wants no more of these."""
        self._paused.update(self._held & set(partitions))
        consumer.pause(self._for_kafka(partitions))

    def resume(self, consumer: Consumer, partitions: Collection[TopicPartition]) -> None:
        """The listener wants these again."""
        self._paused.difference_update(partitions)
        if not self._handover:
            consumer.resume(self._for_kafka(partitions))

    def pause_all(self, consumer: Consumer) -> None:
        """Nothing more is wanted for now."""
        consumer.pause(self._for_kafka(self._held))

    def resume_all(self, consumer: Consumer) -> None:
        """What was paused by ``pause_all`` is wanted again, but for what the listener has paused."""
        consumer.resume(self._for_kafka(self._held - self._paused))

    # ---- rebalances ----------------------------------------------------------------------------------------------

    def subscribe(self, consumer: Consumer, topics: list[str]) -> None:
        """Let a consumer that holds nothing take part in the group."""
        self.anew = False
        consumer.subscribe(
            topics,
            on_assign=self._guarded(self._on_assign),
            on_revoke=self._guarded(self._on_revoke),
            on_lost=self._guarded(self._on_lost),
        )

    def leave(self, consumer: Consumer) -> None:
        """Leave the group with a consumer that is about to be closed, where closing it would not."""
        if not self._held and not self._leaves_when_closed:
            leave(consumer)

    def look_at_group(self, consumer: Consumer, now: float) -> None:
        """Tell the group's metadata now and then, and notice if what is held is lost."""
        if now < self._group_due:
            return
        self._group_due = now + GROUP
        if self._held and self._membership.replaced(consumer):
            self._give_up("the group had forgotten this member, and took it for a new one")
        self._tell_group(consumer)

    def raise_error(self) -> None:
        """Raise what a callback has raised since."""
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _guarded(self, callback: RebalanceCallback) -> RebalanceCallback:
        """Keep what a callback raises until ``poll()`` has returned: the binding garbles an exception on its way."""

        def guarded(consumer: Consumer, partitions: list[KafkaPartition]) -> None:
            self._pulse.rebalancing = time.monotonic()
            try:
                callback(consumer, partitions)
            except Exception as error:  # noqa: BLE001  raised again by raise_error
                self._error = error
            finally:
                self._pulse.rebalancing = 0.0
                self._group_due = 0.0

        return guarded

    def _on_assign(self, consumer: Consumer, partitions: list[KafkaPartition]) -> None:
        if not self._held:
            self._membership.begin(consumer)
        try:
            starts = patient_starts(
                consumer, partitions, self._reset, patience=self._times.start, given_up=self._given_up
            )
        except NotYet as reason:  # the time between two polls is over; they are not ours without an answer
            self._give_up(str(reason))
            return
        kafka_partitions = to_kafka(starts)
        if self._incremental:
            consumer.incremental_assign(kafka_partitions)
        else:
            consumer.assign(kafka_partitions)
        self._held.update(starts)
        if kafka_partitions:
            consumer.resume(kafka_partitions)  # librdkafka keeps a pause across a rebalance
            if self._handover:
                consumer.pause(kafka_partitions)
        self._pulse.joined = True
        self._handover.tell(self._listener.assigned, starts)

    def _on_revoke(self, consumer: Consumer, partitions: list[KafkaPartition]) -> None:
        mine = self._of(partitions)
        if not mine or not self._membership.stands(consumer):
            self._on_lost(consumer, partitions)
            return
        begun = time.monotonic()
        self._tell_group(consumer)
        answer = asyncio.run_coroutine_threadsafe(self._revoked(mine), self._loop)
        try:
            positions = answer.result(self._times.answer)
        except TimeoutError:
            answer.cancel()
            self._handover.tell(self._listener.lost, mine)
            log.warning("revoke_timed_out", partitions=len(mine), seconds=self._times.answer)
            positions = {}
        if positions:
            commit_before_leaving(consumer, positions, begun + self._times.answer)
        self._unassign(consumer, partitions, mine)

    def _on_lost(self, consumer: Consumer, partitions: list[KafkaPartition]) -> None:
        mine = self._of(partitions)
        if mine:
            self._handover.tell(self._listener.lost, mine)
        self._unassign(consumer, partitions, mine)

    async def _revoked(self, partitions: list[TopicPartition]) -> Mapping[TopicPartition, Position]:
        self._handover.catch_up()
        return await self._listener.revoked(partitions)

    def _unassign(self, consumer: Consumer, partitions: list[KafkaPartition], mine: Collection[TopicPartition]) -> None:
        self._held.difference_update(mine)
        self._paused.difference_update(mine)
        self._handover.forget(mine)
        if self._incremental:
            consumer.incremental_unassign(partitions)
        else:
            consumer.unassign()

    def _give_up(self, reason: str) -> None:
        log.warning("membership_given_up", reason=reason)
        self.anew = True

    def _tell_group(self, consumer: Consumer) -> None:
        metadata = self._membership.metadata(consumer)
        if metadata is not None:
            self._post(self._show_group, metadata)

    def _of(self, partitions: list[KafkaPartition]) -> list[TopicPartition]:
        """Those of these that are held."""
        named = (TopicPartition(p.topic, p.partition) for p in partitions)
        return [partition for partition in named if partition in self._held]

    def _for_kafka(self, partitions: Collection[TopicPartition]) -> list[KafkaPartition]:
        """Those of these that are held, as librdkafka wants them."""
        return [KafkaPartition(*partition) for partition in partitions if partition in self._held]
