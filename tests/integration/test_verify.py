"""``enricher verify`` against a real Kafka: it finds nothing wrong where nothing is, and whatever is."""

import json
from typing import Any

import pytest

from enricher.codec import decode_enriched
from enricher.model import Record
from enricher.testing.contacts import contacts
from enricher.testing.faults import Behaviour, Faults
from tests.conftest import StartProgram
from tests.harness.broker import KafkaBroker, free_port
from tests.harness.clients import Sent, commit, produce, read_topic, unique_name
from tests.harness.waiting import wait_until
from tests.integration.worker_world import World, contact, sent_contacts

pytestmark = pytest.mark.kafka


def _verify(start: StartProgram, world: World, *arguments: str, **changes: str) -> tuple[int, dict[str, Any]]:
    """Exit code and report; in names of settings ``__`` stands for a dot."""
    sets = world.sets({name.replace("__", "."): value for name, value in changes.items()})
    program = start("verify", "--json", *arguments, *sets)
    code = program.wait(60)
    assert program.out, program.tail()
    report: dict[str, Any] = json.loads("\n".join(program.out))
    return code, report


def _counts(report: dict[str, Any]) -> dict[str, int]:
    names = ("missing", "repeated", "out_of_order", "changed", "commits")
    return {name: report[name]["count"] for name in names if report[name]["count"]}


def _again(record: Record) -> Sent:
    """A record of a topic, to be written there again."""
    return Sent(record.key, record.value, record.headers, record.timestamp, record.partition)


@pytest.fixture
def done(world: World) -> World:
    """A world in which a worker has done everything, broken events included."""
    world.send(sent_contacts(contacts(600, customers=100, broken_rate=0.05)))
    worker = world.worker()
    world.await_committed()
    assert worker.terminate() == 0
    return world


def test_a_run_is_verified_and_what_is_wrong_is_found(done: World, start_program: StartProgram) -> None:
    """All is well at first; then a repeat, an old one at that, a changed one and a missing one are each found."""
    code, report = _verify(start_program, done, "--once")
    assert (code, report["ok"], _counts(report)) == (0, True, {})
    assert report["inputs"] == report["outputs"] + report["dead_letters"] == 600
    assert all(span["committed"] == span["end"] for span in report["spans"])
    text = start_program("verify", *done.sets())
    assert text.wait(60) == 0
    assert sum(line.startswith("[ok] ") for line in text.out) == 5
    assert "600 inputs" in "\n".join(text.out)
    assert [line for line in text.err if line.startswith(f"{done.input}: ")], "no progress without a terminal"

    [first, *_] = [record for record in read_topic(done.bootstrap_servers, done.output) if record.key]
    source = decode_enriched(first.value or b"").enrichment
    place = {"topic": done.input, "partition": source.partition, "offset": source.offset}
    produce(done.bootstrap_servers, done.output, [_again(first), Sent(None, b"none of ours")])
    code, report = _verify(start_program, done)
    assert (code, _counts(report)) == (0, {"repeated": 1})
    assert report["others"]["unreadable"] == 1
    code, report = _verify(start_program, done, delivery__guarantee="exactly-once")
    assert (code, report["wrong"]) == (3, ["repeated"])
    [example] = report["repeated"]["examples"]
    assert place.items() <= example.items()

    produce(done.bootstrap_servers, done.output, [_again(first)._replace(headers=[])])
    [lost] = done.send([contact("CUST-LOST")])
    commit(done.bootstrap_servers, done.group, done.input, {lost.partition: lost.offset + 1})
    code, report = _verify(start_program, done, "--examples=1")
    assert (code, _counts(report)) == (3, {"missing": 1, "repeated": 1, "changed": 1})
    assert report["not_committed"] == 0
    text = start_program("verify", *done.sets())
    assert text.wait(60) == 3
    assert f"    {done.input}[{lost.partition}]@{lost.offset}: committed as resolved, and nowhere" in text.out
    assert [line.split()[0] for line in text.out if line.startswith("[")] == [
        "[wrong]",
        "[repeats]",
        "[ok]",
        "[wrong]",
        "[ok]",
    ]


def test_order_and_commits_are_looked_at(world: World, start_program: StartProgram) -> None:
    """Outputs of one key the wrong way round, and a commit beyond the log."""
    world.send(contact("CUST-000001", number, partition=0) for number in range(10))
    worker = world.worker()
    world.await_committed()
    assert worker.terminate() == 0
    outputs = read_topic(world.bootstrap_servers, world.output)
    assert len(outputs) == 10
    other = World(world.bootstrap_servers, start_program, world.service, partitions=1)
    produce(other.bootstrap_servers, other.output, [_again(record)._replace(partition=0) for record in outputs[::-1]])
    commit(world.bootstrap_servers, world.group, world.input, {0: 11})
    code, report = _verify(start_program, world, output__topic=other.output)
    assert (code, _counts(report)) == (3, {"out_of_order": 9, "commits": 1})
    code, report = _verify(start_program, world, output__topic=other.output, delivery__order="none")
    assert _counts(report) == {"commits": 1}


