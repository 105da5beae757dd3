"""Offsets as real logs have them: gaps that transactions leave, and committed offsets that lie outside the log."""

from functools import partial

import pytest
from confluent_kafka import KafkaError, Message, Producer
from confluent_kafka import TopicPartition as KafkaPartition
from confluent_kafka.admin import AdminClient

from enricher.testing.faults import Faults
from tests.harness.clients import Sent, Written, commit, end_offsets, unique_name
from tests.integration.worker_world import World, contact

pytestmark = pytest.mark.kafka


def _transactions(world: World, rounds: int) -> None:
    """Write events in transactions, one third of which are aborted."""
    producer = Producer({"bootstrap.servers": world.bootstrap_servers, "transactional.id": unique_name("input")})
    producer.init_transactions(30)
    for number in range(rounds):
        written: dict[Written, Sent] = {}
        producer.begin_transaction()
        for at in range(4):
            sent = contact(f"CUST-{number:03d}{at}", number, partition=at)
            producer.produce(
                world.input, sent.value, sent.key,
                partition=at, headers=list(sent.headers), timestamp=sent.timestamp or 0,
                on_delivery=partial(_note, written, sent),
            )  # fmt: skip
        assert producer.flush(30) == 0
        if number % 3 == 1:
            producer.abort_transaction(30)
        else:
            producer.commit_transaction(30)
            world.sent.update(written)


def _note(written: dict[Written, Sent], sent: Sent, error: KafkaError | None, message: Message) -> None:
    partition, offset = message.partition(), message.offset()
    assert error is None
    assert partition is not None
    assert offset is not None
    written[Written(partition, offset)] = sent


@pytest.mark.parametrize("guarantee", ["at-least-once", "exactly-once"])
def test_gaps_of_transactions_are_passed(guarantee: str, world: World) -> None:
    """Spring 4258: aborted records and markers leave gaps; every record comes out once, and all of it is committed."""
    world.service.faults = Faults(latency="uniform:1ms,50ms")
    _transactions(world, 60)
    first = world.worker({"delivery.guarantee": guarantee})
    world.await_committed_places(world.sent)
    assert first.terminate() == 0
    _transactions(world, 30)
    world.send(contact(f"CUST-LAST-{at}", at, partition=at) for at in range(4))  # behind the last markers
    second = world.worker({"delivery.guarantee": guarantee})
    world.await_committed()
    assert second.terminate() == 0
    world.audit()


def test_a_partition_cut_below_its_offset_is_read_from_where_it_begins(world: World) -> None:
    """Committed offsets beyond the log, or before it, follow auto.offset.reset; nothing is committed beyond the log."""
    places = world.send(contact(f"CUST-{number:06d}", number, partition=number % 4) for number in range(200))
    commit(world.bootstrap_servers, world.group, world.input, {0: 5_000, 1: 10, 2: 20})
    admin = AdminClient({"bootstrap.servers": world.bootstrap_servers})
    cut = KafkaPartition(world.input, 1, 30)
    admin.delete_records([cut])[cut].result(30)
    gone = {Written(1, offset) for offset in range(30)} | {Written(2, offset) for offset in range(20)}
    assert gone < set(places)
    for place in gone:  # deleted, or said to be done
        del world.sent[place]
    worker = world.worker()
    world.await_committed()
    ends = end_offsets(world.bootstrap_servers, world.input)
    assert {number: at.offset for number, at in world.positions().items()} == ends
    warned = [event for event in worker.events() if event["event"] == "committed_offset_out_of_range"]
    assert len(warned) == 2
    assert worker.terminate() == 0
    world.audit()
