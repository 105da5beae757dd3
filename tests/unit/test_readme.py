"""Every command, setting, header, file and link that the documents name exists, as they say it."""

import re
from pathlib import Path

import pytest
import typer.main
import yaml

from enricher.cli.app import app
from enricher.config import load
from enricher.config.tree import leaves
from enricher.deadletter import dead_letter
from enricher.model import Record, Rejected, Stage
from tests.readme import DOCUMENTS, README, ROOT, blocks, commands

TEXT = README.read_text("utf-8")
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]  # it is a group


@pytest.mark.parametrize("line", [line for document in DOCUMENTS for line in commands("enricher", document)])
def test_each_command_shown_takes_its_options(line: str) -> None:
    """The command exists, and has each option that the line gives it."""
    _, name, *words = line.split()
    command = COMMANDS[name]
    if words[0] in getattr(command, "commands", {}):
        command = command.commands[words[0]]
    options = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("-")} <= options


def test_the_table_of_commands_is_the_program() -> None:
    """Each command has a row, and each row a command."""
    assert set(re.findall(r"^\| `enricher ([a-z-]+)` \|", TEXT, re.MULTILINE)) == set(COMMANDS)


@pytest.mark.parametrize("line", [line for document in DOCUMENTS for line in commands("make", document)])
def test_each_make_target_shown_exists(line: str) -> None:
    """The Makefile has it."""
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert re.search(rf"^{line.split()[1]}:", makefile, re.MULTILINE)


def test_each_setting_named_exists() -> None:
    """What looks like a setting in backticks is one."""
    sections = {name.split(".")[0] for name in leaves()}
    named = {name for name in re.findall(r"`([a-z_]+(?:\.[a-z_]+)+)`", TEXT) if name.split(".")[0] in sections}
    assert named - set(leaves()) - {"enricher.yaml"} == set()
    assert len(named) > 10


def test_the_defaults_shown_are_the_defaults() -> None:
    """Each row of the table of settings has the default of the code."""
    rows = re.findall(r"^\| `([a-z_]+\.[a-z_.]+)` \| `([^`]+)` \|", TEXT, re.MULTILINE)
    assert rows
    defaults = [(name, leaves()[name].text(leaves()[name].default)) for name, _ in rows]
    assert [(name, str(value).lower() if isinstance(value, bool) else str(value)) for name, value in defaults] == rows


def test_the_settings_shown_are_accepted() -> None:
    """The example file is a whole configuration."""
    [example] = [block for block in blocks("yaml") if "bootstrap_servers" in block]
    tree = yaml.safe_load(example)
    overrides = [f"{section}.{name}={value}" for section, names in tree.items() for name, value in names.items()]
    settings = load(None, {}, [line.replace("['contacts']", "contacts") for line in overrides]).settings
    assert settings.output.dead_letter_topic == "contacts.dlq"


def test_the_headers_of_dead_letters_are_those() -> None:
    """The table names the headers that a dead letter gets."""
    record = Record("t", 0, 0, 0, None, b"", [])
    letter = dead_letter(record, Rejected(Stage.DECODE, "EmptyValue", "it is empty"), "t.dlq")
    written = {name for name, _ in letter.headers if name.startswith("__connect.")}
    table = TEXT.split("| header | value |")[1].split("\n\n")[0]
    prefix = "__connect.errors"
    assert {prefix + name.removeprefix(prefix) for name in re.findall(r"`([a-z_.]+)`", table) if "." in name} == written


def test_the_address_of_the_composition_is_the_one_it_publishes() -> None:
    """The README's address is that of docker-compose.yml, and the topic is made there."""
    composition = (ROOT / "docker-compose.yml").read_text("utf-8")
    [line] = [line for line in commands("enricher") if "--follow" in line]
    _, _, topic, _, address, _ = line.split()
    assert f'"127.0.0.1:${{KAFKA_PORT:-{address.split(":")[1]}}}:' in composition
    assert f" {topic}:" in composition


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    """Each link to a file of ours leads to one."""
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text("utf-8")):
        if "://" not in target:
            assert (document.parent / target).exists(), target


SEEN_ELSEWHERE = {
    "Redpanda Connect": (4010, 3410, 4387),
    "Bento": (1003,),
    "Parallel Consumer": (647, 857, 894, 409, 843, 826, 832, 487),
    "SmallRye": (866,),
    "numaflow": (3355,),
    "Dapr": (8248,),
    "Racecar": (309,),
    "arroyo": (),
    "poison": (),
    "Spring": (4258,),
    "Faust": (606, 596),
    "FastStream": (2618,),
    "FLINK-40456": (),
    "KAFKA-18579": (),
    "librdkafka": (1802, 1849, 5111, 4059, 2752, 3221, 3265, 4134, 4849, 5423),
    "confluent-kafka (aio)": (),
    "confluent-kafka-go": (193,),
    "confluent-kafka-python": (371,),
    "confluent-kafka-dotnet": (2418, 2008),
    "redpanda": (7072,),
    "karafka": (2367,),
    "KIP-848": (),
}
"""The failures of other programs that the page about delivery has to answer for, by program and number."""


def _catalogue() -> dict[str, set[str]]:
    """The rows of the page about delivery: what was seen, and the tests that answer for it."""
    text = (ROOT / "docs" / "delivery.md").read_text("utf-8").split("| seen in |")[1]
    rows = [line.split(" | ") for line in text.splitlines() if "`test_" in line]
    return {row[0].removeprefix("| "): set(re.findall(r"`(test_\w+)`", row[-1])) for row in rows}


@pytest.mark.parametrize(
    ("program", "number"),
    [(program, number) for program, numbers in SEEN_ELSEWHERE.items() for number in numbers or (None,)],
)
def test_each_failure_elsewhere_has_a_test(program: str, number: int | None) -> None:
    """A row of the catalogue names it, and a test."""
    [*rows] = [tests for seen, tests in _catalogue().items() if program in seen and _named(number, seen)]
    assert rows
    assert all(rows)


def _named(number: int | None, seen: str) -> bool:
    return number is None or re.search(rf"\b{number}\b", seen) is not None


def test_each_test_named_exists() -> None:
    """The page about delivery names tests that show what it says."""
    tests = "".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    named = set().union(*_catalogue().values())
    assert len(named) > 30
    assert named <= set(re.findall(r"^def (test_\w+)\(", tests, re.MULTILINE))
