"""``enricher redrive`` against a real Kafka: a job whose dead letters go back, and redrives that are killed."""

import json
from collections import Counter
from functools import partial
from typing import Any

import pytest

from enricher.codec import decode_enriched
from enricher.deadletter import dead_letter
from enricher.model import Record, Rejected, Stage
from enricher.redrive.letters import ORIGIN, REDRIVES, read_letter
from enricher.testing.faults import Faults
from tests.conftest import StartProgram
from tests.harness.clients import Sent, end_offsets, produce, read_topic
from tests.harness.waiting import wait_until
from tests.integration.worker_world import World, contact

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]  # each starts the program some times, on shared machines


def redrive(start: StartProgram, world: World, *arguments: str, code: int = 0) -> dict[str, Any]:
    """The answer of ``enricher redrive --json``, which has to end with a code."""
    program = start("redrive", "--json", *arguments, *world.sets())
    assert program.wait(60) == code, program.tail()
    answer: dict[str, Any] = json.loads(program.out[-1])
    assert ("error" in answer) is ("kinds" not in answer), answer
    assert ("error" in answer) is (code == 2), answer
    return answer


def kinds(answer: dict[str, Any]) -> dict[str, int]:
    """The counts by cause."""
    return {kind["cause"]: kind["count"] for kind in answer["kinds"]}


def written(world: World) -> int:
    """Records and markers of transactions in the input."""
    return sum(end_offsets(world.bootstrap_servers, world.input).values())


def _number(record: Record) -> int:
    """The number of a contact of ours."""
    return int(json.loads(record.value or b"")["eventId"].rpartition("-")[2])


def _more_than(world: World, count: int) -> bool:
    return written(world) > count


def test_dead_letters_go_back_when_their_cause_is_gone(world: World, start_program: StartProgram) -> None:
    """The service calls every event bad until it is repaired; what is broken itself fails again, and then stays."""
    broken = Sent(b"CUST-000009", b'{"customerId": "CUST-000009", ', [("trace", b"9")], 1_790_000_000_000)
    world.service.faults = Faults(status={"400": 1.0})
    world.send([*(contact(f"CUST-{number % 7:06d}", number) for number in range(40)), broken])
    worker = world.worker()
    world.await_committed()

    listed = redrive(start_program, world, "--list")
    assert kinds(listed) == {"BadRequest": 40, "InvalidJson": 1}
    assert "CUST-" not in json.dumps(listed)
    looked = start_program(
        "tail", world.dead, "--outcome=badrequest", "--customer=CUST-000001", "--json", *world.sets()
    )
    assert looked.wait(60) == 0, looked.tail()
    assert [json.loads(line)["deadLetter"]["cause"] for line in looked.out] == 6 * ["BadRequest"]
    assert "CUST-" not in "\n".join(looked.out)
    tried = redrive(start_program, world, "--cause=badrequest", "--limit=30", "--dry-run")
    assert (tried["sent"], tried["dry_run"]) == (30, True)
    assert written(world) == 41

    world.service.faults = Faults()
    assert redrive(start_program, world, "--stage=lookup")["sent"] == 40
    world.await_published(81)
    outputs = read_topic(world.bootstrap_servers, world.output)
    found = Counter(decode_enriched(record.value or b"").contact.event_id for record in outputs)
    assert found == Counter(f"E-CUST-{number % 7:06d}-{number}" for number in range(40))
    assert all(dict(record.headers)["enricher-redrives"] == b"1" for record in outputs)

    for sent, published in ((1, 82), (1, 83), (0, 83)):
        answer = redrive(start_program, world, "--all", "--max-redrives=2")
        assert (answer["sent"], answer["left"]) == (sent, {} if sent else {"max-redrives": 1})
        world.await_published(published)
    assert worker.terminate() == 0
    world.check_logs()
    [last] = [one for one in read_topic(world.bootstrap_servers, world.dead) if (REDRIVES, b"2") in one.headers]
    letter = read_letter(last.headers)
    assert letter is not None
    assert (letter.cause, letter.redrives, letter.times) == ("InvalidJson", 2, 3)
    assert letter.before is not None
    assert letter.before.startswith("decode: InvalidJson: ")
    assert (last.key, last.value, last.timestamp, last.headers[0]) == (
        broken.key,
        broken.value,
        broken.timestamp,
        ("trace", b"9"),
    )


