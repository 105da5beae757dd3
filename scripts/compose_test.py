"""Bring docker-compose.yml up with three workers, wait for enriched events, stop all, take all down again.

Run from the project's folder as ``python -m scripts.compose_test``. Uses the Compose plugin or docker-compose,
whichever is there; ports are free ones and the project's name is its own, so that nothing else is touched. The
images are told by ``KAFKA_IMAGE`` and ``PYTHON_IMAGE``.
"""

import io
import json
import os
import secrets
import subprocess
import sys
import time
from typing import Any, cast

from fastavro import schemaless_reader

from enricher.deadletter import parse_dead_letter
from enricher.schemas import ENRICHED_CONTACT
from tests.harness.broker import free_port
from tests.harness.clients import Written, read_topic, resolved

WANTED = 100
"""Enriched events that must arrive: five seconds of contacts."""
WORKERS = ("worker", "worker-2", "worker-3")
DEADLINE = 300.0


class Failed(Exception):  # noqa: N818  says what happened
    """The composition did not do what it is for."""


class Compose:
    """One project of Compose, with ports of its own."""

    def __init__(self) -> None:
        self._command = find_compose()
        self._name = f"enrichertest{secrets.token_hex(3)}"
        self.kafka_port = free_port()
        self._environment = os.environ | {
            "KAFKA_PORT": str(self.kafka_port),
            "HISTORY_SERVICE_PORT": str(free_port()),
            "HISTORY_SERVICE_ADMIN_PORT": str(free_port()),
            "WORKER_PORT": str(free_port()),
            "ENRICHER_TAG": "compose-test",
        }

    def call(self, *arguments: str, capture: bool = False, timeout: float = 900.0, profiles: str = "scale") -> str:
        """Run one command of Compose; return what it printed where that is captured.

        Raises:
            Failed: its exit code was not 0.
        """
        command = [*self._command, "-p", self._name, *arguments]
        try:
            done = subprocess.run(
                command,
                env={**self._environment, "COMPOSE_PROFILES": profiles},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if capture else None,
                text=True,
                check=True,
                timeout=timeout,
            )
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            raise Failed(f"{' '.join(arguments)}: {error}") from error
        return done.stdout or ""

    def check_profiles(self, profiles: str) -> None:
        """Have Compose read the file with these profiles on.

        Raises:
            Failed: it refuses.
        """
        self.call("config", "-q", profiles=profiles)

    def health(self, service: str) -> str:
        """What the health check of a service's container says."""
        health = cast("dict[str, str]", self.container(service).get("Health", {}))
        return health.get("Status", "none")

    def container(self, service: str) -> dict[str, object]:
        """The state of a service's container, as the engine tells it."""
        ids = self.call("ps", "-a", "-q", service, capture=True) if self._plugin else self._ids(service)
        inspected = subprocess.run(
            ["docker", "inspect", *ids.split()], stdout=subprocess.PIPE, text=True, check=True, timeout=60
        )
        state: dict[str, object] = json.loads(inspected.stdout)[0]["State"]
        return state

    @property
    def _plugin(self) -> bool:
        return self._command[0] == "docker"

    def _ids(self, service: str) -> str:
        return self.call("ps", "-q", service, capture=True)  # docker-compose 1.29 tells of stopped ones without -a


def find_compose() -> list[str]:
    """The command of Compose.

    Raises:
        Failed: there is none.
    """
    for command in (["docker", "compose"], ["docker-compose"]):
        try:
            found = subprocess.run([*command, "version"], capture_output=True, check=False, timeout=60)
        except FileNotFoundError:
            continue
        if found.returncode == 0:
            return command
    raise Failed("neither the Compose plugin nor docker-compose is there; on Debian: apt-get install docker-compose")


def decoded(value: bytes | None) -> dict[str, Any]:
    """An output record's value, read by the schema that its fingerprint names.

    Raises:
        Failed: it is not Avro single-object encoded with that schema.
    """
    prefix = b"\xc3\x01" + ENRICHED_CONTACT.fingerprint
    if value is None or not value.startswith(prefix):
        raise Failed("an output record is not single-object encoded with the schema EnrichedContact")
    contact = schemaless_reader(io.BytesIO(value[len(prefix) :]), ENRICHED_CONTACT.parsed, None)
    return cast("dict[str, Any]", contact)


def source(value: bytes | None) -> Written:
    """The place of the contact that an output was made of."""
    enrichment = decoded(value)["enrichment"]
    return Written(enrichment["partition"], enrichment["offset"])


def check(compose: Compose) -> None:
    """Bring it up and see events come out.

    Raises:
        Failed: they do not.
    """
    begun = time.monotonic()
    for profiles in ("", "scale", "observability", "registry"):
        compose.check_profiles(profiles)
    compose.call("up", "-d", "--build")
    print(f"compose-test: up after {time.monotonic() - begun:.0f} s", flush=True)
    address = f"localhost:{compose.kafka_port}"
    deadline = time.monotonic() + DEADLINE
    while len(live := read_topic(address, "contacts-enriched", broker_address_family="v4")) < WANTED:
        states = [compose.container(worker)["Status"] for worker in WORKERS]
        if time.monotonic() > deadline or "exited" in states:
            raise Failed(f"{len(live)} enriched events, the workers are {states}")
        time.sleep(1)
    while (health := [compose.health(worker) for worker in WORKERS]) != ["healthy"] * len(WORKERS):
        if time.monotonic() > deadline:
            raise Failed(f"the workers' health checks say {health}")
        time.sleep(1)
    offers = sum(len(decoded(record.value)["offerHistory"]["offers"]) for record in live)
    if offers == 0:
        raise Failed(f"{len(live)} enriched events hold not one offer")
    shown = compose.call("run", "--rm", "--no-deps", "-T", "worker", "tail", "--last=3", "--json", capture=True)
    if len(shown.splitlines()) != 3:  # noqa: PLR2004  as many as were asked for
        raise Failed(f"the worker's tail did not show the three events that were asked for: {shown!r}")
    compose.call("stop", "generator", *WORKERS)
    codes = [compose.container(worker)["ExitCode"] for worker in WORKERS]
    if any(codes):
        raise Failed(f"the workers ended with {codes} when they were stopped")
    enriched, dead = (
        read_topic(address, topic, broker_address_family="v4") for topic in ("contacts-enriched", "contacts.dlq")
    )
    done = resolved(address, "enricher", "contacts")
    # By their places, as one comes twice now and then while workers join.
    written = {source(record.value) for record in enriched} | {
        Written(cause.partition, cause.offset) for record in dead if (cause := parse_dead_letter(record.headers))
    }
    print(f"compose-test: {len(done)} contacts committed: {len(enriched)} enriched, {len(dead)} dead letters")
    if done != written:
        raise Failed(f"committed and not written: {sorted(done - written)}; the reverse: {sorted(written - done)}")


def main() -> int:
    """Check, and take down whatever happens; what was wrong is told last, below all logs."""
    outcome = "passed"
    compose = None
    try:
        compose = Compose()
        check(compose)
    except (Failed, AssertionError) as failure:
        outcome = f"FAILED: {failure}"
        if compose is not None:
            compose.call("ps")
            compose.call("logs", "--tail=60")
    finally:
        if compose is not None:
            compose.call("down", "--volumes", "--timeout", "5")
    print(f"compose-test: {outcome}", flush=True)
    return 0 if outcome == "passed" else 1


if __name__ == "__main__":
    sys.exit(main())
