"""The frame of the command line: what holds for every command."""

import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer.main
from typer.testing import CliRunner

from enricher import __version__
from enricher.cli.app import app

SCRIPT = str(Path(sys.executable).with_name("enricher"))
HEAVY = {"asyncio", "confluent_kafka", "fastavro", "httpx", "msgspec", "pydantic", "rich", "structlog", "yaml"}
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("ENRICHER_")}

COMMANDS = sorted(typer.main.get_command(app).commands)  # type: ignore[attr-defined]  # it is a group


def run(*arguments: str, program: tuple[str, ...] = (SCRIPT,)) -> subprocess.CompletedProcess[str]:
    """The installed program, without a terminal."""
    return subprocess.run(
        [*program, *arguments], env=ENVIRONMENT, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_version() -> None:
    """The console script and the module are the same program."""
    assert run("--version").stdout == f"enricher {__version__}\n"
    assert run("--version", program=(sys.executable, "-m", "enricher")).stdout == f"enricher {__version__}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str) -> None:
    """Help is plain text without a terminal, and 0 is its exit code."""
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0
    assert f"Usage: enricher {command}" in result.output.replace("root", "enricher")
    assert f"enricher {command}" in result.output.partition("Example")[2]
    assert result.output.isascii()


@pytest.mark.parametrize("command", ["replay", "redrive", "tail", "verify"])
def test_examples_can_be_copied_from_a_help(command: str) -> None:
    """They are shown as they are typed, each fits 80 columns, and has no option that is not there."""
    told = CliRunner().invoke(app, [command, "--help"]).output
    examples = told.partition("Examples:")[2]
    assert max(map(len, told.splitlines())) <= 80
    typed = [shlex.split(line) for line in examples.replace("\\\n", " ").splitlines() if "enricher " + command in line]
    assert len(typed) >= 2
    for program, name, *arguments in typed:
        assert (program, name) == ("enricher", command)
        typer.main.get_command(app).commands[command].make_context(command, arguments)  # type: ignore[attr-defined]


def test_shells_can_complete() -> None:
    """What the script of ``--install-completion`` asks the program for: commands and options."""

    def completed(words: str, number: int) -> list[str]:
        asked = {"_ENRICHER_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(number)}
        result = subprocess.run(
            [SCRIPT], env=ENVIRONMENT | asked, capture_output=True, text=True, timeout=60, check=False
        )
        return result.stdout.split()

    assert completed("enricher re", 1) == [name for name in COMMANDS if name.startswith("re")]
    assert completed("enricher tail --show", 2) == ["--show-ids"]


def test_no_terminal_no_control_characters() -> None:
    """Neither help nor errors hold colours or boxes when they go into a file."""
    for arguments in (["--help"], ["nonsense"], ["config", "--nonsense"], ["config"]):
        result = run(*arguments)
        assert (result.stdout + result.stderr).isascii()
        assert "\x1b" not in result.stdout + result.stderr


def test_wrong_usage_exits_2_with_a_hint_on_stderr() -> None:
    """A user's mistake is no traceback."""
    result = run("cofig")
    assert (result.returncode, result.stdout) == (2, "")
    assert "Did you mean 'config'?" in result.stderr
    assert "Traceback" not in result.stderr


def test_help_imports_nothing_heavy() -> None:
    """What makes --help slow is imported by the commands, when they run."""
    code = "import json, sys, enricher.cli.app; print(json.dumps(sorted(sys.modules)))"
    result = run("-c", code, program=(sys.executable,))
    assert set(json.loads(result.stdout)) & HEAVY == set()


def test_help_comes_at_once() -> None:
    """CPU time rather than the clock's, as other tests may be running: 0.1 s here, and 1 s on a slow machine."""
    before = os.times()
    assert run("--help").returncode == 0
    after = os.times()
    assert after.children_user + after.children_system - before.children_user - before.children_system < 1.0


def test_a_reader_that_goes_away_is_no_crash() -> None:
    """`enricher config --schema | head -1` ends without a traceback."""
    process = subprocess.Popen(
        [SCRIPT, "config", "--schema"], env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    stderr = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=60) in {0, 1}
    assert "Traceback" not in stderr


def test_an_interrupt_is_no_traceback(tmp_path: Path) -> None:
    """Ctrl-C ends a command with 130, as shells expect."""
    pipe = tmp_path / "settings"
    os.mkfifo(pipe)
    process = subprocess.Popen(
        [SCRIPT, "config", "--config", str(pipe)], env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 30
    writer = None
    while writer is None:  # opens once the program reads
        assert time.monotonic() < deadline
        try:
            writer = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            assert process.poll() is None
    process.send_signal(2)
    _, stderr = process.communicate(timeout=30)
    os.close(writer)
    assert process.returncode == 130
    assert b"Traceback" not in stderr
