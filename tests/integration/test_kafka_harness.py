"""The test broker itself: what other tests rely on holds, whichever way it was started."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka import TopicPartition as KafkaPartition

from enricher.model import Position, Record
from tests.conftest import MakeTopic, StartProgram
from tests.harness.broker import KafkaBroker, answers
from tests.harness.clients import (
    Sent,
    Written,
    add_partitions,
    committed,
    create_topic,
    end_offsets,
    group_members,
    lag,
    produce,
    read_topic,
)
from tests.harness.waiting import wait_until

pytestmark = pytest.mark.kafka


def _commit(broker: KafkaBroker, group: str, topic: str, offset: int, metadata: str) -> None:
    consumer = Consumer({"bootstrap.servers": broker.bootstrap_servers, "group.id": group, "enable.auto.commit": False})
    consumer.commit(offsets=[KafkaPartition(topic, 0, offset, metadata)], asynchronous=False)
    consumer.close()


def test_records_come_back_as_they_were_written(kafka: KafkaBroker, make_topic: MakeTopic) -> None:
    """Key, value, headers and a time of years ago are kept; null stays null."""
    topic = make_topic(partitions=2)
    headers: list[tuple[str, bytes | None]] = [("a", b"1"), ("a", None)]
    sent = [
        Sent(b"k", b"v", headers, timestamp=1_456_404_901_526, partition=0),
        Sent(None, b"", partition=0, timestamp=1),
        Sent(b"", None, partition=1, timestamp=2),
    ]
    written = produce(kafka.bootstrap_servers, topic, sent)
    assert written == [Written(0, 0), Written(0, 1), Written(1, 0)]
    assert sorted(read_topic(kafka.bootstrap_servers, topic), key=lambda r: (r.partition, r.offset)) == [
        Record(topic, 0, 0, 1_456_404_901_526, b"k", b"v", headers),
        Record(topic, 0, 1, 1, None, b"", []),
        Record(topic, 1, 0, 2, b"", None, []),
    ]
    assert end_offsets(kafka.bootstrap_servers, topic) == {0: 2, 1: 1}


def test_records_of_eight_megabytes_fit_where_the_topic_takes_them(kafka: KafkaBroker, make_topic: MakeTopic) -> None:
    """The broker's own limit is above those that tests set on topics."""
    topic = make_topic(config={"max.message.bytes": str(9 * 1024 * 1024)})
    value = os.urandom(8 * 1024 * 1024)
    produce(kafka.bootstrap_servers, topic, [Sent(None, value)])
    assert [record.value for record in read_topic(kafka.bootstrap_servers, topic)] == [value]


def test_commits_keep_their_metadata(kafka: KafkaBroker, make_topic: MakeTopic, group: str) -> None:
    """Committed positions and the lag that follows from them are what a group committed."""
    topic = make_topic(partitions=2)
    produce(kafka.bootstrap_servers, topic, [Sent(None, b"v", partition=0)] * 5)
    assert committed(kafka.bootstrap_servers, group, topic) == {}
    assert lag(kafka.bootstrap_servers, group, topic) == 5
    _commit(kafka, group, topic, 3, "beyond")
    assert committed(kafka.bootstrap_servers, group, topic) == {0: Position(3, "beyond")}
    assert lag(kafka.bootstrap_servers, group, topic) == 2
    assert group_members(kafka.bootstrap_servers, group) == 0


def test_only_committed_transactions_are_read(kafka: KafkaBroker, make_topic: MakeTopic, group: str) -> None:
    """Transactions work on the single node, markers included; what was aborted shows only to read_uncommitted."""
    topic = make_topic()
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "transactional.id": group, "log_level": 0})
    producer.init_transactions(30)
    for value, commit in ((b"aborted", False), (b"kept", True)):
        producer.begin_transaction()
        producer.produce(topic, value)
        producer.flush(30)  # aborting would otherwise drop what was not sent yet
        (producer.commit_transaction if commit else producer.abort_transaction)(30)
    assert [record.value for record in read_topic(kafka.bootstrap_servers, topic)] == [b"kept"]
    uncommitted = read_topic(kafka.bootstrap_servers, topic, read_committed=False)
    assert [record.value for record in uncommitted] == [b"aborted", b"kept"]


