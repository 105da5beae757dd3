"""Fixtures of the integration tests: a history service, and worlds for workers in the session's shared Kafka."""

from collections.abc import Iterator

import pytest

from enricher.testing.threaded import ThreadedHistoryServer
from tests.conftest import StartProgram
from tests.harness.broker import KafkaBroker
from tests.integration.worker_world import World


@pytest.fixture
def service() -> Iterator[ThreadedHistoryServer]:
    """A history service of generated histories, without faults as yet."""
    with ThreadedHistoryServer() as server:
        yield server


@pytest.fixture
def world(kafka: KafkaBroker, start_program: StartProgram, service: ThreadedHistoryServer) -> World:
    """Topics of four partitions in the shared Kafka, and a service."""
    return World(kafka.bootstrap_servers, start_program, service)
