"""`enricher schema`: list, show, describe; for people and for programs."""

import json
import os
import pty
import re
import struct
import subprocess
import sys
from fcntl import ioctl
from itertools import pairwise
from termios import TIOCSWINSZ

import pytest
import typer
from typer.testing import CliRunner, Result

from enricher.cli.schema import app
from enricher.schemas import CUSTOMER_CONTACT, ENRICHED_CONTACT

RUN = (sys.executable, "-c", "from enricher.cli.schema import app; app(prog_name='enricher schema')")
COMMANDS = ("list", "show", "describe")


def schema(*arguments: str) -> Result:
    """Run the command in this process, without a terminal."""
    return CliRunner().invoke(app, arguments)


def on_terminal(columns: int, *arguments: str) -> list[str]:
    """The lines that a terminal of that width shows, without colours."""
    ours, theirs = pty.openpty()
    ioctl(theirs, TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES", "NO_COLOR"}}
    with subprocess.Popen([*RUN, *arguments], stdout=theirs, stdin=theirs, env=environment | {"TERM": "xterm"}) as run:
        os.close(theirs)
        shown = b""
        try:
            while chunk := os.read(ours, 65536):
                shown += chunk
        except OSError:  # Linux's way to say that the other side has closed
            pass
        finally:
            os.close(ours)
    assert run.returncode == 0
    return re.sub(r"\x1b\[[0-9;]*m", "", shown.decode()).splitlines()


def test_list_has_a_line_for_each_schema() -> None:
    """Name, count of fields, fingerprint, what it is."""
    result = schema("list")
    assert result.exit_code == 0
    assert [line.split(maxsplit=3) for line in result.stdout.splitlines()] == [
        ["CustomerContact", "8", CUSTOMER_CONTACT.fingerprint.hex(), CUSTOMER_CONTACT.raw["doc"]],
        ["EnrichedContact", "33", ENRICHED_CONTACT.fingerprint.hex(), ENRICHED_CONTACT.raw["doc"]],
    ]


def test_list_as_json() -> None:
    """The same, for programs."""
    assert json.loads(schema("list", "--json").stdout)[0] == {
        "name": "CustomerContact",
        "fields": 8,
        "fingerprint": CUSTOMER_CONTACT.fingerprint.hex(),
        "doc": CUSTOMER_CONTACT.raw["doc"],
    }


@pytest.mark.parametrize("name", ["EnrichedContact", "enricher.EnrichedContact"])
def test_show_prints_the_file(name: str) -> None:
    """So that its output can be saved as the file again; the full name does as well."""
    assert schema("show", name).stdout == ENRICHED_CONTACT.text


def test_show_as_json_is_one_line() -> None:
    """And the same schema."""
    (line,) = schema("show", "CustomerContact", "--json").stdout.splitlines()
    assert json.loads(line) == CUSTOMER_CONTACT.raw


def test_describe_has_a_line_for_each_field() -> None:
    """Its path from the top, also through lists; its type in words; its default; what it means."""
    result = schema("describe", "EnrichedContact")
    lines = {line.split()[0]: re.split(r"  +", line)[1:] for line in result.stdout.splitlines()}
    assert len(lines) == len(result.stdout.splitlines()) == 33
    assert lines["contact"] == ["CustomerContact", "-", "The contact."]
    assert lines["contact.attributes"][:2] == ["map of string", "{}"]
    assert lines["offerHistory.offers[].outcomeTime"][:2] == ["timestamp-millis or null", "null"]
    assert lines["offerHistory.offers[].bundle"][:2] == ["array of Offer", "[]"]
    assert lines["enrichment.status"][:2] == ["EnrichmentStatus", '"UNKNOWN"']


def test_describe_as_json() -> None:
    """A field without a default has none, as null is a default like any other."""
    described = json.loads(schema("describe", "CustomerContact", "--json").stdout)
    assert (described["name"], described["doc"]) == ("CustomerContact", CUSTOMER_CONTACT.raw["doc"])
    assert described["fingerprint"] == CUSTOMER_CONTACT.fingerprint.hex()
    fields = {field.pop("path"): field for field in described["fields"]}
    assert list(fields) == [field["name"] for field in CUSTOMER_CONTACT.raw["fields"]]
    assert fields["contactTime"]["type"] == "timestamp-millis"
    assert "default" not in fields["contactTime"]
    assert (fields["channel"]["default"], fields["attributes"]["default"]) == (None, {})


@pytest.mark.parametrize("command", ["show", "describe"])
def test_an_unknown_name_exits_2_with_the_known_ones(command: str) -> None:
    """On stderr; as JSON on stdout where that was asked for."""
    result = schema(command, "Nope")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "enricher schema: there is no schema Nope; there are CustomerContact, EnrichedContact\n"
    result = schema(command, "Nope", "--json")
    assert (result.exit_code, result.stderr) == (2, "")
    assert json.loads(result.stdout) == {
        "error": "unknown-schema",
        "name": "Nope",
        "known": ["CustomerContact", "EnrichedContact"],
    }


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("arguments", [("list",), ("describe", "EnrichedContact")])
def test_a_terminal_gets_tables_that_fit(columns: int, arguments: tuple[str, ...]) -> None:
    """No line is longer than the terminal is wide, and nothing but the last column is broken or cut off."""
    lines = on_terminal(columns, *arguments)
    assert max(map(len, lines)) <= columns
    text = "\n".join(lines)
    assert "…" not in text
    expected = (
        [ENRICHED_CONTACT.fingerprint.hex()]
        if arguments == ("list",)
        else ["timestamp-millis or null", "array of Offer"]
    )
    assert [word for word in expected if word not in text] == []


def test_a_terminal_gets_a_table_for_each_record() -> None:
    """Headed by the record's name and its path."""
    lines = [line.strip() for line in on_terminal(80, "describe", "EnrichedContact")]
    heads = [line for before, line in pairwise(lines) if not before]
    assert heads == [
        "EnrichedContact",
        "CustomerContact  contact",
        "OfferHistory  offerHistory",
        "Offer  offerHistory.offers[]",
        "Enrichment  enrichment",
    ]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(command: str) -> None:
    """As part of the whole program, where help is plain without a terminal."""
    program = typer.Typer(rich_markup_mode=None)
    program.add_typer(app, name="schema")
    program.command()(lambda: None)
    result = CliRunner().invoke(program, ["schema", command, "--help"])
    assert result.exit_code == 0
    assert f"enricher schema {command}" in result.output.partition("Example: ")[2]
    assert result.output.isascii()


def test_importing_it_is_cheap() -> None:
    """What is slow to import waits until a command needs it."""
    code = "import sys, enricher.cli.schema; print({'fastavro', 'rich', 'msgspec'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
