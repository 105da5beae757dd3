"""What a producer is told of the topics that it will write to."""

import asyncio
import time

import pytest

from enricher.protocols import ProduceFailed
from enricher.testing.broker import EmbeddedBroker
from enricher.topics import BATCH_SIZE, TIMEOUT, fitted
from tests.conftest import MakeTopic
from tests.harness.broker import KafkaBroker
from tests.harness.clients import unique_name


@pytest.mark.parametrize(
    ("limits", "properties", "at_most"),
    [
        ([20_000, 50_000], {}, 20_000),
        ([50_000, 20_000], {"batch.size": "30000"}, 20_000),
        ([20_000], {"batch.size": 10_000}, 10_000),
        ([8 << 20], {}, BATCH_SIZE),
        ([100], {}, 100),
    ],
)
def test_a_batch_fits_into_every_topic(
    kafka: KafkaBroker, make_topic: MakeTopic, limits: list[int], properties: dict[str, object], at_most: int
) -> None:
    """The smallest limit counts, or what is configured if that is less; the rest of the properties stays."""
    topics = [make_topic(config={"max.message.bytes": str(limit)}) for limit in limits]
    given = {"bootstrap.servers": kafka.bootstrap_servers, "linger.ms": 7, **properties}
    got = asyncio.run(fitted(given, topics))
    assert max(1, at_most - 256) <= got.pop("batch.size") <= at_most
    given.pop("batch.size", None)
    assert got == given


def test_a_topic_that_is_missing_is_named(kafka: KafkaBroker, make_topic: MakeTopic) -> None:
    """One that is there beside it does not help."""
    missing = unique_name("missing")
    with pytest.raises(ProduceFailed, match=f"{missing}.*create it first"):
        asyncio.run(fitted({"bootstrap.servers": kafka.bootstrap_servers}, [make_topic(), missing]))


def test_a_broker_that_cannot_be_asked_changes_nothing() -> None:
    """The embedded broker has no limits to tell, and is not waited for."""
    with EmbeddedBroker() as broker:
        begin = time.monotonic()
        got = asyncio.run(fitted({"bootstrap.servers": broker.bootstrap_servers, "log_level": 3}, ["a", "b"]))
    assert got["batch.size"] == BATCH_SIZE
    assert time.monotonic() - begin < TIMEOUT