def test_a_topic_that_nobody_made_does_not_exist(kafka: KafkaBroker, group: str) -> None:
    """Writing to a topic that is not there fails instead of making it."""
    with pytest.raises(KafkaException):
        produce(kafka.bootstrap_servers, group, [Sent(None, b"v")], topic_metadata_propagation_max_ms=500)


def test_topics_can_grow(kafka: KafkaBroker, make_topic: MakeTopic) -> None:
    """Partitions added later are there when the call returns or shortly after."""
    topic = make_topic()
    add_partitions(kafka.bootstrap_servers, topic, 3)
    wait_until(lambda: len(end_offsets(kafka.bootstrap_servers, topic)) == 3, "three partitions")


@pytest.mark.parametrize("crash", [False, True], ids=["stop", "kill"])
def test_a_restart_keeps_address_and_data(private_kafka: KafkaBroker, *, crash: bool) -> None:
    """After a stop or a crash the broker answers nowhere; after the next start all is where it was."""
    address = private_kafka.bootstrap_servers
    create_topic(address, "t", partitions=30)  # so many that leading them again takes a while
    produce(address, "t", [Sent(b"k", b"before", partition=0)])
    _commit(private_kafka, "g", "t", 1, "m")
    (private_kafka.kill if crash else private_kafka.stop)()
    assert not answers(address)
    private_kafka.start()
    assert private_kafka.bootstrap_servers == address
    assert end_offsets(address, "t") == {number: 1 if number == 0 else 0 for number in range(30)}
    produce(address, "t", [Sent(b"k", b"after", partition=0)])
    assert [record.value for record in read_topic(address, "t")] == [b"before", b"after"]
    assert committed(address, "g", "t") == {0: Position(1, "m")}


def test_a_frozen_broker_goes_on(private_kafka: KafkaBroker) -> None:
    """A paused broker answers nothing and loses nothing."""
    create_topic(private_kafka.bootstrap_servers, "t")
    produce(private_kafka.bootstrap_servers, "t", [Sent(b"k", b"v")])
    private_kafka.pause()
    assert not answers(private_kafka.bootstrap_servers)
    private_kafka.unpause()
    assert len(read_topic(private_kafka.bootstrap_servers, "t")) == 1


def _run_pytest(test: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).parents[2]
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"{__file__}::{test}"],
        cwd=root,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"TEST_KAFKA": "container", "DOCKER_HOST": "tcp://127.0.0.1:9"}, "no Docker engine answers"),
        ({"TEST_KAFKA": "container", "DOCKER_HOST": "unix:///nowhere/d.sock"}, "no Docker engine answers"),
        ({"TEST_KAFKA": "jvm", "XDG_CACHE_HOME": "{tmp}", "MAVEN_REPOSITORY": "file:///nowhere"}, "fetched"),
        ({"TEST_KAFKA": "cluster"}, "it may be container, jvm or auto"),
    ],
    ids=["no-engine", "no-socket", "no-jars", "no-such-way"],
)
def test_without_kafka_the_run_fails_and_says_why(environment: dict[str, str], said: str, tmp_path: Path) -> None:
    """Where no Kafka can be had, tests fail with what was tried: none is skipped."""
    environment = {name: value.format(tmp=tmp_path) for name, value in environment.items()}
    run = _run_pytest("test_topics_can_grow", environment)
    assert run.returncode == 1
    assert "kafka: NONE" in run.stdout
    assert said in run.stdout
    assert "1 error" in run.stdout
    assert "skipped" not in run.stdout


def test_programs_are_watched(start_program: StartProgram) -> None:
    """The console script's runner sees log lines, CPU time and exit codes, also of one that is killed."""
    code = 'import sys,time; print(\'{"event": "up"}\', file=sys.stderr); sum(range(3_000_000)); time.sleep(60)'
    program = start_program(command=(sys.executable, "-c", code))
    program.wait_for_log("up")
    assert program.events() == [{"event": "up"}]
    wait_until(lambda: program.cpu_seconds() > 0, "some CPU time")
    program.kill9()
    assert program.returncode == -9
    assert program.cpu_seconds() > 0
    with pytest.raises(AssertionError, match="ended without the log line"):
        program.wait_for_log("down")
