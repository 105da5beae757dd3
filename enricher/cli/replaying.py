"""What ``enricher replay`` does with a plan: runs the pipeline over it until the whole of it is resolved.

Invariants: the live group is not touched; a process ends when the replay's group has committed the whole range, which
other processes may share, and not before; however it is interrupted, what is committed stays done.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import structlog
from confluent_kafka import KafkaException

from enricher.cli.codecs import open_codecs
from enricher.cli.compose import build_delivery, build_pipeline
from enricher.cli.groups import GroupOffsets
from enricher.cli.plans import complete, done
from enricher.cli.progress import Figures
from enricher.cli.service import build_client
from enricher.config import Settings
from enricher.delivery import Delivery
from enricher.model import REPLAY_HEADER, Position, TopicPartition
from enricher.pipeline import Pipeline
from enricher.protocols import Source
from enricher.replay.bounded import BoundedSource
from enricher.replay.plan import Plan, progress_group
from enricher.replay.selection import SelectingDecoder, Selection
from enricher.source import KafkaSource
from enricher.stats import Stats

log = structlog.get_logger(__name__)

LOOK = 0.5
"""Seconds between two looks at the progress of the group."""

MISSED_AFTER = 10_000
"""Milliseconds after which the group misses a process that was killed: whoever resumes the replay waits so long."""


@dataclass(frozen=True, slots=True)
class Replay:
    """One replay, as one process works at it.

    Attributes:
        name: of the replay.
        settings: of the live worker, but for what the replay was told.
        plan: its range and terms.
        selection: what is processed of the range.
    """

    name: str
    settings: Settings
    plan: Plan
    selection: Selection

    @property
    def total(self) -> int:
        """Offsets to go through."""
        return self.plan.offsets

    def figures(self, positions: dict[TopicPartition, Position], stats: Stats) -> Figures:
        """How far it is."""
        failed = stats.dead_lettered
        return Figures(done(self.plan, positions), self.total, stats.enriched + failed, failed, stats.retries)


def replay_settings(settings: Settings, name: str, topic: str | None) -> Settings:
    """The settings of a replay: the live worker's, in a group of its own, to the topic that was asked for."""
    kafka = settings.kafka
    consumer: dict[str, Any] = {**kafka.consumer, "auto.offset.reset": "earliest"}
    if kafka.group_protocol != "consumer" and "session.timeout.ms" not in kafka.properties:
        consumer.setdefault("session.timeout.ms", MISSED_AFTER)
    update: dict[str, Any] = {
        "kafka": kafka.model_copy(
            update={
                "group_id": progress_group(kafka.group_id, name),
                "group_instance_id": "",  # a static member's name is one process's, and a replay may have several
                "consumer": consumer,
            }
        )
    }
    if topic is not None:
        update["output"] = settings.output.model_copy(update={"topic": topic})
    return settings.model_copy(update=update)


async def run_replay(
    replay: Replay,
    stats: Stats,
    progress: GroupOffsets,
    tell: Callable[[Figures], None],
    stop: asyncio.Event,
    make_delivery: Callable[[Settings, Source, Stats], Delivery] | None = None,
) -> bool:
    """Work at a replay until it is complete or stopped.

    Args:
        replay: what to do.
        stats: where to count.
        progress: of the replay's group.
        tell: told now and then how far it is.
        stop: ends it early.
        make_delivery: where outputs go; as the settings say if None.

    Returns:
        whether all of the range is resolved.
    """
    settings = replay.settings
    codecs = await asyncio.to_thread(open_codecs, settings, stats)  # which may ask a schema registry
    source = BoundedSource(KafkaSource(settings.kafka.consumer_properties(), settings.input.topics), replay.plan.ends())
    client = build_client(settings, stats)
    pipeline = build_pipeline(
        settings,
        client,
        stats,
        source=source,
        delivery=(make_delivery or build_delivery)(settings, source, stats),
        codecs=codecs._replace(decoder=SelectingDecoder(codecs.decoder, replay.selection)),
        added_headers=[(REPLAY_HEADER, replay.name.encode())],
    )
    tasks = [
        asyncio.create_task(_stop_when_told(pipeline, stop)),
        asyncio.create_task(_watch(replay, stats, progress, tell, pipeline)),
    ]
    try:
        await pipeline.run()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await client.close()
        codecs.close()
        stats.received -= source.fillers
        stats.left_out -= source.fillers
    positions = await asyncio.to_thread(progress.read, replay.plan.spans)
    tell(replay.figures(positions, stats))
    return complete(replay.plan, positions)


async def _stop_when_told(pipeline: Pipeline, stop: asyncio.Event) -> None:
    await stop.wait()
    pipeline.stop()


async def _watch(
    replay: Replay, stats: Stats, progress: GroupOffsets, tell: Callable[[Figures], None], pipeline: Pipeline
) -> None:
    """Tell how far the group is, and end the pipeline when all is done."""
    while True:
        try:
            positions = await asyncio.to_thread(progress.read, replay.plan.spans)
        except KafkaException as error:  # a transaction that is not decided yet, a broker that is away
            log.debug("progress_not_read", error=str(error))
        except Exception as error:  # noqa: BLE001  a fault of our own: it must not end in a replay that never ends
            pipeline.failed(error)
            return
        else:
            tell(replay.figures(positions, stats))
            if complete(replay.plan, positions):
                pipeline.stop()
                return
        await asyncio.sleep(LOOK)
