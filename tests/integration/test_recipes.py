"""The recipes of ``docs/recipes.md``, as they are written there, against a real Kafka."""

import shlex
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
import yaml

from enricher.codec import decode_enriched
from enricher.model import REPLAY_HEADER
from enricher.testing.contacts import contacts
from enricher.testing.faults import Faults
from tests.conftest import StartProgram
from tests.harness.clients import Sent, create_topic, end_offsets, produce, read_topic, unique_name
from tests.harness.program import Program
from tests.harness.waiting import wait_until
from tests.integration.worker_world import World, contact, sent_contacts
from tests.readme import ROOT

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]  # many programs, one after the other

EVENTS = 400


class Recipes:
    """Runs the commands of a recipe, with the names of this world in place of those in the document."""

    def __init__(self, start: StartProgram, names: Mapping[str, str], begin: int) -> None:
        self._start = start
        self.names = names
        self.begin = begin
        text = (ROOT / "docs" / "recipes.md").read_text("utf-8")
        self._sections = {part.split("\n", 1)[0]: part for part in text.split("\n## ")[1:]}

    def commands(self, title: str) -> Iterator[list[str]]:
        """The arguments of each command of a recipe."""
        blocks = self._sections[title].split("```sh\n")[1:]
        for line in "".join(block.split("```")[0] for block in blocks).splitlines():
            for name, ours in self.names.items():
                line = line.replace(name, ours)  # noqa: PLW2901  it is the line that is run
            yield shlex.split(line)[1:]

    def run(self, title: str, codes: Sequence[int] = ()) -> list[Program]:
        """Run a recipe; each command has to succeed, or to end with the code that is given."""
        programs = []
        for number, arguments in enumerate(self.commands(title)):
            program = self._start(*arguments)
            assert program.wait(180) == (codes[number] if codes else 0), program.tail()
            programs.append(program)
        return programs


@pytest.fixture
def recipes(world: World, start_program: StartProgram, tmp_path: Path) -> Recipes:
    """The recipes, with what they name: topics, files, and the day, which is a minute of half an hour ago."""
    begin = (int(time.time()) - 1_800) * 1_000
    settings = {
        "kafka": {"bootstrap_servers": world.bootstrap_servers, "group_id": world.group},
        "input": {"topics": [world.input]},
        "output": {"topic": world.output, "dead_letter_topic": world.dead},
        "service": {"url": world.service.url},
    }
    (tmp_path / "enricher.yaml").write_text(yaml.safe_dump(settings))
    (tmp_path / "ids.txt").write_text("CUST-000001\nCUST-000002\n")
    new_topic = unique_name("v2")
    create_topic(world.bootstrap_servers, new_topic, partitions=2)
    day = [time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(begin // 1000 + second)) for second in (0, 60)]
    names = {
        "enricher.yaml": str(tmp_path / "enricher.yaml"),
        "ids.txt": str(tmp_path / "ids.txt"),
        "2026-11-01T00:00Z": day[0],
        "2026-11-02T00:00Z": day[1],
        "enriched-v2": new_topic,
        "http://staging:8089/history": world.service.url,
        "contacts.dlq": world.dead,
    }
    return Recipes(start_program, names, begin)


def test_the_recipes_do_what_they_say(world: World, recipes: Recipes) -> None:
    """One after the other, on the outputs of a live worker that has done its work."""
    world.send(sent_contacts(contacts(EVENTS, customers=50), start=recipes.begin))
    worker = world.worker()
    world.await_committed()
    assert worker.terminate() == 0
    [compared] = recipes.run("See what a change would do before it goes live")
    assert f"{EVENTS} would be the same" in "\n".join(compared.out)
    [dry_run, *_, resumed] = recipes.run("Replay a day after an outage")
    assert f"{EVENTS} events, which is as many calls" in "\n".join(dry_run.out)
    assert resumed.out[-1].startswith("  0 enriched")
    assert _replayed(world, "outage") == EVENTS
    recipes.run("Back-fill a new downstream topic")
    assert _written(world, recipes.names["enriched-v2"]) == EVENTS
    recipes.run("Put the outputs of some customers right")
    ours = sum(sent.key in (b"CUST-000001", b"CUST-000002") for sent in world.sent.values())
    assert _replayed(world, "repaired") == ours > 0


def test_a_bad_schema_is_fixed(world: World, recipes: Recipes) -> None:
    """Where all outputs are in a schema that nobody knows."""
    world.send(sent_contacts(contacts(100, customers=20), start=recipes.begin))
    bad = b"\xc3\x01" + b"\x07" * 8 + b"something"
    produce(world.bootstrap_servers, world.output, [Sent(b"k", bad, timestamp=recipes.begin)] * 100)
    before, _, after = recipes.run("Fix a bad schema", codes=[3, 0, 0])
    told = "\n".join(before.out)
    assert "100 have no output there, and would have one" in told
    assert f"100 records of {world.output} cannot be read" in told
    assert "100 would be the same" in "\n".join(after.out)
    assert _written(world, world.output) == 100


def test_dead_letters_go_back_after_a_bug_fix(world: World, recipes: Recipes) -> None:
    """Each once, a few before the others; what fails for another reason stays where it is."""
    world.service.faults = Faults(status={"400": 1.0})
    world.send(contact(f"CUST-{number:06d}", number) for number in range(30))
    world.send([Sent(b"k", b"no event", timestamp=recipes.begin)])
    worker = world.worker()
    world.await_committed()
    world.service.faults = Faults()
    listed, shown, _, again, sent = recipes.run("Send dead letters back after a bug fix")
    assert "30  lookup  BadRequest" in listed.out[0]
    assert sum("dead letter, lookup: BadRequest" in line for line in shown.out) == 3
    assert "CUST-" not in "\n".join(shown.out)
    assert "20  lookup  BadRequest" in again.out[0]
    assert "20 dead letters went back" in sent.out
    wait_until(lambda: _written(world, world.output) >= 30, "all outputs", 60)
    assert worker.terminate() == 0
    places = Counter(
        decode_enriched(record.value or b"").contact.event_id
        for record in read_topic(world.bootstrap_servers, world.output)
    )
    assert places == Counter(f"E-CUST-{number:06d}-{number}" for number in range(30))


def _written(world: World, topic: str) -> int:
    return sum(end_offsets(world.bootstrap_servers, topic).values())


def _replayed(world: World, name: str) -> int:
    found = read_topic(world.bootstrap_servers, world.output)
    assert all(decode_enriched(record.value or b"") for record in found)
    return sum((REPLAY_HEADER, name.encode()) in record.headers for record in found)
