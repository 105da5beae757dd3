"""What the group does with a member behind its back, on Apache Kafka: the source has to notice."""

import asyncio
import json
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient

from enricher.model import Position, TopicPartition
from enricher.pulse import Pulse
from enricher.source import KafkaSource
from tests.contract.backends import Heard, Kafka
from tests.harness.broker import KafkaBroker
from tests.harness.clients import unique_name
from tests.harness.coordinator import expel, stand_in_the_way
from tests.harness.waiting import wait_until_async

pytestmark = pytest.mark.kafka

JOINING = "wait-join"


class Member:
    """A member of a group, static if it has a name, and what its client library says of its state."""

    def __init__(self, bootstrap_servers: str, topic: str, group: str, name: str | None) -> None:
        self.name = name
        self.heard = Heard()
        self._pulse = Pulse()
        properties: dict[str, Any] = {
            "bootstrap.servers": bootstrap_servers, "group.id": group, "session.timeout.ms": 6_000,
            "heartbeat.interval.ms": 100, "statistics.interval.ms": 20, "log_level": 0,
        }  # fmt: skip
        if name is not None:
            properties["group.instance.id"] = name
        self.source = KafkaSource(properties, [topic], pulse=self._pulse)

    @property
    def state(self) -> str:
        """Its state in the group, as of the last statistics."""
        said = self._pulse.statistics.get("consumer")
        return "" if said is None else json.loads(said).get("cgrp", {}).get("join_state", "")

    @property
    def moves(self) -> list[tuple[str, frozenset[TopicPartition]]]:
        """What it heard of partitions that came and went."""
        return [call for call in self.heard.calls if call[0] not in ("records", "answered")]

    @property
    def lost(self) -> frozenset[TopicPartition]:
        """What it has lost so far."""
        return frozenset().union(*(partitions for name, partitions in self.moves if name == "lost"))

    @property
    def current(self) -> frozenset[TopicPartition]:
        """What it has now."""
        has: set[TopicPartition] = set()
        for name, partitions in self.moves:
            has = has | partitions if name == "assigned" else has - partitions
        return frozenset(has)


def member_ids(bootstrap_servers: str, group: str) -> list[str]:
    """Those of a group's members."""
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    return [member.member_id for member in admin.describe_consumer_groups([group])[group].result(30).members]


@pytest.mark.parametrize("static", [True, False], ids=["static", "dynamic"])
@pytest.mark.parametrize("taken", [True, False], ids=["others had them", "nobody had them"])
def test_a_member_that_was_forgotten_has_lost_its_partitions(kafka: KafkaBroker, *, taken: bool, static: bool) -> None:
    """Also when its client library finds out while it joins again, and keeps them under a new member id.

    1. A rebalance is under way: ``a`` waits in it with its partitions, for somebody else.
    2. The group expels ``a``, as it does when it has not heard of it for long. ``b`` may get all of them, and commit.
    3. ``a`` joins as another member. What it holds is not its own any more, and is not committed.
    """
    backend = Kafka(kafka.bootstrap_servers)
    topic, group = backend.topic(4), unique_name("g")
    partitions = frozenset(TopicPartition(topic, number) for number in range(4))
    for partition in partitions:
        backend.write(topic, *(b"x" for _ in range(10)), partition=partition.partition)
    servers, before, late = kafka.bootstrap_servers, Position(2), Position(3)
    at = Position(7) if taken else before

    async def main() -> None:
        a, b = (Member(servers, topic, group, name if static else None) for name in ("a", "b"))
        a.heard.answer = dict.fromkeys(partitions, late)
        await a.source.start(a.heard)
        try:
            await wait_until_async(lambda: len(a.heard.delivered) == 40, "all records")
            await a.source.commit(dict.fromkeys(partitions, before))
            known = a.source.group()
            [member] = await asyncio.to_thread(member_ids, servers, group)
            in_the_way = await asyncio.to_thread(stand_in_the_way, servers, group, topic)
            await b.source.start(b.heard)
            await wait_until_async(lambda: a.state == JOINING, "a waits in the rebalance")
            await asyncio.to_thread(expel, servers, group, member="" if static else member, instance=a.name)
            if taken:
                await asyncio.to_thread(expel, servers, group, member=in_the_way)
                await wait_until_async(lambda: b.moves == [("assigned", partitions)], "b has all partitions")
                await b.source.commit(dict.fromkeys(partitions, at))
            else:
                await wait_until_async(lambda: a.state != JOINING, "a was told that it is unknown")
                await wait_until_async(lambda: a.state == JOINING, "a joins again")
                await asyncio.to_thread(expel, servers, group, member=in_the_way)
            while len(a.moves) == 1:
                assert a.source.group() == known, "a holds partitions of one member and shows another"
                await asyncio.sleep(0.001)
            await wait_until_async(lambda: a.lost == partitions, "a has lost them")
            await wait_until_async(lambda: a.current | b.current == partitions, "all partitions are read again")
            assert {a.heard.positions[partition] for partition in a.current} <= {at}
            assert "revoked" not in [name for name, _ in a.moves]
            a.heard.answer = {}
        finally:
            await a.source.close()
            await b.source.close()
        assert a.heard.errors == b.heard.errors == []

    asyncio.run(main())
    assert set(backend.committed(topic, group).values()) == {at}
