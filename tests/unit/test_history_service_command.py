"""The command ``history-service``, as a process: options, output, signals, exit codes."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from enricher.testing.histories import GeneratedHistories
from enricher.testing.history_service import PATH

COMMAND = [
    sys.executable,
    "-c",
    "import typer; from enricher.cli.history_service import history_service; typer.run(history_service)",
]


@contextmanager
def running(*options: str, stop: signal.Signals = signal.SIGTERM) -> Iterator[list[str]]:
    """The command while it runs: the lines that it wrote when it was ready. It must end with 0 when told to stop."""
    command = [*COMMAND, "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            yield [process.stdout.readline() for _ in range(1 if "--json" in options else 3)]
            process.send_signal(stop)
            assert (process.wait(20), process.stderr.read()) == (0, "")
        finally:
            process.kill()


def refused(*options: str) -> tuple[int, str]:
    """Exit code and message of a command line that is not served."""
    # Wide, so that no message is broken into lines.
    done = subprocess.run(
        [*COMMAND, *options], capture_output=True, text=True, timeout=30, check=False, env={"COLUMNS": "300"}
    )
    assert done.stdout == ""
    return done.returncode, done.stderr


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_told_to_stop(stop: signal.Signals) -> None:
    """One JSON line says where; SIGTERM and SIGINT end it with 0, an open connection or not."""
    with httpx.Client(trust_env=False) as http, running("--json", "--seed", "4", "--offers", "2", stop=stop) as lines:
        ready = json.loads(lines[0])
        assert list(ready) == ["url", "admin"]
        assert ready["url"].endswith(PATH)
        response = http.post(ready["url"], json={"CustomerID": "A"})
        assert response.content == GeneratedHistories(offers=2, seed=4).body("A")
        assert http.get(ready["admin"] + "/health").status_code == 200


def test_it_says_how_to_change_the_faults() -> None:
    """The curl line for a person works."""
    with running() as lines:
        line = next(line for line in lines if "curl -X PUT" in line)
        command = line[line.index("curl") :].strip()
        url = command.split()[3]
        body = command[command.index("'") :].strip("'")
        assert httpx.put(url, content=body, trust_env=False).json() == {"latency": "500ms"}


def test_options_and_files(tmp_path: Path) -> None:
    """Histories and faults from files; the options win over the file."""
    histories = tmp_path / "histories.jsonl"
    histories.write_text('{"CustomerID": "A", "OfferHistory": [{"Name": "a"}]}\n')
    faults = tmp_path / "faults.json"
    faults.write_text('{"latency": "2ms", "hang": 0.25, "status": {"500": 0.5}}')
    options = ["--histories", str(histories), "--faults", str(faults), "--status", "503=0.5", "--status", "429=0.125"]
    options += ["--retry-after", "2", "--capacity", "9", "--latency", "lognormal:1ms,0.5", "--path", "/other", "--json"]
    with httpx.Client(trust_env=False) as http, running(*options, "--indent", "--count-customers", "1") as lines:
        ready = json.loads(lines[0])
        assert http.get(ready["admin"] + "/faults").json() == {
            "latency": "lognormal:1ms,0.5",
            "status": {"503": 0.5, "429": 0.125},
            "retry_after": "2",
            "hang": 0.25,
            "capacity": 9,
        }
        http.put(ready["admin"] + "/faults", content=b"{}")
        assert ready["url"].endswith("/other")
        response = http.get(ready["url"], params={"CustomerID": "A"})
        assert response.text == json.dumps({"OfferHistory": [{"Name": "a"}]}, indent=2)
        assert http.get(ready["admin"] + "/stats").json()["customers"] == {"A": 1}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--latency", "fast"], "latency: 'fast' is not a duration"),
        (["--status", "503"], "write 503=0.01"),
        (["--status", "503=often"], "write 503=0.01"),
        (["--status", "503=7"], "the rate of status 503 is 7"),
        (["--offers", "many"], "write 10, or a range, 0-40"),
        (["--offers", "4-2"], "4 to 2 is no range"),
        (["--path", "other"], "must begin with /"),
        (["--port", "-1"], "--port"),
        (["--capacity", "0"], "--capacity"),
        (["--faults", "/nowhere.json"], "--faults"),
    ],
)
def test_wrong_usage_is_exit_code_2(options: list[str], message: str) -> None:
    """The message says what would be right."""
    code, error = refused(*options)
    assert code == 2
    assert message in error


def test_bad_files_are_exit_code_2(tmp_path: Path) -> None:
    """With file and line."""
    path = tmp_path / "bad.json"
    path.write_text("{}\n{}\n")
    assert f"{path}: not valid faults" in refused("--faults", str(path))[1]
    code, error = refused("--histories", str(path))
    assert code == 2
    assert f"{path}:1: " in error


def test_a_taken_port_is_exit_code_1() -> None:
    """The message names the ports."""
    with running("--json") as lines:
        port = httpx.URL(json.loads(lines[0])["url"]).port
        code, error = refused("--port", str(port), "--admin-port", "0")
        assert code == 1
        assert f"cannot listen on 127.0.0.1, ports {port} and 0: Address already in use" in error
