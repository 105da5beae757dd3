"""What a test broker offers, and the settings that both ways of starting one share.

Invariants: a broker keeps its address and its data from `start` over `stop` or `kill` to the next `start`; it
listens on 127.0.0.1 only; after `close` nothing of it is left.
"""

import secrets
import socket
import time
from pathlib import Path
from typing import NamedTuple, Protocol

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec

KAFKA_VERSION = "4.1.0"

CLUSTER_ID = "5L6g3nShT-eMCtK--X86sw"

JVM_OPTIONS = ("-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
"""A short start counts for more than top speed: no second compiler, no parallel collector."""

MEASURED = (*JVM_OPTIONS, "-Xms1g", "-Xmx1g")
"""The same with the memory that Kafka's own scripts give it: with less it stops for its collector every second."""

READY_TIMEOUT = 90.0


class BrokerFailed(Exception):  # noqa: N818  says what happened
    """A broker could not be had, or did not start, stop or answer; the message says what was tried."""


class Detour(NamedTuple):
    """A second listener, which names another port than its own as the broker's: for a proxy in between."""

    listens: int
    advertised: int


class KafkaBroker(Protocol):
    """A single-node Apache Kafka (KRaft) of its own."""

    description: str
    """One line for people: which Kafka, how it runs, where."""
    bootstrap_servers: str
    detour: Detour

    def start(self) -> None:
        """Start, and return when it answers. Keeps address and data of an earlier run.

        Raises:
            BrokerFailed: it did not start or answer in time.
        """
        ...

    def stop(self) -> None:
        """Shut down in order, and return when it is gone."""
        ...

    def kill(self) -> None:
        """End it as a crash does (SIGKILL), and return when it is gone."""
        ...

    def pause(self) -> None:
        """Freeze it: connections stay open and nothing is answered."""
        ...

    def unpause(self) -> None:
        """Let a frozen broker go on."""
        ...

    def close(self) -> None:
        """End it and remove its data. May be called twice, and in any state."""
        ...


def server_properties(*, listen: str, port: int, controller_port: int, detour: Detour, data: str) -> dict[str, str]:
    """The server's settings, the same for both ways.

    Args:
        listen: the address to bind (inside the container, where there is one).
        port: bound and advertised on 127.0.0.1. The same number inside and outside of a container, so that the
            broker's own calls (transaction markers go through its listener) reach it too.
        controller_port: of the KRaft controller, inside.
        detour: the second listener.
        data: the folder of the logs.
    """
    return {
        "node.id": "1",
        "process.roles": "broker,controller",
        "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
        "controller.listener.names": "CONTROLLER",
        "listeners": ",".join(
            (
                f"PLAINTEXT://{listen}:{port}",
                f"DETOUR://{listen}:{detour.listens}",
                f"CONTROLLER://127.0.0.1:{controller_port}",
            )
        ),
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port},DETOUR://127.0.0.1:{detour.advertised}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,DETOUR:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "PLAINTEXT",
        "log.dirs": data,
        # One node: every internal topic has one replica, and few partitions start faster.
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "3",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "3",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "share.coordinator.state.topic.num.partitions": "1",
        # Tests must not wait for what protects a cluster.
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "500",
        "group.consumer.min.session.timeout.ms": "500",
        "group.consumer.min.heartbeat.interval.ms": "100",
        "broker.session.timeout.ms": "3000",
        "broker.heartbeat.interval.ms": "500",
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
        # A topic that nobody made is a mistake of the test or of the worker.
        "auto.create.topics.enable": "false",
        "message.max.bytes": str(16 * 1024 * 1024),
        # Records keep the time of their events, which may be years ago: never delete by age.
        "log.retention.ms": "-1",
        "log.cleaner.dedupe.buffer.size": str(4 * 1024 * 1024),
        "num.network.threads": "2",
        "num.io.threads": "4",
    }


_given: set[int] = set()


def free_port() -> int:
    """A free port of 127.0.0.1 below the range that the system gives to outgoing connections; each one once.

    A port of that range could be taken while the broker is stopped, and a client that keeps connecting to it can
    even meet itself.
    """
    lowest = _first_ephemeral_port()
    for _ in range(200):
        port = 15_000 + secrets.randbelow(lowest - 15_000)
        if port in _given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            _given.add(port)
            return port
    raise BrokerFailed("no free port of 127.0.0.1 was found in 200 tries")


def _first_ephemeral_port() -> int:
    try:
        first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()[0])
    except OSError:
        return 32_768  # not Linux: macOS begins at 49152
    return first if first > 16_000 else 32_768


def answers(bootstrap_servers: str, timeout: float = 1.0) -> bool:
    """Whether a broker answers there and knows itself as a member of its cluster."""
    admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0})
    try:
        return bool(admin.list_topics(timeout=timeout).brokers)
    except KafkaException:
        return False


def serves(bootstrap_servers: str, timeout: float = 5.0) -> bool:
    """Whether a broker answers there and leads all its partitions.

    After a restart it answers before it does: who asks for offsets in between is told that it is not the leader.
    """
    if not answers(bootstrap_servers):
        return False
    admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0})
    try:
        topics = admin.list_topics(timeout=timeout).topics
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]  # the library leaves it untyped
        wanted = {TopicPartition(name, number): latest for name, topic in topics.items() for number in topic.partitions}
        for answer in admin.list_offsets(wanted, request_timeout=timeout).values() if wanted else ():
            answer.result(timeout)
    except (KafkaException, TimeoutError):
        return False
    return True


def await_ready(broker: KafkaBroker, log: "Log", timeout: float = READY_TIMEOUT) -> None:
    """Return when ``broker`` serves all that it has.

    Raises:
        BrokerFailed: it ended or did not answer in time; with the end of its log.
    """
    deadline = time.monotonic() + timeout
    while not serves(broker.bootstrap_servers):
        if not log.alive():
            raise BrokerFailed(f"{broker.description} ended while it started:\n{log.tail()}")
        if time.monotonic() > deadline:
            leaderless = _leaderless(broker.bootstrap_servers)
            raise BrokerFailed(f"{broker.description} did not serve {leaderless} within {timeout:g} s:\n{log.tail()}")
        time.sleep(0.1)


def _leaderless(bootstrap_servers: str) -> str:
    """The partitions without a leader, or that nobody answers."""
    admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0})
    try:
        topics = admin.list_topics(timeout=5.0).topics
    except KafkaException as error:
        return f"anything ({error})"
    found = [f"{name}[{p.id}]" for name, topic in topics.items() for p in topic.partitions.values() if p.leader < 0]
    return ", ".join(found) or "some partition"


class Log(Protocol):
    """What can be seen of a broker's process from outside."""

    def alive(self) -> bool:
        """Whether the process runs."""
        ...

    def tail(self) -> str:
        """The last lines that it wrote."""
        ...