def test_a_range_is_verified_while_the_worker_is_behind(world: World, start_program: StartProgram) -> None:
    """Up to what is committed nothing is missing; by offsets and by time, too; beyond it events may still come."""
    world.service.faults = Faults(customers={"CUST-HANG": Behaviour(hang=1.0)})
    early = [contact(f"CUST-{number:06d}", number, partition=number % 4) for number in range(40)]
    world.send(early)
    hanging = world.send([contact("CUST-HANG", 50, partition=0)])
    world.send(contact(f"CUST-{number:06d}", number, partition=0) for number in range(60, 70))
    worker = world.worker({"service.timeout": "5m", "service.deadline": "5m"})
    wait_until(lambda: len(world.committed_places()) == 50, "all but one committed")
    code, report = _verify(start_program, world, "--to=committed", "--once")
    assert (code, _counts(report), report["inputs"], report["others"]["outside"]) == (0, {}, 40, 10)
    code, report = _verify(start_program, world)
    assert (code, _counts(report), report["not_committed"]) == (3, {"missing": 1}, 1)
    assert report["missing"]["examples"][0]["offset"] == hanging[0].offset
    at = hanging[0].offset
    code, report = _verify(start_program, world, f"--from={world.input}[0]@{at + 1}", f"--to=0@{at + 4}")
    assert (code, report["inputs"], report["others"]["outside"]) == (0, 3, 47)
    time = _iso(early[20].timestamp or 0)
    code, report = _verify(start_program, world, f"--from={time}", "--to=committed")
    assert (code, report["inputs"]) == (0, 20)
    world.service.faults = Faults()
    worker.kill9()


def test_a_transaction_that_is_aborted_is_not_there(world: World, start_program: StartProgram) -> None:
    """Neither as input nor as output, and the gaps that transactions leave in the offsets are no mistake.

    One that is still open hides what is behind it, which the report says.
    """
    from confluent_kafka import Producer

    producer = Producer(
        {"bootstrap.servers": world.bootstrap_servers, "transactional.id": unique_name("producer"), "linger.ms": 5}
    )
    producer.init_transactions(30)
    for number in range(6):
        producer.begin_transaction()
        record = contact(f"CUST-{number:06d}", number)
        producer.produce(world.input, record.value, record.key, partition=0, timestamp=record.timestamp or 0)
        assert producer.flush(30) == 0  # an abort would purge what is not sent yet
        if number % 2:
            producer.abort_transaction(30)
        else:
            producer.commit_transaction(30)
    worker = world.worker({"delivery.guarantee": "exactly-once"})
    # 6 records and 6 markers: the last record that was not aborted has offset 8
    wait_until(lambda: 0 in (at := world.positions()) and at[0].offset > 8, "all input committed", 60)
    assert worker.terminate() == 0
    code, report = _verify(start_program, world, "--once")
    assert (code, _counts(report), report["inputs"], report["outputs"]) == (0, {}, 3, 3)
    [span] = [span for span in report["spans"] if span["partition"] == 0]
    assert span["end"] == 12
    assert report["notes"] == []
    producer.begin_transaction()
    producer.produce(world.output, b"open", partition=1)
    assert producer.flush(30) == 0
    code, report = _verify(start_program, world)
    [note] = report["notes"]
    assert note.startswith(f"{world.output}[1] has a transaction open at offset ")
    producer.abort_transaction(30)


def test_mistakes_are_told(kafka: KafkaBroker, world: World, start_program: StartProgram) -> None:
    """A point that is none, a topic or partition that is not there: exit code 2; brokers that do not answer: 1."""
    assert kafka.bootstrap_servers == world.bootstrap_servers
    code, answer = _verify(start_program, world, "--from=yesterday")
    assert code == 2
    assert "yesterday" in answer["error"]
    code, answer = _verify(start_program, world, "--from=99@1")
    assert code == 2
    missing = unique_name("nowhere")
    program = start_program("verify", *world.sets({"output.topic": missing}))
    assert program.wait(30) == 2
    assert [line for line in program.err if missing in line]
    address = f"127.0.0.1:{free_port()}"
    code, answer = _verify(start_program, world, kafka__bootstrap_servers=address)
    assert code == 1
    assert address in answer["error"]


def _iso(milliseconds: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat()
