"""What ``enricher redrive`` refuses before it connects to anything, and what it tells a person."""

import json
import re

import pytest
from typer.testing import CliRunner

from enricher.cli.app import app
from enricher.cli.redrive_report import print_kinds, print_outcome
from enricher.cli.redriving import Outcome
from enricher.model import Record
from enricher.redrive.letters import Letter

SETTINGS = (
    "kafka.bootstrap_servers=127.0.0.1:1",
    "input.topics=contacts",
    "output.topic=enriched",
    "service.url=http://127.0.0.1:1/x",
)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ([], "--all"),
        (["--dry-run"], "--list"),
        (["--all", "--stage=decode"], "exclude"),
        (["--from=yesterday"], "yesterday"),
        (["--from=committed"], "committed"),
        (["--from=2026-01-02", "--to=2026-01-01"], "is not before"),
        (["--all", "--to-topic=contacts.dlq"], "go round"),
    ],
)
def test_wrong_usage_is_told(arguments: list[str], word: str) -> None:
    """With 2, as text on standard error or as JSON."""
    sets = [f"--set={setting}" for setting in SETTINGS]
    told = CliRunner().invoke(app, ["redrive", *arguments, *sets])
    assert (told.exit_code, told.stdout) == (2, "")
    assert word in told.stderr
    answer = CliRunner().invoke(app, ["redrive", "--json", *arguments, *sets])
    assert answer.exit_code == 2
    assert word in json.loads(answer.stdout)["error"]


def test_what_is_told_of_dead_letters(capsys: pytest.CaptureFixture[str]) -> None:
    """Each kind with its number, times and an example; no key, and no words of other programs."""
    outcome = Outcome(read=4, void=[2])
    record = Record("contacts.dlq", 1, 7, 1_790_000_000_000, b"CUST-1", b"CUST-1", [])
    outcome.kinds.add(record, Letter(None, -1, "lookup", "BadRequest", "it is bad", redrives=1))
    outcome.kinds.add(record, Letter(None, -1, "unknown", "java.lang.Exception", "CUST-1 is odd", foreign=True))
    outcome.kinds.add(Record("contacts.dlq", 1, 8, -1, None, None, []), None)
    print_kinds(outcome, "contacts.dlq")
    told = capsys.readouterr().out
    assert "1  lookup  BadRequest, 1 of them were sent back before" in told
    assert "from 2026-09-21 14:13:20 to 2026-09-21 14:13:20 UTC" in told
    assert "such as contacts.dlq[1]@7: it is bad" in told
    assert "from - to - UTC" in told
    assert "3 of 4 dead letters in contacts.dlq" in told
    assert "partition 2" in told
    assert "CUST-1" not in told


def test_a_narrow_terminal_breaks_lines_between_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And indents what follows; without a terminal a line is a line."""
    outcome = Outcome(read=1)
    record = Record("contacts.dlq", 1, 7, 1_790_000_000_000, None, None, [])
    outcome.kinds.add(record, Letter(None, -1, "decode", "Odd", "it is wrong " * 9))
    print_kinds(outcome, "contacts.dlq")
    assert max(map(len, capsys.readouterr().out.splitlines())) > 100
    for name, value in {"FORCE_COLOR": "1", "NO_COLOR": "1", "COLUMNS": "80", "TERM": "xterm"}.items():
        monkeypatch.setenv(name, value)
    print_kinds(outcome, "contacts.dlq")
    lines = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()
    assert max(map(len, lines)) <= 80
    assert sum(line.startswith(" " * 11) for line in lines) == 1


def test_what_is_told_of_an_outcome(capsys: pytest.CaptureFixture[str]) -> None:
    """What went back, and for each reason what did not, and what to do."""
    outcome = Outcome(sent=1_200)
    outcome.left.update({"max-redrives": 2, "no-source": 1, "no-cause": 1, "too-large": 1})
    print_outcome(outcome, 3, dry_run=False)
    told = capsys.readouterr().out
    assert "1,200 dead letters went back" in told
    assert "2 were left: they were sent back 3 times" in told
    assert all(word in told for word in ("--max-redrives", "--to-topic", "max.message.bytes", "no cause"))
    print_outcome(Outcome(sent=1), 3, dry_run=True)
    assert "1 dead letters would go back" in capsys.readouterr().out
