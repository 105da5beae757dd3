"""`enricher config`, and how every command tells that the configuration is wrong."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from enricher.cli.app import app
from enricher.config.document import json_schema, markdown

SCRIPT = str(Path(sys.executable).with_name("enricher"))
REQUIRED = (
    "--set=kafka.bootstrap_servers=a:9092",
    "--set=input.topics=in",
    "--set=output.topic=out",
    "--set=service.url=http://host/path",
)


@pytest.fixture(autouse=True)
def no_settings_of_mine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings in the environment of whoever runs the tests do not count."""
    for name in [name for name in os.environ if name.startswith("ENRICHER_")]:
        monkeypatch.delenv(name)


def config(*arguments: str, **environ: str) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(app, ["config", *arguments], env=environ)


def test_plain_text_shows_every_setting_and_its_source(tmp_path: Path) -> None:
    """One line each: name, value, source, in columns."""
    file = tmp_path / "e.yaml"
    file.write_text("service:\n  timeout: 2s\n", encoding="utf-8")
    result = config(*REQUIRED, "--config", str(file), ENRICHER_BUFFER__MAX_RECORDS="5")
    assert result.exit_code == 0
    lines = [line.split(maxsplit=2) for line in result.stdout.splitlines()]
    assert ["service.timeout", "2s", f"{file}:2"] in lines
    assert ["buffer.max_records", "5", "ENRICHER_BUFFER__MAX_RECORDS"] in lines
    assert ["input.topics", "in", "--set"] in lines
    assert ["service.deadline", "30s", "default"] in lines
    assert len({line.index(source) for line, (*_, source) in zip(result.stdout.splitlines(), lines, strict=True)}) == 1


def test_json_shows_the_same() -> None:
    """By name, with value and source; lists are lists, numbers numbers."""
    result = config(*REQUIRED, "--json", "--set=kafka.properties.sasl.password=hunter2")
    shown = json.loads(result.stdout)
    assert shown["input.topics"] == {"value": ["in"], "source": "--set"}
    assert shown["service.max_in_flight"] == {"value": 64, "source": "default"}
    assert shown["kafka.properties.sasl.password"] == {"value": "***", "source": "--set"}
    assert shown["service.auth.basic.password"] == {"value": "", "source": "default"}  # not one that would be hidden
    assert "hunter2" not in result.output


def test_mistakes_go_to_stderr_and_exit_2() -> None:
    """Name, value, source, what is wrong, what would be right; at most 80 columns wide."""
    result = config(*REQUIRED, "--set=service.timeout=5", "--set=servise.url=x")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        "enricher: the configuration is refused, for 2 reasons:\n"
        "\n"
        "- servise.url = x (--set)\n"
        "    there is no such setting; did you mean service.url?\n"
        "- service.timeout = 5 (--set)\n"
        "    is a number without a unit; write 5s for seconds or 5ms for milliseconds\n"
    )


def test_mistakes_as_json() -> None:
    """For programs: the same problems, on stdout."""
    result = config(*REQUIRED, "--json", "--set=service.timeout=5")
    assert result.exit_code == 2
    assert json.loads(result.stdout) == {
        "error": "configuration",
        "problems": [
            {
                "name": "service.timeout",
                "value": "5",
                "origin": "--set",
                "message": "is a number without a unit",
                "hint": "write 5s for seconds or 5ms for milliseconds",
            }
        ],
    }


def test_a_long_value_is_cut() -> None:
    """A megabyte in a variable does not flood the log of a pod."""
    result = config(*REQUIRED, "--set=service.method=" + "x" * 10_000)
    assert len(result.stderr) < 500


def test_a_file_that_is_missing_is_no_traceback(tmp_path: Path) -> None:
    """It is a configuration mistake like any other."""
    result = config("--config", str(tmp_path / "none.yaml"))
    assert result.exit_code == 2
    assert "cannot be read: no such file or directory" in result.stderr


def test_schema_and_docs() -> None:
    """Both need no settings; one at a time."""
    assert json.loads(config("--schema").stdout) == json_schema()
    assert config("--docs").stdout == markdown()
    assert config("--schema", "--docs").exit_code == 2


def test_a_terminal_gets_a_table() -> None:
    """Within 80 columns, with everything that the plain text has."""
    leader, follower = pty.openpty()
    environ = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "COLUMNS"}}
    process = subprocess.Popen(
        [SCRIPT, "config", *REQUIRED],
        env=environ | {"TERM": "xterm", "COLUMNS": "80"},
        stdout=follower,
        stderr=follower,
    )
    os.close(follower)
    shown = b""
    try:
        while chunk := os.read(leader, 65536):
            shown += chunk
    except OSError:  # Linux's way to say that the other end is closed
        pass
    os.close(leader)
    assert process.wait(timeout=30) == 0
    text = shown.decode()
    assert "\x1b[" in text
    assert "Setting" in text
    assert "service.backoff.initial" in text
