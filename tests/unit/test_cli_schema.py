"""`enricher schema`: list, show, describe, check, diff; publish; for people and for programs."""

import json
import os
import pty
import re
import struct
import subprocess
import sys
from collections.abc import Callable
from fcntl import ioctl
from itertools import pairwise
from pathlib import Path
from termios import TIOCSWINSZ
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from enricher.avroschema.derived import derive
from enricher.cli.schema import app
from enricher.schemas import CUSTOMER_CONTACT, ENRICHED_CONTACT
from tests.avro_strategies import record as avro

RUN = (sys.executable, "-c", "from enricher.cli.schema import app; app(prog_name='enricher schema')")
CALL = avro(("customerId", "string"), name="Call")
COMMANDS = ("list", "show", "describe", "check", "diff", "publish")


def schema(*arguments: str) -> Result:
    """Run the command in this process, without a terminal."""
    return CliRunner().invoke(app, arguments)


def on_terminal(columns: int, *arguments: str, code: int = 0) -> list[str]:
    """The lines that a terminal of that width shows, without colours; it ends with that exit code."""
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
    assert run.returncode == code
    return re.sub(r"\x1b\[[0-9;]*m", "", shown.decode()).splitlines()


def test_list_has_a_line_for_each_schema() -> None:
    """Name, count of fields, fingerprint, what it is."""
    result = schema("list")
    assert result.exit_code == 0
    assert [line.split(maxsplit=4) for line in result.stdout.splitlines()] == [
        ["CustomerContact", "1", "8", CUSTOMER_CONTACT.fingerprint.hex(), CUSTOMER_CONTACT.raw["doc"]],
        ["EnrichedContact", "1", "33", ENRICHED_CONTACT.fingerprint.hex(), ENRICHED_CONTACT.raw["doc"]],
    ]


def test_list_as_json() -> None:
    """The same, for programs."""
    assert json.loads(schema("list", "--json").stdout)[0] == {
        "name": "CustomerContact",
        "version": 1,
        "fields": 8,
        "fingerprint": CUSTOMER_CONTACT.fingerprint.hex(),
        "doc": CUSTOMER_CONTACT.raw["doc"],
    }


@pytest.mark.parametrize("name", ["EnrichedContact", "enricher.EnrichedContact"])
def test_show_prints_the_file(name: str) -> None:
    """So that its output can be saved as the file again; the full name does as well."""
    assert schema("show", name).stdout == ENRICHED_CONTACT.text


def test_show_prints_what_was_released() -> None:
    """A version is named behind an @; one that there is not is told with those that there are."""
    assert json.loads(schema("show", "EnrichedContact@1").stdout)["name"] == "EnrichedContact"
    result = schema("show", "EnrichedContact@0")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "enricher schema: EnrichedContact has no version 0; there are 1\n"


def test_show_as_json_is_one_line() -> None:
    """And the same schema."""
    (line,) = schema("show", "CustomerContact", "--json").stdout.splitlines()
    assert json.loads(line) == CUSTOMER_CONTACT.raw


def test_show_prints_what_is_derived(tmp_path: Path) -> None:
    """Of the schema in a file, and of one of ours; of what nothing can be derived, why."""
    file = tmp_path / "Call.avsc"
    file.write_text(json.dumps(CALL), "utf-8")
    assert json.loads(schema("show", "--derived", str(file)).stdout) == derive(CALL)
    (line,) = schema("show", "--derived", "CustomerContact", "--json").stdout.splitlines()
    assert json.loads(line) == derive(CUSTOMER_CONTACT.raw)
    result = schema("show", "--derived", "EnrichedContact")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "EnrichedContact has a field called offerHistory already" in result.stderr


def test_derived_versions_are_checked_as_any_others(tmp_path: Path) -> None:
    """Those of inputs that read each other do, and those of inputs that do not do not."""
    shop = {"name": "shop", "type": ["null", "string"], "default": None}
    versions = [CALL, avro(("customerId", "string"), shop, name="Call"), avro(("customerId", "int"), name="Call")]
    files = []
    for number, version in enumerate(versions):
        (tmp_path / f"{number}.avsc").write_text(json.dumps(version), "utf-8")
        file = tmp_path / f"derived-{number}.avsc"
        file.write_text(schema("show", "--derived", str(tmp_path / f"{number}.avsc")).stdout, "utf-8")
        files.append(str(file))
    assert schema("check", *files[:2]).exit_code == 0
    broken = schema("check", *files)
    assert (broken.exit_code, "customerId: it is written as int and read as string" in broken.stdout) == (3, True)


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


def test_the_page_of_schemas_is_current() -> None:
    """`enricher schema list --docs > docs/schemas.md` was run after the last change."""
    page = Path(__file__).parents[2] / "docs" / "schemas.md"
    assert schema("list", "--docs").stdout == page.read_text("utf-8")


def written(folder: Path, name: str, change: Callable[[dict[str, Any]], object]) -> str:
    """A file with a changed CustomerContact."""
    raw = json.loads(CUSTOMER_CONTACT.text)
    change(raw)
    (folder / name).write_text(json.dumps(raw), "utf-8")
    return str(folder / name)


