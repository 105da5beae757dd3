"""Have a real Prometheus scrape a running worker and evaluate every expression of the alerts and the dashboard.

Run from the project's folder as ``python -m scripts.monitoring_check`` (``make monitoring-test``). Needs ``prometheus``
on the PATH, and Kafka as the tests do (``TEST_KAFKA``). Each expression must give something: for an alert, its
comparison is made one that tells 0 or 1, as a worker that is well raises none.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from enricher.testing.contacts import START
from enricher.testing.faults import Faults
from enricher.testing.threaded import ThreadedHistoryServer
from scripts.chart_check import ALERTS
from scripts.dashboard import dashboard
from tests.harness.broker import free_port
from tests.harness.clients import Sent
from tests.harness.program import Program
from tests.harness.selection import KafkaOfSession
from tests.harness.waiting import wait_until
from tests.integration.worker_world import World, contact

DEADLINE = 120.0
EVENTS = 400
QUICK = {"kafka.consumer.statistics.interval.ms": "500", "kafka.producer.statistics.interval.ms": "500"}
_COMPARISON = re.compile(r" (>|==) ")


class Failed(Exception):  # noqa: N818  says what happened
    """An expression does not do what it is for."""


def expressions() -> dict[str, str]:
    """Each expression by the alert's name or the panel's title, such that one that is right gives something."""
    found = {}
    for group in yaml.safe_load(ALERTS.read_text("utf-8"))["groups"]:
        for rule in group["rules"]:
            absent = re.fullmatch(r"absent\((.*)\)", rule["expr"])
            found[rule["alert"]] = absent[1] if absent else _COMPARISON.sub(r" \1 bool ", rule["expr"])
    variables = {"$__rate_interval": "1m", "$namespace": ".*", "$job": ".*"}
    for panel in dashboard()["panels"]:
        for line in panel.get("targets", []):
            expression = line["expr"]
            for name, value in variables.items():
                expression = expression.replace(name, value)
            found[f"{panel['title']} ({line['legendFormat']})"] = expression
    return found


class Prometheus:
    """The server, asked over its API."""

    def __init__(self, address: str) -> None:
        self._address = address

    def get(self, path: str, **query: str) -> Any:
        """The data of an answer.

        Raises:
            Failed: it is an error.
        """
        url = f"http://{self._address}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            with error:
                raise Failed(f"{query}: {error.read().decode(errors='replace')}") from error

    def is_ready(self) -> bool:
        """Whether it answers."""
        try:
            with urllib.request.urlopen(f"http://{self._address}/-/ready", timeout=5) as answer:
                return bool(answer.status == 200)  # noqa: PLR2004  OK
        except OSError:
            return False


@contextmanager
def prometheus(target: str) -> Iterator[Prometheus]:
    """A Prometheus that scrapes one worker each second, with the alerts."""
    address = f"127.0.0.1:{free_port()}"
    scrape = {"targets": [target], "labels": {"namespace": "test"}}
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(ALERTS)],
        "scrape_configs": [{"job_name": "enricher", "static_configs": [scrape]}],
    }
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "prometheus.yml"
        file.write_text(yaml.safe_dump(config), "utf-8")
        log = Path(folder) / "log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [
                    "prometheus",
                    f"--config.file={file}",
                    f"--storage.tsdb.path={folder}/data",
                    f"--web.listen-address={address}",
                ],
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        try:
            server = Prometheus(address)
            wait_until(server.is_ready, "Prometheus to be ready", DEADLINE)
            yield server
        except AssertionError as failure:
            raise Failed(f"{failure}\n{log.read_text('utf-8', 'replace')[-3000:]}") from failure
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def evaluate(server: Prometheus) -> None:
    """Evaluate all until each gives something.

    Raises:
        Failed: one is an error, or goes on giving nothing.
    """
    waiting = expressions()
    count = len(waiting)
    deadline = time.monotonic() + DEADLINE
    while waiting := {name: text for name, text in waiting.items() if not server.get("query", query=text)["result"]}:
        if time.monotonic() > deadline:
            raise Failed("these give nothing:\n" + "\n".join(f"{name}: {text}" for name, text in waiting.items()))
        time.sleep(1)
    print(f"monitoring: {count} expressions, none is empty or an error")


def check_rules(server: Prometheus) -> None:
    """See that Prometheus itself could evaluate each alert."""

    def evaluated() -> list[dict[str, Any]]:
        rules = [rule for group in server.get("rules")["groups"] for rule in group["rules"]]
        return rules if rules and all(rule["health"] != "unknown" for rule in rules) else []

    rules = wait_until(evaluated, "the alerts to be evaluated", DEADLINE)
    if bad := {rule["name"]: rule.get("lastError") for rule in rules if rule["health"] != "ok"}:
        raise Failed(f"alerts that cannot be evaluated: {bad}")
    print(f"monitoring: {len(rules)} alerts evaluated")


def check() -> None:
    """A worker that has met all kinds of things, and a Prometheus that looks at it."""
    chosen = KafkaOfSession()
    service = ThreadedHistoryServer()
    worker = None
    try:
        print(f"monitoring: {chosen.report()}", flush=True)
        service.start()
        service.faults = Faults(status={"503": 0.05, "401": 0.05}, seed=1)
        world = World(chosen.shared().bootstrap_servers, Program, service)
        worker = world.worker(QUICK)
        address = str(json.loads(worker.wait_for_log("http_listening"))["address"])
        world.send([contact(f"CUST-{number}", number) for number in range(EVENTS)])
        world.send([Sent(None, b"no contact", [], START + number) for number in range(5)])
        world.await_committed()
        with prometheus(address) as server:
            evaluate(server)
            check_rules(server)
    finally:
        if worker is not None:
            worker.stop()
        service.stop()
        chosen.close()


def main() -> int:
    """Check, and tell what is wrong."""
    if shutil.which("prometheus") is None:
        hint = "prometheus is not on the PATH; CONTRIBUTING.md tells where it comes from"
        print(f"monitoring: FAILED: {hint}", file=sys.stderr)
        return 1
    try:
        check()
    except (Failed, AssertionError) as failure:
        print(f"monitoring: FAILED: {failure}", file=sys.stderr)
        return 1
    print("monitoring: passed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
