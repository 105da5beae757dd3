"""The ranges of replays on a real Kafka: what they come to, and what is refused, with the real bounds."""

import time
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka import TopicPartition as KafkaPartition
from confluent_kafka.admin import AdminClient
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from enricher.cli.planning import Asked, BadRange, Found, find_range, instant
from enricher.cli.ranges import parse_point
from enricher.codec import Decoder
from enricher.completed import Range
from enricher.model import NotSelected, Record, TopicPartition
from enricher.replay.selection import SelectingDecoder, Selection
from tests.conftest import MakeTopic
from tests.harness.broker import KafkaBroker
from tests.harness.clients import Sent, commit, produce, read_topic, unique_name
from tests.harness.waiting import wait_until

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]

DAY = 1_790_000_000_000
NOW = DAY + 86_400_000


class Ranges:
    """Finds ranges of one topic."""

    def __init__(self, bootstrap_servers: str, topic: str, group: str = "nobody") -> None:
        self._bootstrap_servers = bootstrap_servers
        self._topic = topic
        self._group = group

    def find(self, start: str = "beginning", end: str = "end", **asked: Any) -> Found:
        """The range between two points."""
        points = Asked(parse_point(start, NOW), parse_point(end, NOW), **asked)
        properties = {"bootstrap.servers": self._bootstrap_servers}
        return find_range(properties, self._group, [self._topic], points, NOW)

    def spans(self, start: str = "beginning", end: str = "end", **asked: Any) -> list[tuple[int, int]]:
        """Its offsets by partition."""
        return [(span.start, span.end) for _, span in sorted(self.find(start, end, **asked).spans.items())]

    def refusal(self, start: str = "beginning", end: str = "end", **asked: Any) -> str:
        """Why it is none."""
        with pytest.raises(BadRange) as caught:
            self.find(start, end, **asked)
        return str(caught.value)


def _delete_below(bootstrap_servers: str, topic: str, offset: int) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    for answer in admin.delete_records([KafkaPartition(topic, 0, offset)]).values():
        answer.result(30)


_seconds = st.integers(0, 40)  # few, so that many records have one time, and bounds meet them


@given(
    sent=st.lists(st.tuples(st.integers(0, 2), _seconds), min_size=1, max_size=60),
    bounds=st.tuples(_seconds, _seconds).filter(lambda two: two[0] < two[1]),
)
@example(sent=[(0, 9), (0, 3), (1, 3), (0, 8), (0, 4), (1, 9), (0, 2)], bounds=(3, 5))
@example(sent=[(0, 40), (0, 0)], bounds=(0, 1))
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_replay_by_time_takes_what_a_naive_scan_finds(
    kafka: KafkaBroker, make_topic: MakeTopic, sent: list[tuple[int, int]], bounds: tuple[int, int]
) -> None:
    """Exactly the records in [from, to) by their timestamps, across partitions, in whatever order these are.

    With the true bound on the disorder the scan may end earlier, and still finds them all.
    """
    topic = make_topic("ranges", partitions=3)
    event = b'{"customerId": "C"}'
    produce(
        kafka.bootstrap_servers,
        topic,
        [Sent(None, event, timestamp=DAY + at * 1_000, partition=partition) for partition, at in sent],
    )
    records = read_topic(kafka.bootstrap_servers, topic)
    assert len(records) == len(sent)
    since, until = (DAY + at * 1_000 for at in bounds)
    naive = {(r.partition, r.offset) for r in records if since <= r.timestamp < until}
    for disorder in (None, _disorder(sent) * 1_000):
        found = Ranges(kafka.bootstrap_servers, topic).find(instant(since), instant(until), disorder=disorder)
        decoder = SelectingDecoder(Decoder(), Selection(since=found.since, until=found.until))
        spans = found.spans
        inside = [r for r in records if r.offset in range(*spans[TopicPartition(topic, r.partition)])]
        assert {(r.partition, r.offset) for r in inside if _selected(decoder, r)} == naive


def _disorder(sent: list[tuple[int, int]]) -> int:
    """By how much a time lies before that of a record that was written earlier to the same partition, at most."""
    newest: dict[int, int] = {}
    most = 0
    for partition, at in sent:
        newest[partition] = max(newest.get(partition, at), at)
        most = max(most, newest[partition] - at)
    return most


def _selected(decoder: SelectingDecoder, record: Record) -> bool:
    try:
        decoder.decode(record)
    except NotSelected:
        return False
    return True


def test_offsets_partitions_and_words(kafka: KafkaBroker, make_topic: MakeTopic) -> None:
    """Offsets name their partitions, the rest is left out; committed is where the live group stands."""
    topic = make_topic("ranges", partitions=2)
    produce(kafka.bootstrap_servers, topic, [Sent(None, b"x", timestamp=DAY, partition=n % 2) for n in range(20)])
    group = unique_name("live")
    commit(kafka.bootstrap_servers, group, topic, {0: 4})
    ranges = Ranges(kafka.bootstrap_servers, topic, group)
    assert ranges.spans() == [(0, 10), (0, 10)]
    assert ranges.spans(partitions=frozenset({1})) == [(10, 10), (0, 10)]
    assert ranges.spans("0@3", "0@7") == [(3, 7), (10, 10)]
    assert ranges.spans("1@3") == [(10, 10), (3, 10)]
    assert ranges.spans("beginning", "committed") == [(0, 4), (0, 0)]
    assert "there is no partition 2" in ranges.refusal(partitions=frozenset({2}))
    assert "has partitions 0 to 1" in ranges.refusal("5@1")
    assert f"there is no other[0]: {topic} has partitions" in ranges.refusal("other[0]@1")
    assert "no partition is left" in ranges.refusal("0@1", "1@5")
    assert "--from (7) is past --to (3)" in ranges.refusal("0@7", "0@3")
    past = ranges.refusal("0@3", "0@11")
    assert f"--to {topic}[0]@11 lies past the end of the log: {topic}[0] has offsets 0 to 10" in past