def test_check_passes_what_is_compatible(tmp_path: Path) -> None:
    """Against the released versions too, if the schema is one of ours; what stands in the way later is a note."""
    added = {"name": "mood", "type": {"type": "enum", "name": "Mood", "symbols": ["GOOD"]}, "default": "GOOD"}
    file = written(tmp_path, "new.avsc", lambda raw: raw["fields"].append(added))
    result = schema("check", file)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "note   mood: the enum Mood has no default, so that a symbol can never be added",
        f"compatible: CustomerContact@1, {file}",
    ]


def test_check_explains_what_is_not(tmp_path: Path) -> None:
    """Who cannot read what, why, and what to do; exit code 3."""
    file = written(tmp_path, "new.avsc", lambda raw: raw["fields"].append({"name": "mood", "type": "string"}))
    result = schema("check", file)
    assert result.exit_code == 3
    assert result.stdout.splitlines()[0] == (
        "wrong  mood: it is not written, and the reader has no default for it. So readers with "
        f"{file} cannot read what is written with CustomerContact@1; give the field a default."
    )
    result = schema("check", file, "--json")
    assert result.exit_code == 3
    document = json.loads(result.stdout)
    [broken] = document["breaks"]
    assert (document["ok"], document["versions"]) == (False, ["CustomerContact@1", file])
    assert (broken["path"], broken["rule"], broken["writer"]) == ("mood", "default", "CustomerContact@1")


def test_findings_fit_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They break between words, and go on behind an indent."""
    file = written(tmp_path, "new.avsc", lambda raw: raw["fields"].append({"name": "mood", "type": "string"}))
    monkeypatch.chdir(tmp_path)
    for arguments, code in ((("check", "new.avsc"), 3), (("diff", "CustomerContact@1", "new.avsc"), 0)):
        shown = on_terminal(80, *arguments, code=code)
        whole = schema(*arguments[:1], *(file if name == "new.avsc" else name for name in arguments[1:])).stdout
        assert max(map(len, shown)) <= 80
        assert " ".join(" ".join(shown).split()) == " ".join(whole.split()).replace(file, "new.avsc")
        assert [line for line in shown if line.startswith("  ")]


def test_check_holds_every_version_against_every_other(tmp_path: Path) -> None:
    """Of a schema that is none of ours, those that are given; the first and the third, too."""

    def version(name: str, *fields: tuple[str, Any]) -> str:
        named = [{"name": field, "type": kind, "default": None} for field, kind in fields]
        (tmp_path / name).write_text(json.dumps({"type": "record", "name": "R", "fields": named}), "utf-8")
        return str(tmp_path / name)

    one, two = version("1", ("a", ["null", "int"])), version("2")
    three = version("3", ("a", ["null", "string"]))
    assert schema("check", one).exit_code == 0
    assert schema("check", one, two).exit_code == 0
    result = schema("check", one, two, three)
    assert result.exit_code == 3
    assert f"readers with {three} cannot read what is written with {one}" in result.stdout


def test_diff_tells_changes_and_what_they_break(tmp_path: Path) -> None:
    """Line by line; without a change it says so."""
    result = schema("diff", "CustomerContact@1", "CustomerContact")
    assert result.stdout.splitlines()[-1].endswith("each version reads what the other writes")
    file = written(tmp_path, "new.avsc", lambda raw: raw["fields"].pop(0))
    result = schema("diff", "CustomerContact@1", file)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "changed  eventId: the field was removed; it was without a default",
        (
            "breaks   eventId: it is not written, and the reader has no default for it. So readers with "
            f"CustomerContact@1 cannot read what is written with {file}; give the field a default."
        ),
    ]
    document = json.loads(schema("diff", "CustomerContact@1", file, "--json").stdout)
    assert [len(document["differences"]), len(document["breaks"])] == [1, 1]
    file = written(tmp_path, "more.avsc", lambda raw: raw["fields"][0].update(default=""))
    assert "each version reads" in schema("diff", file, "CustomerContact@1").stdout


def test_diff_tells_defaults_and_misreading_as_they_are(tmp_path: Path) -> None:
    """Null is no Python word; and an instant that is read as a number is not unreadable, but wrong."""
    file = written(tmp_path, "new.avsc", lambda raw: raw["fields"][2].update(type="long"))
    assert "CustomerContact@1 misread what is written with" in schema("diff", "CustomerContact@1", file).stdout
    file = written(tmp_path, "less.avsc", lambda raw: raw["fields"].pop(3))
    assert schema("diff", "CustomerContact@1", file).stdout.splitlines()[0] == (
        "changed  channel: the field was removed; it was with the default null"
    )


def test_diff_of_what_is_neither_a_schema_nor_a_file() -> None:
    """Both could have been meant."""
    result = schema("diff", "CustomerContact", "nowhere.avsc")
    assert result.exit_code == 2
    assert result.stderr == (
        "enricher schema: there is no schema nowhere.avsc; there are CustomerContact, EnrichedContact, "
        "and no file of that name either\n"
    )


@pytest.mark.parametrize(
    ("content", "error"),
    [("{", "invalid-json"), ('{"type": "record"}', "invalid-schema"), (None, "unreadable-file")],
)
def test_files_that_hold_no_schema(tmp_path: Path, content: str | None, error: str) -> None:
    """Exit code 2, with the file and what is wrong."""
    file = tmp_path / "s.avsc"
    if content is not None:
        file.write_text(content, "utf-8")
    result = schema("check", str(file))
    assert (result.exit_code, result.stdout) == (2, "")
    assert str(file) in result.stderr
    assert json.loads(schema("check", str(file), "--json").stdout)["error"] == error
