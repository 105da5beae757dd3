"""What is logged, and how it looks."""

import json
import logging
import re
import subprocess
import sys
from typing import Any

import pytest

from tests.readme import ROOT

PRELUDE = """
import logging, warnings, structlog
from enricher.config import Logging
from enricher.logs import configure
configure(Logging(level=LEVEL, format=FORMAT))
log = structlog.get_logger("enricher.test")
"""


def logged(code: str, *, level: str = "info", form: str = "json") -> str:
    """What a program writes to stderr; a process of its own, as logging is one for each process."""
    prelude = PRELUDE.replace("LEVEL", repr(level)).replace("FORMAT", repr(form))
    result = subprocess.run(
        [sys.executable, "-c", prelude + code], capture_output=True, text=True, timeout=60, check=True
    )
    assert result.stdout == ""
    return result.stderr


def events(code: str, *, level: str = "info") -> list[dict[str, Any]]:
    """The JSON lines."""
    return [json.loads(line) for line in logged(code, level=level).splitlines()]


def test_json_is_one_object_a_line() -> None:
    """Time in UTC, level and event stand first; values keep their types."""
    (event,) = events("log.info('worker_started', topics=['a'], partitions=3)")
    assert list(event) == ["timestamp", "level", "event", "topics", "partitions"]
    assert event["timestamp"].endswith("Z")
    assert (event["level"], event["event"], event["topics"], event["partitions"]) == (
        "info",
        "worker_started",
        ["a"],
        3,
    )


def test_what_is_below_the_level_is_not_logged() -> None:
    """From structlog and from the standard library."""
    code = "log.info('a'); log.warning('b'); logging.getLogger('x').info('c'); logging.getLogger('x').warning('d')"
    assert [event["event"] for event in events(code, level="warning")] == ["b", "d"]


def test_the_standard_library_and_warnings_look_the_same() -> None:
    """Libraries' lines are JSON too, with their logger's name."""
    code = "logging.getLogger('some.library').warning('lost %s', 'it'); warnings.warn('old')"
    library, warning = events(code)
    assert (library["level"], library["event"], library["logger"]) == ("warning", "lost it", "some.library")
    assert (warning["logger"], "old" in warning["event"]) == ("py.warnings", True)


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_traceback_shows_no_local_variables(form: str) -> None:
    """They may hold a customer's data; rich and structlog would print them."""
    code = """
def look_up():
    customer = "CONNOR" + "-7"
    raise RuntimeError("broke")
for logger in (log, logging.getLogger("x")):
    try:
        look_up()
    except RuntimeError:
        logger.exception("failed")
"""
    text = logged(code, form=form)
    assert text.count("RuntimeError: broke") == 2
    assert "CONNOR-7" not in text


def test_libraries_that_log_urls_are_kept_quiet() -> None:
    """The httpx library logs the URL of each request at INFO, and a GET has the customer's id in it."""
    code = "logging.getLogger('httpx').info('GET http://h/?CustomerID=C'); logging.getLogger('httpcore.x').debug('C')"
    assert logged(code, level="debug") == ""


def test_the_registrys_client_logs_no_requests() -> None:
    """Whatever its HTTP library is called."""
    code = """
from enricher.registry import RegistryClient
from enricher.testing.registry import RegistryServer
with RegistryServer() as server:
    client = RegistryClient(server.url, 10.0)
    assert client.versions("s") == []
    client.close()
"""
    assert logged(code, level="debug") == ""


def test_console_is_for_people() -> None:
    """No colours without a terminal; one line for an event."""
    text = logged("log.warning('service_down', waits='5s')", form="console")
    assert "[warning" in text
    assert "service_down" in text
    assert "waits=5s" in text
    assert "\x1b" not in text
    assert text.count("\n") == 1


def test_a_newline_in_a_value_is_no_new_line() -> None:
    """One event, one line, whatever comes in."""
    (event,) = events("log.info('x', error='a\\nb')")
    assert event["error"] == "a\nb"


def test_an_stderr_that_is_gone_does_not_disturb() -> None:
    """The worker goes on without its log."""
    logged("import sys; sys.stderr.close(); log.info('x'); logging.getLogger('x').warning('y')")


def test_configuring_twice_writes_once() -> None:
    """Handlers do not pile up."""
    assert len(events("configure(Logging()); logging.getLogger('x').warning('a'); log.info('b')")) == 2


def test_levels_have_the_names_of_the_setting() -> None:
    """Every level that can be set is one of the standard library's."""
    for level in ("debug", "info", "warning", "error"):
        assert level.upper() in logging.getLevelNamesMapping()


def test_what_repeats_is_held_back() -> None:
    """Five of a kind pass; others are not held back by them; libraries' lines differ by more than their numbers."""
    code = """
for number in range(20):
    log.warning("away", code="TRANSPORT", n=number)
    log.warning("away", code=str(number))
    logging.getLogger("lib").info("lost after %d ms", number)
    log.info("assigned", n=number)
"""
    found = events(code)
    assert sum(event.get("code") == "TRANSPORT" for event in found) == 5
    assert sum(event["event"] == "away" for event in found) == 25
    assert sum(event.get("logger") == "lib" for event in found) == 5
    assert sum(event["event"] == "assigned" for event in found) == 20


def test_the_level_changes_while_it_runs() -> None:
    """Also for loggers that were used before, and for libraries; and back again."""
    code = """
from enricher.logs import toggle_debug
def both(text):
    log.debug(text)
    logging.getLogger("lib").debug(text)
    logging.getLogger("httpx").debug("never: it would tell URLs")
settings = Logging(level="warning")
both("a"); log.info("a")
assert toggle_debug(settings) == "debug"
both("b"); log.info("b")
assert toggle_debug(settings) == "warning"
both("c"); log.info("c")
assert toggle_debug(Logging(level="debug")) == "debug"
"""
    assert [event["event"] for event in events(code, level="warning")] == ["b", "b", "b"]


def test_the_current_trace_is_told() -> None:
    """Where there is one."""
    code = """
configure(Logging(level="info", format="json"), trace_ids=lambda: {"trace_id": "4bf9"})
log.info("x"); logging.getLogger("lib").info("y")
"""
    assert [event["trace_id"] for event in events(code)] == ["4bf9", "4bf9"]


def test_each_event_is_documented() -> None:
    """docs/operations.md lists every event with its level, and no other: people make alerts of them."""
    called = re.compile(r"\blog\.(debug|info|warning|error|exception)\(\s*\"([a-z_]+)\"")
    in_code = {
        (name, "error" if level == "exception" else level)
        for file in sorted((ROOT / "enricher").rglob("*.py"))
        for level, name in called.findall(file.read_text("utf-8"))
    }
    table = (ROOT / "docs" / "operations.md").read_text("utf-8").partition("| event | level | meaning |")[2]
    listed = set()
    for row in table.partition("\n\n")[0].splitlines():
        names, _, rest = row.removeprefix("|").partition("|")
        listed |= {(name, rest.split("|")[0].strip()) for name in re.findall(r"`([a-z_]+)`", names)}
    assert in_code == listed
