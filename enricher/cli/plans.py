"""Where the plans of replays are kept: in Kafka, in the commits of a group of their own (see ``enricher.replay.plan``).

Invariants: of processes that begin one replay at the same time, one makes the plan, and all follow it: the group's own
protocol elects it, and the broker refuses the plan of one that was elected no longer; the progress begins before the
plan is there to be followed; a plan that is there is never changed.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaException
from confluent_kafka import TopicPartition as KafkaPartition

from enricher.cli.groups import GroupOffsets, group_offsets
from enricher.cli.reading import TopicReader
from enricher.completed import Range, decode_completed
from enricher.kafka import QUIET, to_kafka
from enricher.model import Position, TopicPartition
from enricher.replay.plan import BadPlan, Plan, progress_group, range_group, read_plan

TURN = 0.2
"""Seconds between two looks for a plan that another process is making."""


class Plans:
    """The plans of the replays of one group's input.

    Args:
        properties: librdkafka's.
        group: the live one.
        topics: of the input.

    Raises:
        TopicMissing: a topic is not there.
        KafkaException: the brokers do not answer.
    """

    def __init__(self, properties: Mapping[str, Any], group: str, topics: Collection[str]) -> None:
        self._properties = properties
        self._group = group
        self._logs: dict[TopicPartition, Range] = {}
        for topic in topics:
            with TopicReader(properties, topic) as reader:
                self._logs |= {TopicPartition(topic, p): Range(*at) for p, at in reader.bounds().items()}

    def read(self, name: str) -> Plan | None:
        """The plan of a replay; None where there is none.

        Raises:
            BadPlan: there is one that cannot be followed.
        """
        with group_offsets(self._properties, range_group(self._group, name)) as kept:
            plan = read_plan(kept.read(self._logs))
        for partition, span in plan.spans.items() if plan else ():
            if span.end > self._logs[partition].end:
                raise BadPlan(
                    f"{partition.topic}[{partition.partition}] ends at offset {self._logs[partition].end}, and the "
                    f"replay's range at {span.end}: the topic was made anew since"
                )
        return plan

    def begin(self, name: str, make: Callable[[], Plan]) -> Plan:
        """The plan of a replay whose name nobody else uses."""
        plan = make()
        self._begin_progress(name, plan)
        with group_offsets(self._properties, range_group(self._group, name)) as kept:
            kept.write(plan.positions())
        return plan

    def begin_together(self, name: str, make: Callable[[], Plan]) -> Plan:
        """The plan of a replay that several processes may begin at the same time: one of them makes it.

        Raises:
            BadPlan: there is one that cannot be followed.
        """
        member = _Member(self._properties, range_group(self._group, name), {p.topic for p in self._logs})
        try:
            while (plan := self.read(name)) is None:
                if member.leads:
                    plan = make()
                    self._begin_progress(name, plan)
                    member.commit(plan.positions())
                    return plan
                member.wait()
        finally:
            member.close()
        return plan

    def keep(self, name: str, plan: Plan) -> None:
        """Write a plan once more, lest the broker forget it while a replay takes weeks."""
        with group_offsets(self._properties, range_group(self._group, name)) as kept:
            try:
                kept.write(plan.positions())
            except KafkaException:
                return  # others are beginning it right now; it is young then

    def progress(self, name: str) -> GroupOffsets:
        """The progress of a replay; to be closed."""
        return GroupOffsets(self._properties, progress_group(self._group, name))

    def lost(self, plan: Plan, positions: Mapping[TopicPartition, Position]) -> int:
        """Offsets of the range that were deleted before the replay came to them."""
        return sum(
            max(0, min(self._logs[p].start, span.end) - max(span.start, positions.get(p, Position(span.start)).offset))
            for p, span in plan.spans.items()
        )

    def _begin_progress(self, name: str, plan: Plan) -> None:
        with group_offsets(self._properties, progress_group(self._group, name)) as progress:
            progress.write(plan.starts())


def done(plan: Plan, positions: Mapping[TopicPartition, Position]) -> int:
    """Offsets of a plan that are resolved, those beyond the committed one included."""
    count = 0
    for partition, span in plan.spans.items():
        at = positions.get(partition)
        if at is not None and span.start < span.end:
            count += min(at.offset, span.end) - span.start
            count += sum(end - start for start, end in decode_completed(at.offset, at.metadata) or ())
    return count


def complete(plan: Plan, positions: Mapping[TopicPartition, Position]) -> bool:
    """Whether all of a plan is resolved."""
    return all(
        span.start >= span.end or (partition in positions and positions[partition].offset >= span.end)
        for partition, span in plan.spans.items()
    )


class _Member:
    """A member of a plan's group: it leads while it has the first partition."""

    def __init__(self, properties: Mapping[str, Any], group: str, topics: Collection[str]) -> None:
        self._first = (min(topics), 0)
        self.leads = False
        self._consumer = Consumer(
            {
                **QUIET,
                **properties,
                "group.id": group,
                "enable.auto.commit": False,
                "auto.offset.reset": "latest",
                "log_level": 2,
            }
        )
        self._consumer.subscribe(list(topics), on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._revoked)

    def wait(self) -> None:
        """Take part in the group for a moment."""
        message = self._consumer.poll(TURN)
        error = None if message is None else message.error()
        if error is not None and error.fatal():
            raise KafkaException(error)

    def commit(self, positions: Mapping[TopicPartition, Position]) -> None:
        """Commit as the member that leads; refused if another leads by now."""
        for at in self._consumer.commit(offsets=to_kafka(positions), asynchronous=False):
            if at.error is not None:
                raise KafkaException(at.error)

    def close(self) -> None:
        """Leave."""
        self._consumer.close()

    def _assigned(self, consumer: Consumer, partitions: list[KafkaPartition]) -> None:
        self.leads = any((p.topic, p.partition) == self._first for p in partitions)
        consumer.assign(partitions)
        consumer.pause(partitions)  # nothing is read here

    def _revoked(self, consumer: Consumer, _partitions: list[KafkaPartition]) -> None:
        self.leads = False
        consumer.unassign()
