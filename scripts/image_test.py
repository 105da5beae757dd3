"""Build the image and run the worker in it as the chart has it: ``make image-test``.

Under the chart's security contexts (user, read-only root, no capabilities, its limits), with settings and a secret from
files as in a pod, and with every shell of the image made unusable: it checks its surroundings, works, is healthy,
is stopped in the middle of its work by ``docker stop``, a second one does the rest, and `enricher verify`, in the
image too, finds nothing lost. Kafka runs in a container. PYTHON_IMAGE and KAFKA_IMAGE name the base and Kafka's image.

    python -m scripts.image_test            what .ci/run does
    python -m scripts.image_test --twice    also builds it twice without a cache, and compares each file
"""

import argparse
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from enricher import __version__
from enricher.testing.faults import Faults
from enricher.testing.threaded import ThreadedHistoryServer
from scripts.confinement import of_the_chart
from scripts.locked import ROOT, export, name_of
from tests.harness.broker import BrokerFailed, free_port
from tests.harness.clients import committed
from tests.harness.container import ContainerBroker
from tests.harness.patience import patiently
from tests.harness.program import Program
from tests.harness.waiting import wait_until
from tests.integration.worker_world import World, contact

BASE = os.environ.get("PYTHON_IMAGE") or "python:3.11-slim"
TAG = "enricher:image-test"
OURS = 160 << 20
"""Bytes that the image may have on top of its base."""

GRACE = 35
"""Seconds from SIGTERM to SIGKILL, as the chart has them: ``shutdown.deadline`` and ten more."""

DEADLINE = 120.0
EVENTS = 1_500
STOP_AFTER = 100

_DISTRIBUTIONS = (
    "import json, importlib.metadata as m; print(json.dumps({d.name: d.version for d in m.distributions()}))"
)
_SHELLS = (
    "import os; print('\\n'.join({os.path.realpath(p) for p in ('/bin/sh', '/bin/bash', '/bin/dash', '/bin/ash', "
    "'/bin/busybox') if os.path.exists(p)}))"
)
_HASHES = """
import hashlib, os
for folder, _, names in sorted(os.walk("/opt/enricher")):
    for path in sorted(os.path.join(folder, name) for name in names):
        print(path, os.path.islink(path) and os.readlink(path) or hashlib.sha256(open(path, "rb").read()).hexdigest())
"""


class Failed(Exception):  # noqa: N818  says what happened
    """The image does not do what it is for."""


