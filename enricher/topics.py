"""The topics that are written to, seen before the producer is made: do they exist, and how large a batch do they take?

A broker refuses a batch that is larger than the topic's ``max.message.bytes`` as a whole, so that small records which
happen to stand beside a large one would be refused for its size. So no batch may be larger than the topics take, but
for a record that is so by itself, which librdkafka sends alone.
"""

import asyncio
import logging
from collections.abc import Collection, Mapping
from concurrent.futures import Future
from typing import Any

import structlog
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigEntry, ConfigResource

from enricher.kafka import explain
from enricher.protocols import ProduceFailed

log = structlog.get_logger(__name__)

TRIES = 10
"""Looks for a topic before it counts as missing: one that is being created takes a moment to be seen."""

PAUSE = 0.5
"""Seconds between two looks."""

TIMEOUT = 5.0
"""Seconds for one question."""

BATCH_SIZE = 1_000_000
"""librdkafka's default for ``batch.size``, bytes before compression."""

FRAMING = 256
"""Bytes of a batch that are kept free for what is not counted in ``batch.size``."""


async def fitted(properties: Mapping[str, Any], topics: Collection[str]) -> dict[str, Any]:
    """A producer's properties, with a ``batch.size`` that fits the topics; waits as long as no broker answers.

    Args:
        properties: as they are configured; a smaller ``batch.size`` stays.
        topics: those that will be written to.

    Raises:
        ProduceFailed: a topic does not exist, or may not be seen.
    """
    configuration: dict[str, Any] = {**properties, "error_cb": on_error}
    admin = AdminClient(configuration, logger=logging.getLogger("librdkafka.producer"))
    await _await_topics(admin, topics)
    limits = await asyncio.to_thread(_limits, admin, topics)
    size = min([int(properties.get("batch.size", BATCH_SIZE)), *(max(1, limit - FRAMING) for limit in limits)])
    return {**properties, "batch.size": size}


async def _await_topics(admin: AdminClient, topics: Collection[str]) -> None:
    missing = set(topics)
    tries = 0
    while missing:
        for topic in sorted(missing):
            try:
                found = (await asyncio.to_thread(admin.list_topics, topic, TIMEOUT)).topics[topic]
            except KafkaException as error:
                log.warning("kafka_not_reached", error=explain(error.args[0]))
                break
            if found.error is None:
                missing.discard(topic)
            elif tries >= TRIES:
                raise ProduceFailed(f"topic {topic} cannot be written: {explain(found.error)}; create it first")
        if missing:
            tries += 1
            await asyncio.sleep(PAUSE)


def _limits(admin: AdminClient, topics: Collection[str]) -> list[int]:
    """``max.message.bytes`` of the topics, as far as this client may know; blocks."""
    resources = [ConfigResource(ConfigResource.Type.TOPIC, topic) for topic in sorted(topics)]
    try:
        cluster = admin.list_topics(timeout=TIMEOUT)
        if cluster.controller_id not in cluster.brokers:
            return []  # an embedded broker: librdkafka would wait for a controller to ask
        answers = admin.describe_configs(resources, request_timeout=TIMEOUT).values()
    except KafkaException:
        return []
    return [limit for answer in answers if (limit := _limit(answer)) is not None]


def _limit(answer: Future[dict[str, ConfigEntry]]) -> int | None:
    try:
        return int(answer.result(2 * TIMEOUT)["max.message.bytes"].value or "")
    except (KafkaException, KeyError, ValueError, TimeoutError) as error:
        # Not ours to know. A default batch fits into the default limit: this matters only where a topic takes less.
        log.debug("topic_limit_unknown", error=type(error).__name__)
        return None


def on_error(error: KafkaError) -> None:
    """Log what a producer's ``error_cb`` hears."""
    # Fatal ones reach every outstanding record through its delivery report; the rest librdkafka retries by itself.
    log.warning("kafka_producer_error", code=error.name(), error=error.str(), fatal=error.fatal())
