"""Apache Kafka in a container, through testcontainers; the image is told by ``KAFKA_IMAGE``.

The image has the environment of the official apache/kafka one: giving any ``KAFKA_*`` replaces all its defaults,
so all settings are given.
"""

import atexit
import gc
import os
import warnings
from collections.abc import Sequence
from contextlib import closing, suppress
from typing import Any

from testcontainers.core.container import DockerContainer
from testcontainers.core.docker_client import DockerClient

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

_CONTROLLER_PORT = 9093
_DATA = "/var/lib/kafka/data"
_START = f"""\
if [ -e {_DATA}/meta.properties ]; then
  exec java $KAFKA_HEAP_OPTS -Dlog4j2.configurationFile=/opt/kafka/config/log4j2.yaml \\
    -cp '/opt/kafka/libs/*' kafka.Kafka /opt/kafka/config/server.properties
fi
exec /etc/kafka/docker/run
"""
"""The image's own start program the first time; after that the server alone, as formatting twice is refused."""

_ENGINE_TIMEOUT = 120  # seconds for one call of the engine, a stop within its grace included


def image() -> str:
    """The image to run."""
    return os.environ.get("KAFKA_IMAGE") or f"apache/kafka:{KAFKA_VERSION}"


def engine() -> str:
    """The Docker engine's name and version, after making sure that it answers and has the image or can pull it.

    Raises:
        BrokerFailed: it does not answer, or the image cannot be had.
    """
    client = _client()
    with closing(client):
        try:
            version = str(client.version()["Version"])
        except Exception as error:
            raise BrokerFailed(f"no Docker engine answers ({_brief(error)})") from error
        try:
            client.images.get(image())
        except Exception:  # noqa: BLE001  whatever the reason, pulling it is the answer
            try:
                client.images.pull(image())
            except Exception as error:
                raise BrokerFailed(f"the image {image()} can neither be found nor pulled ({_brief(error)})") from error
    return f"Docker {version}"


def _client() -> Any:
    failure = ""
    with warnings.catch_warnings():
        # A client that cannot connect leaves its socket to the garbage collector: let that happen here and quietly,
        # rather than in the middle of a test.
        warnings.simplefilter("ignore", ResourceWarning)
        try:
            return DockerClient(timeout=_ENGINE_TIMEOUT).client
        except Exception as error:  # noqa: BLE001  the client raises its own, requests' and OS errors alike
            failure = _brief(error)
        gc.collect()
    raise BrokerFailed(f"no Docker engine answers ({failure})")


def _brief(error: Exception) -> str:
    text = str(error).splitlines()[0] if str(error) else ""
    return f"{type(error).__name__}: {text[:200]}"


def _environment(settings: dict[str, str]) -> dict[str, str]:
    """Kafka's settings under the names that the image reads."""
    return {"KAFKA_" + name.upper().replace("_", "__").replace(".", "_"): value for name, value in settings.items()}


class ContainerBroker:
    """Apache Kafka in a container of its own, published on 127.0.0.1."""

    def __init__(self, options: Sequence[str] = JVM_OPTIONS) -> None:
        """Make sure that it can be started; nothing runs yet.

        Args:
            options: of the JVM.

        Raises:
            BrokerFailed: no engine, or no image.
        """
        version = engine()
        port = free_port()
        self.bootstrap_servers = f"127.0.0.1:{port}"
        self.description = f"Apache Kafka in a container of {image()} on {version}, {self.bootstrap_servers}"
        self.detour = Detour(free_port(), free_port())
        settings = server_properties(
            listen="0.0.0.0",  # noqa: S104  inside the container; it is published on 127.0.0.1 alone
            port=port,
            controller_port=_CONTROLLER_PORT,
            detour=self.detour,
            data=_DATA,
        )
        environment = _environment(settings)
        environment |= {"CLUSTER_ID": CLUSTER_ID, "KAFKA_HEAP_OPTS": " ".join(options)}
        self._container = DockerContainer(
            image(),
            docker_client_kw={"timeout": _ENGINE_TIMEOUT},
            command=["bash", "-c", _START],  # type: ignore[arg-type]  # typed narrower than with_command, which takes it
            env=environment,
        )
        # with_bind_ports cannot say an address; the engine's client, which gets this as it is, takes a pair.
        published: dict[str, Any] = self._container.ports
        for inside in (port, self.detour.listens):
            published[f"{inside}/tcp"] = ("127.0.0.1", inside)
        self._created = False
        atexit.register(self.close)  # for engines without testcontainers' reaper

    def start(self) -> None:
        """See `KafkaBroker.start`."""
        try:
            if self._created:
                self._engine_container.start()
            else:
                self._container.start()
                self._created = True
        except Exception as error:
            raise BrokerFailed(f"{self.description} could not be started ({_brief(error)})") from error
        await_ready(self, self)

    def stop(self) -> None:
        """See `KafkaBroker.stop`."""
        self._engine_container.stop(timeout=60)

    def kill(self) -> None:
        """See `KafkaBroker.kill`."""
        self._engine_container.kill()
        self._engine_container.wait(timeout=_ENGINE_TIMEOUT)

    def pause(self) -> None:
        """See `KafkaBroker.pause`."""
        self._engine_container.pause()

    def unpause(self) -> None:
        """See `KafkaBroker.unpause`."""
        self._engine_container.unpause()

    def close(self) -> None:
        """See `KafkaBroker.close`."""
        with suppress(Exception):  # gone already, or never there
            self._container.stop(force=True, delete_volume=True)
        self._created = False
        atexit.unregister(self.close)

    def alive(self) -> bool:
        """Whether the container runs."""
        self._engine_container.reload()
        return bool(self._engine_container.status == "running")

    def tail(self) -> str:
        """The last lines of the container's log."""
        return str(self._engine_container.logs(tail=30).decode(errors="replace"))

    @property
    def _engine_container(self) -> Any:
        return self._container.get_wrapped_container()
