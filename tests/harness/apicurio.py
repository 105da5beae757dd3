"""Apicurio Registry on a JVM of this machine: a real schema registry that speaks Confluent's REST API.

It is fetched once from Maven Central (or ``MAVEN_REPOSITORY``), as Kafka's jars are, and keeps its data in memory.
"""

import os
import shutil
import signal
import subprocess
import tarfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from tempfile import mkdtemp
from typing import Self

from tests.harness import jars
from tests.harness.broker import BrokerFailed, free_port
from tests.harness.jvm import find_java

VERSION = "2.6.13.Final"
ARCHIVE = jars.Jar(
    "3cda1b34aa020fb4ac4dd6a66018d757e81e437f97e20a1f92d366b70091c6ba",
    142_198_683,
    "io.apicurio",
    "apicurio-registry-app",
    VERSION,
    "-all.tar.gz",
)
START_TIMEOUT = 240.0


class Apicurio:
    """The registry, while it is used with ``with``."""

    def __init__(self) -> None:
        self._folder = Path(mkdtemp(prefix="enricher-registry-"))
        self._log = self._folder / "registry.log"
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it speaks Confluent's API."""
        return f"http://127.0.0.1:{self._port}/apis/ccompat/v7"

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self) -> None:
        java = find_java()
        (archive,) = jars.fetch(jars.cache_folder(f"apicurio-{VERSION}"), [ARCHIVE])
        with tarfile.open(archive) as packed:
            packed.extractall(self._folder, filter="data")
        runner = self._folder / f"apicurio-registry-app-{VERSION}-runner.jar"
        command = [
            java.path, "-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC",
            f"-Dquarkus.http.port={self._port}", "-Dquarkus.http.host=127.0.0.1", "-jar", str(runner),
        ]  # fmt: skip
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                env={**os.environ, "LOG_LEVEL": "WARN"}, cwd=self._folder,
            )  # fmt: skip
        self._await_ready()

    def _await_ready(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while not self._answers():
            assert self._process is not None
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise BrokerFailed(f"Apicurio Registry did not start:\n{self._tail()}")
            time.sleep(0.2)  # another program's start, which tells nobody

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/subjects", timeout=10) as answer:  # noqa: S310  our own address
                return bool(answer.status == 200)
        except (OSError, urllib.error.URLError):
            return False

    def _tail(self) -> str:
        lines = self._log.read_text("utf-8", "replace").splitlines() if self._log.exists() else []
        return "\n".join(lines[-30:])
