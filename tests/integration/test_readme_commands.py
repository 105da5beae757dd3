"""The commands that the README shows, run as it shows them; only the addresses and topics are those of the test."""

import shlex
from pathlib import Path

import pytest
import yaml

from enricher.testing.contacts import contacts
from tests.conftest import MakeTopic, StartProgram
from tests.harness.broker import KafkaBroker, free_port
from tests.harness.clients import Sent, create_topic, end_offsets, produce
from tests.harness.waiting import wait_until
from tests.integration.worker_world import sent_contacts
from tests.readme import blocks, commands

pytestmark = pytest.mark.kafka


def test_the_commands_work_as_shown(
    kafka: KafkaBroker, make_topic: MakeTopic, start_program: StartProgram, tmp_path: Path
) -> None:
    """History service, check, run and tail, with the README's own file of settings."""
    topics = {name: make_topic(name) for name in ("contacts", "enriched")}
    create_topic(kafka.bootstrap_servers, f"{topics['contacts']}.dlq")
    port, admin_port = free_port(), free_port()
    [example] = [block for block in blocks("yaml") if "bootstrap_servers" in block]
    tree = yaml.safe_load(example)
    tree["kafka"]["bootstrap_servers"] = kafka.bootstrap_servers
    tree["input"]["topics"] = [topics[name] for name in tree["input"]["topics"]]
    tree["output"]["topic"] = topics[tree["output"]["topic"]]
    tree["service"]["url"] = tree["service"]["url"].replace("8089", str(port))
    tree["http"] = {"listen": "127.0.0.1:0"}
    (tmp_path / "enricher.yaml").write_text(yaml.safe_dump(tree), "utf-8")
    produce(kafka.bootstrap_servers, topics["contacts"], sent_contacts(contacts(50, customers=10)))

    shown = [shlex.split(line)[1:] for line in commands("enricher") if "--follow" not in line]
    by_name = {words[0]: words[1:] for words in shown}
    service_words = [word.replace("8089", str(port)) for word in by_name["history-service"]]
    service = start_program("history-service", *service_words, "--admin-port", str(admin_port))
    wait_until(lambda: bool(service.out), "the history service")
    checked = start_program("check", *by_name["check"], cwd=tmp_path)
    assert checked.wait() == 0, checked.tail()
    worker = start_program("run", *by_name["run"], cwd=tmp_path)
    wait_until(
        lambda: sum(end_offsets(kafka.bootstrap_servers, topics["enriched"]).values()) == 50, "50 enriched events"
    )
    shown_events = start_program("tail", *by_name["tail"], cwd=tmp_path)
    assert shown_events.wait() == 0, shown_events.tail()
    assert sum("customer ~" in line for line in shown_events.out) == int(by_name["tail"][-1])
    assert worker.terminate() == 0
    assert service.terminate() == 0


def test_the_composition_can_be_followed_as_shown(
    kafka: KafkaBroker, make_topic: MakeTopic, start_program: StartProgram
) -> None:
    """The line that follows the composition's output: it goes on until it is stopped."""
    [line] = [line for line in commands("enricher") if "--follow" in line]
    words = shlex.split(line)[1:]
    words[1], words[3] = make_topic(words[1]), kafka.bootstrap_servers
    tail = start_program(*words)
    produce(kafka.bootstrap_servers, words[1], [Sent(None, b"none of ours")])
    tail.wait_for_log("is no enriched event")
    assert tail.terminate() == 0, tail.tail()
