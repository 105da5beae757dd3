"""Fixtures that every test may use: Apache Kafka, topics of one's own, and the console script.

Tests that need Kafka are marked ``kafka`` (use of a fixture below marks them). Where there are any, the broker is
started before the first test and the run says which one it is and why; where none can be had, these tests fail.
"""

import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

import pytest
from hypothesis import settings

from tests.harness.apicurio import Apicurio
from tests.harness.broker import KafkaBroker
from tests.harness.clients import create_topic, unique_name
from tests.harness.program import Program
from tests.harness.selection import KafkaOfSession

# Machines are shared and noisy: how long an example takes says nothing.
settings.register_profile("shared-machine", deadline=None)
settings.load_profile("shared-machine")

_KAFKA_FIXTURES = {"kafka", "private_kafka", "make_topic"}

_session_key = pytest.StashKey[KafkaOfSession]()


def pytest_configure(config: pytest.Config) -> None:
    """Have one chooser of Kafka for the session; nothing is started yet."""
    # A shell that starts us in the background tells us to ignore SIGINT, and the programs that we start would, too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    config.stash[_session_key] = KafkaOfSession()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that use Kafka."""
    for item in items:
        if _KAFKA_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.kafka)


def pytest_report_collectionfinish(config: pytest.Config, items: list[pytest.Item]) -> list[str]:
    """Start Kafka if a test needs it, and say which one is used and why."""
    if config.option.collectonly or not any(item.get_closest_marker("kafka") for item in items):
        return []
    return [config.stash[_session_key].report()]


def pytest_unconfigure(config: pytest.Config) -> None:
    """End every broker that the session started."""
    config.stash[_session_key].close()


@pytest.fixture(scope="session")
def kafka(pytestconfig: pytest.Config) -> KafkaBroker:
    """The Apache Kafka that all tests share; take topics and groups of your own, and leave it running."""
    return pytestconfig.stash[_session_key].shared()


@pytest.fixture(scope="session")
def apicurio() -> Iterator[Apicurio]:
    """The schema registry that all tests share; take subjects of your own."""
    with Apicurio() as registry:
        yield registry


@pytest.fixture
def private_kafka(pytestconfig: pytest.Config) -> Iterator[KafkaBroker]:
    """An Apache Kafka for one test, which may stop, kill, freeze and start it."""
    broker = pytestconfig.stash[_session_key].another()
    yield broker
    broker.close()


class MakeTopic(Protocol):
    """Creates a topic in the shared Kafka and returns its name, which is unique."""

    def __call__(self, prefix: str = "t", *, partitions: int = 1, config: Mapping[str, str] | None = None) -> str:
        """Create a topic; ``config`` holds settings of the topic."""
        ...


@pytest.fixture
def make_topic(kafka: KafkaBroker) -> MakeTopic:
    """Makes topics in the shared Kafka."""

    def make(prefix: str = "t", *, partitions: int = 1, config: Mapping[str, str] | None = None) -> str:
        name = unique_name(prefix)
        create_topic(kafka.bootstrap_servers, name, partitions=partitions, config=config)
        return name

    return make


@pytest.fixture
def group() -> str:
    """The name of a consumer group that no other test has."""
    return unique_name("g")


class StartProgram(Protocol):
    """Starts ``enricher`` with arguments; the options are those of `Program`."""

    def __call__(
        self,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        command: tuple[str, ...] | None = None,
        cwd: Path | None = None,
    ) -> Program:
        """Start it."""
        ...


@pytest.fixture
def start_program() -> Iterator[StartProgram]:
    """Starts ``enricher``; what still runs after the test is stopped, and must end on SIGTERM."""
    started: list[Program] = []

    def start(
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        command: tuple[str, ...] | None = None,
        cwd: Path | None = None,
    ) -> Program:
        program = Program(*arguments, environment=environment, command=command, cwd=cwd)
        started.append(program)
        return program

    yield start
    failures = []
    for program in started:
        try:
            program.stop()
        except AssertionError as failure:
            failures.append(str(failure))
    assert not failures, "\n".join(failures)
    assert not [program for program in started if program.running]
