"""The commands around the worker, against a real Kafka: what they say, and with which code they end."""

import json
import re
import signal
from typing import Any

import pytest

from enricher.testing.contacts import contacts
from enricher.testing.faults import Faults
from enricher.testing.threaded import ThreadedHistoryServer
from tests.conftest import StartProgram
from tests.harness.broker import KafkaBroker, free_port
from tests.harness.clients import produce
from tests.harness.program import Program
from tests.harness.waiting import wait_until
from tests.integration.worker_world import World, contact, sent_contacts

pytestmark = pytest.mark.kafka


# ---- check ---------------------------------------------------------------------------------------------------------


def _check(start: StartProgram, world: World, *arguments: str, **changes: str) -> tuple[int, dict[str, Any]]:
    """Exit code and answer of ``enricher check --json``; in names of settings ``__`` stands for a dot."""
    sets = world.sets({name.replace("__", "."): value for name, value in changes.items()})
    program = start("check", "--json", "--timeout=3", *arguments, *sets)
    code = program.wait(30)
    assert program.err == []
    answer: dict[str, Any] = json.loads("\n".join(program.out))
    assert answer["ok"] == all(finding["ok"] for finding in answer["findings"])
    assert all(finding["remedy"] for finding in answer["findings"] if not finding["ok"])
    return code, answer


def _wrong(answer: dict[str, Any]) -> dict[str, str]:
    return {finding["what"]: finding["message"] for finding in answer["findings"] if not finding["ok"]}


def test_check_finds_nothing_wrong(world: World, start_program: StartProgram) -> None:
    """Everything is there: exit code 0, in words and in JSON; nobody has joined the group or read anything."""
    code, answer = _check(start_program, world)
    assert (code, _wrong(answer)) == (0, {})
    assert {finding["what"] for finding in answer["findings"]} == {
        "brokers",
        "input topic",
        "output topic",
        "dead-letter topic",
        "service",
    }
    assert world.service.stats.requests == 1
    program = start_program("check", *world.sets())
    assert program.wait(30) == 0
    assert program.out
    assert all(line.startswith(("[ok]", " ")) for line in program.out)
    assert world.positions() == {}


def test_check_tells_everything_at_once(
    kafka: KafkaBroker, start_program: StartProgram, service: ThreadedHistoryServer
) -> None:
    """A topic that is missing, dead letters that will not fit and a service that is down, in one go: exit code 3."""
    limits = {"input": 4_000_000, "dead": 1_000_000}
    world = World(kafka.bootstrap_servers, start_program, service, limits=limits, without=["output"])
    service.faults = Faults(down="refuse")
    code, answer = _check(start_program, world)
    wrong = _wrong(answer)
    assert code == 3
    assert set(wrong) == {"output topic", "dead-letter topic", "service"}
    assert world.output in wrong["output topic"]
    assert "4000000" in wrong["dead-letter topic"]
    program = start_program("check", *world.sets())
    assert program.wait(30) == 3
    assert sum(line.startswith("[wrong]") for line in program.out) == 3


def test_check_tells_of_brokers_and_service_together(world: World, start_program: StartProgram) -> None:
    """That no broker answers is no reason to say nothing of the service."""
    address = f"127.0.0.1:{free_port()}"
    code, answer = _check(start_program, world, kafka__bootstrap_servers=address, service__url="http://127.0.0.1:1/x")
    wrong = _wrong(answer)
    assert code == 3
    assert set(wrong) == {"brokers", "service"}
    assert address in wrong["brokers"]


@pytest.mark.parametrize(
    ("path", "faults", "kind"),
    [
        ("/other", Faults(), "NotFound"),
        ("", Faults(html=1.0), "NotJson"),
        ("", Faults(status={"401": 1.0}), "Unauthorized"),
    ],
    ids=["wrong-path", "page", "no-rights"],
)
def test_check_names_what_is_wrong_with_the_service(
    path: str, faults: Faults, kind: str, world: World, start_program: StartProgram
) -> None:
    """Each way to be no good service is told apart; the customer that it was asked for is not shown."""
    world.service.faults = faults
    url = world.service.base_url + path if path else world.service.url
    code, answer = _check(start_program, world, "--customer=CUST-SECRET", service__url=url)
    assert code == 3
    assert kind in _wrong(answer)["service"]
    assert "CUST-SECRET" not in json.dumps(answer)


# ---- tail ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def enriched(world: World) -> World:
    """A world with thirty enriched events of three customers, and no worker any more."""
    world.send(contact(f"CUST-{number % 3:06d}", number) for number in range(30))
    worker = world.worker({"delivery.order": "partition"})  # so that the newest of a partition are at its end
    world.await_committed()
    assert worker.terminate() == 0
    return world


def _tail(start: StartProgram, world: World, *arguments: str) -> Program:
    program = start("tail", world.output, f"--bootstrap-servers={world.bootstrap_servers}", *arguments)
    assert program.wait(30) == 0
    assert program.err == []
    return program