def test_times_that_cannot_be_are_refused(kafka: KafkaBroker, make_topic: MakeTopic) -> None:
    """From after to, and the future."""
    ranges = Ranges(kafka.bootstrap_servers, make_topic("ranges"))
    assert "is not before --to" in ranges.refusal("1h ago", "2h ago")
    assert "--from" in (told := ranges.refusal(instant(NOW + 60_000)))
    assert "lies in the future" in told
    assert "leave --to out" in ranges.refusal("1h ago", instant(NOW + 60_000))
    assert ranges.spans("2h ago", "1h ago") == [(0, 0)]  # an empty topic has nothing, which is no mistake


def test_why_a_range_is_empty_is_told(kafka: KafkaBroker, make_topic: MakeTopic) -> None:
    """With the times that are there: it begins after the last record, or ends before the first."""
    topic = make_topic("ranges", partitions=3)
    produce(
        kafka.bootstrap_servers,
        topic,
        [Sent(None, b"x", timestamp=DAY + n * 1_000, partition=n % 2) for n in range(20)],
    )
    ranges = Ranges(kafka.bootstrap_servers, topic)
    late, early = instant(DAY + 60_000), instant(DAY - 60_000)
    assert ranges.find(late).notes == [
        f"there is no record of --from {late} or later; the logs end with one of {instant(DAY + 19_000)}"
    ]
    [note] = ranges.find(end=early).notes
    assert note.startswith(f"the logs begin with a record of {instant(DAY)}, after --to {early}: only records that")
    assert ranges.find(instant(DAY), instant(DAY + 1)).notes == []


def test_what_was_deleted_is_told(kafka: KafkaBroker, make_topic: MakeTopic) -> None:
    """Before the log's start: with the first that is left, and a way to go on without the rest."""
    topic = make_topic("ranges")
    produce(kafka.bootstrap_servers, topic, [Sent(None, b"x", timestamp=DAY + n * 1_000) for n in range(20)])
    _delete_below(kafka.bootstrap_servers, topic, 10)
    ranges = Ranges(kafka.bootstrap_servers, topic)
    told = ranges.refusal(instant(DAY + 5_000))
    assert f"{topic}[0] was deleted up to offset 10, and begins at {instant(DAY + 10_000)}" in told
    assert f"write --from {instant(DAY + 10_000)} or later, or --allow-missing" in told
    assert ranges.spans(instant(DAY + 10_000)) == [(10, 20)]
    found = ranges.find(instant(DAY + 5_000), allow_missing=True)
    assert list(found.spans.values()) == [Range(10, 20)]
    assert any("not there any more" in note for note in found.notes)
    assert "lies before the log's start" in ranges.refusal("0@5", "0@15")
    assert ranges.spans("0@5", "0@15", allow_missing=True) == [(10, 15)]
    assert ranges.spans("beginning") == [(10, 20)]
    _delete_below(kafka.bootstrap_servers, topic, 20)
    assert "is empty now" in ranges.refusal(instant(DAY))


def test_a_range_of_which_nothing_is_left_is_told(kafka: KafkaBroker, make_topic: MakeTopic) -> None:
    """A compacted topic is noted; offsets without a record (compacted away, or markers) are refused, with the next."""
    topic = make_topic("ranges", config={"cleanup.policy": "compact"})
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "transactional.id": topic, "log_level": 0})
    producer.init_transactions(30)
    for _ in range(2):
        producer.begin_transaction()
        producer.produce(topic, b"x", b"k", timestamp=DAY)
        producer.commit_transaction(30)
    ranges = Ranges(kafka.bootstrap_servers, topic)
    assert ranges.spans() == [(0, 4)]
    assert any("compacted" in note for note in ranges.find().notes)
    assert ranges.spans("0@1", "0@3") == [(1, 3)]
    assert f"{topic}[0] has no record left from offset 1 to 2" in (told := ranges.refusal("0@1", "0@2"))
    assert told.endswith("the next one is at 2")
    assert ranges.refusal("0@3", "0@4").endswith("none follows")


def test_the_time_of_writing_is_in_order(kafka: KafkaBroker, make_topic: MakeTopic) -> None:
    """Where the broker stamps the records, the scan ends with the range."""
    topic = make_topic("ranges", config={"message.timestamp.type": "LogAppendTime"})
    ranges = Ranges(kafka.bootstrap_servers, topic)
    produce(kafka.bootstrap_servers, topic, [Sent(None, b"x")] * 10)
    first = read_topic(kafka.bootstrap_servers, topic)[-1].timestamp
    wait_until(lambda: time.time_ns() // 1_000_000 > first + 1, "the next millisecond")
    produce(kafka.bootstrap_servers, topic, [Sent(None, b"x")] * 10)
    found = find_range(
        {"bootstrap.servers": kafka.bootstrap_servers}, "nobody", [topic], Asked(end=first + 1), first + 60_000
    )
    assert list(found.spans.values()) == [Range(0, 10)]
    assert ranges.spans() == [(0, 20)]