def docker(*arguments: str, check: bool = True, timeout: float = 900.0) -> str:
    """Call the engine; returns what it printed.

    Raises:
        Failed: its exit code was not 0.
    """
    environment = os.environ | {"DOCKER_BUILDKIT": os.environ.get("DOCKER_BUILDKIT", "0")}
    done = subprocess.run(
        ["docker", *arguments], env=environment, capture_output=True, text=True, check=False, timeout=timeout
    )
    if check and done.returncode:
        raise Failed(f"docker {' '.join(arguments)[:300]} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout + ("" if check else done.stderr)


def build(tag: str, *options: str) -> None:
    """Build the image."""
    given = [f"--build-arg=PYTHON_IMAGE={BASE}", f"--build-arg=VERSION={__version__}", "--build-arg=REVISION=abc123"]
    docker("build", *options, *given, "-t", tag, str(ROOT))


def python(tag: str, code: str) -> str:
    """What a program prints in the image."""
    return docker("run", "--rm", "--network=none", "--entrypoint=python3", tag, "-c", code)


def expect(what: str, wanted: object, found: object) -> None:
    """Raise Failed unless both are equal."""
    if wanted != found:
        raise Failed(f"{what}: {found!r} rather than {wanted!r}")


def check_contents() -> None:
    """Labels, user, commands without a shell, size, and that all in it is what uv.lock says."""
    [image] = json.loads(docker("image", "inspect", TAG))
    [base] = json.loads(docker("image", "inspect", BASE))
    config = image["Config"]
    labels = {name.removeprefix("org.opencontainers.image."): text for name, text in config["Labels"].items()}
    told = {name: labels.get(name) for name in ("title", "version", "revision", "licenses")}
    expect(
        "labels", {"title": "enricher", "version": __version__, "revision": "abc123", "licenses": "Apache-2.0"}, told
    )
    expect("entry point", ["enricher"], config["Entrypoint"])
    expect("health check without a shell", "CMD", config["Healthcheck"]["Test"][0])
    if (size := image["Size"] - base["Size"]) > OURS:
        raise Failed(f"the image has {size >> 20} MiB on top of its base")
    found = {name_of(name): version for name, version in json.loads(python(TAG, _DISTRIBUTIONS)).items()}
    wanted = export() | {"enricher": __version__}
    ours = {name: version for name, version in found.items() if name in wanted}
    expect("packages as in uv.lock", wanted, ours)
    print(f"image-test: {size >> 20} MiB on top of {BASE}: {len(wanted)} packages, as uv.lock has them", flush=True)


class Pod:
    """What a pod has around the worker: its files, and the confinement.

    Args:
        folder: for the files.
        settings: of the worker.
    """

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        config, secret, nothing = folder / "enricher.yaml", folder / "token", folder / "nothing"
        config.write_text(yaml.safe_dump(settings), "utf-8")
        secret.write_text("a-token", "utf-8")
        nothing.write_text("", "utf-8")
        for file in (config, secret, nothing):
            file.chmod(0o444)
        self._shells = python(TAG, _SHELLS).split()
        mounts = {config: "/etc/enricher/enricher.yaml", secret: "/etc/enricher/secrets/token"}
        self._options = [
            *of_the_chart(),
            "--network=host",
            "--env=ENRICHER_CONFIG=/etc/enricher/enricher.yaml",
            *(f"--volume={file}:{target}:ro" for file, target in mounts.items()),
            *(f"--volume={nothing}:{shell}:ro" for shell in self._shells),
        ]
        self._names: list[str] = []

    def once(self, *arguments: str) -> str:
        """Run a command to its end; returns what it printed."""
        return docker("run", "--rm", *self._options, TAG, *arguments)

    def start(self) -> str:
        """Start a worker, and return its name."""
        name = f"enricher-image-test-{secrets.token_hex(4)}"
        self._names.append(name)
        listen = f"--env=ENRICHER_HTTP__LISTEN=127.0.0.1:{free_port()}"
        docker("run", "--detach", f"--name={name}", "--health-interval=2s", listen, *self._options, TAG)
        for shell in self._shells:
            if docker("exec", name, shell, "-c", "echo usable", check=False).startswith("usable"):
                raise Failed(f"{shell} can be used, which this wants to do without")
        return name

    def stop(self, name: str) -> float:
        """Stop a worker as Kubernetes does; returns how long that took.

        Raises:
            Failed: it did not end in order.
        """
        begun = time.monotonic()
        docker("stop", f"--time={GRACE}", name)
        took = time.monotonic() - begun
        state = self.state(name)
        log = docker("logs", name, check=False)
        if (state["ExitCode"], state["OOMKilled"]) != (0, False) or '"drained"' not in log:
            raise Failed(f"the worker was stopped, and ended with {state['ExitCode']}:\n{log[-3000:]}")
        return took

    def state(self, name: str) -> dict[str, Any]:
        """How a worker is.

        Raises:
            Failed: it has ended by itself.
        """
        state: dict[str, Any] = json.loads(docker("inspect", name))[0]["State"]
        if not state["Running"] and state["ExitCode"]:
            raise Failed(f"the worker ended with {state['ExitCode']}:\n{docker('logs', name, check=False)[-3000:]}")
        return state

    def remove(self) -> None:
        """Remove all that was started."""
        for name in self._names:
            docker("rm", "--force", name, check=False)


def check_work(broker: ContainerBroker, service: ThreadedHistoryServer, folder: Path) -> None:
    """See the worker work, and stop in the middle of it."""
    world = World(broker.bootstrap_servers, Program, service)
    settings = {
        "kafka": {"bootstrap_servers": world.bootstrap_servers, "group_id": world.group},
        "input": {"topics": [world.input]},
        "output": {"topic": world.output, "dead_letter_topic": world.dead},
        "service": {
            "url": service.url,
            "max_in_flight": 32,
            "auth": {"bearer": {"token_file": "/etc/enricher/secrets/token"}},
        },
        "shutdown": {"deadline": f"{GRACE - 10}s"},
    }
    service.faults = Faults(latency="300ms")  # so that there is something left to do when it is stopped
    pod = Pod(folder, settings)
    try:
        pod.once("check")
        print("image-test: `enricher check` passes, confined as the chart has it", flush=True)
        world.send(contact(f"CUST-{number % 500}", number) for number in range(EVENTS))
        first = pod.start()
        wait_until(
            lambda: bool(pod.state(first)) and world.published() >= STOP_AFTER,
            f"{STOP_AFTER} enriched events",
            DEADLINE,
        )
        took = pod.stop(first)
        done = _committed(world)
        print(f"image-test: stopped in {took:.1f} s with {done} of {EVENTS} events committed, exit code 0", flush=True)
        if not STOP_AFTER <= done < EVENTS:
            raise Failed(f"{done} of {EVENTS} events were committed by a worker that was to be stopped half-way")
        expect("outputs are committed, and nothing else", done, world.published())
        service.faults = Faults(latency="2ms")
        second = pod.start()
        wait_until(lambda: bool(pod.state(second)) and _committed(world) == EVENTS, "all to be committed", DEADLINE)
        wait_until(lambda: pod.state(second)["Health"]["Status"] == "healthy", "a healthy worker", DEADLINE)
        pod.stop(second)
        audit = json.loads(pod.once("verify", "--once", "--json"))
        expect("inputs that were audited", EVENTS, audit["inputs"])
        print(
            f"image-test: `enricher verify --once`: of {EVENTS} events none is lost, and none there twice", flush=True
        )
        expect("outputs", EVENTS, world.published())
    finally:
        pod.remove()


def _committed(world: World) -> int:
    positions = patiently(partial(committed, world.bootstrap_servers, world.group, world.input))
    return sum(position.offset for position in positions.values()) and len(world.committed_places())


def check_twice() -> None:
    """Build it twice from nothing, and compare each file of ours."""
    hashes = []
    for name in ("a", "b"):
        build(f"{TAG}-{name}", "--no-cache")
        hashes.append(set(python(f"{TAG}-{name}", _HASHES).splitlines()))
        docker("image", "rm", f"{TAG}-{name}", check=False)
    if differ := hashes[0] ^ hashes[1]:
        raise Failed(f"files that differ from one build to the next: {sorted(differ)[:20]}")
    print(f"image-test: built twice: {len(hashes[0])} files, none differs", flush=True)


def check(*, twice: bool) -> None:
    """All of it."""
    begun = time.monotonic()
    build(TAG)
    print(f"image-test: built in {time.monotonic() - begun:.0f} s", flush=True)
    check_contents()
    if twice:
        check_twice()
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(ContainerBroker()) as broker,
        ThreadedHistoryServer() as service,
    ):
        broker.start()
        check_work(broker, service, Path(folder))


def main() -> int:
    """Check, and tell what is wrong."""
    parser = argparse.ArgumentParser(prog="image-test", description="Try the image as the chart runs it.")
    parser.add_argument("--twice", action="store_true", help="build it twice from nothing, and compare")
    chosen = parser.parse_args()
    try:
        check(twice=chosen.twice)
    except (Failed, AssertionError, BrokerFailed) as failure:
        print(f"image-test: FAILED: {failure}", file=sys.stderr)
        return 1
    print("image-test: passed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