def test_tail_shows_the_newest_events(enriched: World, start_program: StartProgram) -> None:
    """The newest of all partitions together, by their time; as JSON lines, and as text."""
    numbers = [
        json.loads(line)["contact"]["eventId"]
        for line in _tail(start_program, enriched, "-n5", "--json", "--show-ids").out
    ]
    assert numbers == [f"E-CUST-{number % 3:06d}-{number}" for number in range(25, 30)]
    everything = [json.loads(line) for line in _tail(start_program, enriched, "--all", "--json").out]
    assert {event["enrichment"]["topic"] for event in everything} == {enriched.input}
    assert len({event["contact"]["eventId"] for event in everything}) == 30
    assert _tail(start_program, enriched, "-n0", "--json").out == []
    text = _tail(start_program, enriched, "--last=1", "--offers=2", "--show-ids").out
    assert text[0].startswith("E-CUST-000002-29")
    assert "customer CUST-000002" in text[0]
    assert sum(re.match(r" {4}\d{4}-", line) is not None for line in text) == 2
    assert "and 8 older ones" in "\n".join(text)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_tail_follows_until_it_is_stopped(number: signal.Signals, enriched: World, start_program: StartProgram) -> None:
    """It goes on with what comes, and a signal ends it without a complaint."""
    tail = start_program("tail", "--follow", "--json", "-n1", "--show-ids", *enriched.sets())
    wait_until(lambda: tail.out, "the events that are there")
    enriched.send([contact("CUST-LATER", 99)])
    worker = enriched.worker()
    wait_until(lambda: any("E-CUST-LATER-99" in line for line in tail.out), "the new event")
    assert worker.terminate() == 0
    assert tail.running
    tail.send(number)
    assert tail.wait(10) == 0
    assert tail.err == []


def test_tail_tells_what_it_cannot_show(world: World, start_program: StartProgram) -> None:
    """Foreign records are told on stderr and passed over; a topic or a broker that is not there is told in a line."""
    address = f"127.0.0.1:{free_port()}"
    away = start_program("tail", "t", "-b", address)
    produce(world.bootstrap_servers, world.output, [contact("CUST-000001", 0)])
    program = start_program("tail", world.output, "-b", world.bootstrap_servers, "--json")
    assert program.wait(30) == 0
    assert program.out == []
    assert "no enriched event" in "\n".join(program.err)
    missing = start_program("tail", "no-such-topic", "-b", world.bootstrap_servers)
    assert missing.wait(30) == 2
    assert "no-such-topic" in "\n".join(missing.err)
    assert away.wait(30) == 1
    [complaint] = away.err
    assert address in complaint


# ---- demo and run --------------------------------------------------------------------------------------------------


def test_the_demo_accounts_for_every_event(start_program: StartProgram, kafka: KafkaBroker) -> None:
    """On the embedded broker and on a real one the demo succeeds, and says what became of each event."""
    options = ("--events=1500", "--customers=200", "--broken=0.02", "--latency=10ms", "--json")
    both = [start_program("demo", *options), start_program("demo", *options, f"--kafka={kafka.bootstrap_servers}")]
    for program in both:
        assert program.wait(60) == 0, program.tail()
        [line] = program.out
        result = json.loads(line)
        assert result["complaints"] == []
        assert result["in"] == 1_500 == result["out"] + result["dead_letters"]
        broken = [one.broken for one in contacts(1_500, customers=200, broken_rate=0.02) if one.broken is not None]
        assert result["dead_letters"] == len(broken) == sum(result["dead_letter_causes"].values())


def test_the_demo_shows_its_work_to_people(start_program: StartProgram) -> None:
    """Without --json it shows some events and a summary; a stop in the middle is no success."""
    program = start_program("demo", "--events=300", "--latency=5ms")
    assert program.wait(60) == 0, program.tail()
    assert "every event is accounted for" in "\n".join(program.out)
    stopped = start_program("demo", "--events=300", "--latency=5s")
    wait_until(lambda: any("produced 300" in line for line in stopped.out), "the demo under way")
    assert stopped.terminate() == 1
    assert "stopped early" in "\n".join(stopped.out)


def test_run_tells_all_wrong_settings_at_once(world: World, start_program: StartProgram) -> None:
    """Several mistakes are named together, before anything is connected to: exit code 2."""
    wrong = {
        "service.timeout": "fast",
        "service.url": "ftp://host/x",
        "buffer.max_records": "0",
        "delivery.order": "random",
        "output.topic": "no topic!",
        "service.deadlne": "3s",
        "kafka.consumer.enable.auto.commit": "true",
    }
    program = world.worker(wrong)
    assert program.wait(30) == 2
    answer = json.loads("\n".join(program.out))
    assert {problem["name"] for problem in answer["problems"]} == set(wrong)
    text = start_program("run", *world.sets(wrong))
    assert text.wait(30) == 2
    for name in wrong:
        assert f"- {name} " in "\n".join(text.err)
    assert world.service.stats.requests == 0


def test_run_waits_for_brokers_that_do_not_answer(
    start_program: StartProgram, service: ThreadedHistoryServer, private_kafka: KafkaBroker
) -> None:
    """Started before its broker the worker waits, says so, and begins by itself; a stop meanwhile is in order."""
    world = World(private_kafka.bootstrap_servers, start_program, service)
    world.send(sent_contacts(contacts(100)))
    private_kafka.stop()
    early, other = world.worker(), world.worker()
    early.wait_for_log("kafka_not_reached")
    other.wait_for_log("kafka_not_reached")
    assert other.terminate() == 0
    private_kafka.start()
    world.await_committed()
    assert early.terminate() == 0
    world.audit()