def test_each_goes_back_once_though_redrives_are_killed(world: World, start_program: StartProgram) -> None:
    """Killed twice in the middle of their transactions, with a choice that leaves gaps."""
    rejected = Rejected(Stage.LOOKUP, "Timeout", "no answer")
    letters = []
    for number in range(900):
        sent = contact("CUST-ODD" if number % 3 else "CUST-EVEN", number)
        record = Record(world.input, number // 4 % 4, number, sent.timestamp or 0, sent.key, sent.value, sent.headers)
        made = dead_letter(record, rejected, world.dead)
        letters.append(Sent(made.key, made.value, made.headers, made.timestamp, partition=number % 4))
    places = produce(world.bootstrap_servers, world.dead, letters)
    chosen = {f"{world.dead}[{at.partition}]@{at.offset}" for at, sent in zip(places, letters, strict=True)
              if sent.key == b"CUST-ODD"}  # fmt: skip
    command = ("redrive", "--key=CUST-ODD", "--batch=1", *world.sets())
    for _ in range(2):
        enough = written(world) + 40
        program = start_program(*command)
        wait_until(partial(_more_than, world, enough), "some that went back", 60)
        program.kill9()
    assert redrive(start_program, world, "--key=CUST-ODD")["sent"] < len(chosen)
    back = read_topic(world.bootstrap_servers, world.input)
    assert Counter((dict(record.headers)[ORIGIN] or b"").decode() for record in back) == Counter(chosen)
    assert all(record.partition == _number(record) // 4 % 4 for record in back)
    assert redrive(start_program, world, "--all")["sent"] == len(letters) - len(chosen)


def test_what_cannot_go_back_is_told(world: World, start_program: StartProgram) -> None:
    """A topic that is not there ends with 2; records without a cause or from elsewhere are left, with 1."""
    assert "no-such-topic" in redrive(start_program, world, "no-such-topic", "--all", code=2)["error"]
    rejected = Rejected(Stage.LOOKUP, "Timeout", "no answer")
    foreign = dead_letter(Record("orders", 0, 1, 5, b"k", b"v", []), rejected, world.dead)
    produce(world.bootstrap_servers, world.dead, [Sent(b"k", b"v"), Sent(b"k", b"v", foreign.headers)])
    answer = redrive(start_program, world, "--all", code=1)
    assert (answer["sent"], answer["left"]) == (0, {"no-cause": 1, "no-source": 1})
    assert redrive(start_program, world, "--stage=lookup", f"--to-topic={world.input}")["sent"] == 1


def test_a_record_that_is_too_large_keeps_no_other_from_going(
    kafka: Any, start_program: StartProgram, service: Any
) -> None:
    """It is left and told; those in its transaction go back."""
    world = World(kafka.bootstrap_servers, start_program, service, partitions=1, limits={"input": 2_000})
    rejected = Rejected(Stage.LOOKUP, "Timeout", "no answer")
    values = [b"a", b"x" * 3_000, b"b"]
    made = [dead_letter(Record(world.input, 0, 1, 5, b"k", value, []), rejected, world.dead) for value in values]
    produce(world.bootstrap_servers, world.dead, [Sent(one.key, one.value, one.headers) for one in made],
            compression_type="none")  # fmt: skip
    answer = redrive(start_program, world, "--all", "--set=kafka.producer.compression.type=none", code=1)
    assert (answer["sent"], answer["left"]) == (2, {"too-large": 1})
    assert [record.value for record in read_topic(world.bootstrap_servers, world.input)] == [b"a", b"b"]
