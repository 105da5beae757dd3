"""Puts the parts together as the settings say. Nothing else knows both the settings and the parts."""

import asyncio
import gc
import signal
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from enricher.cli.codecs import Codecs, open_codecs
from enricher.config import Settings
from enricher.config.model import Guarantee
from enricher.consumer import times
from enricher.delivery import AtLeastOnce, Delivery
from enricher.exactly_once import ExactlyOnce
from enricher.history import OfferHistoryClient
from enricher.lookups import LookupOptions
from enricher.model import Headers
from enricher.pipeline import Options, Pipeline
from enricher.protocols import Source, Tracing
from enricher.pulse import Pulse
from enricher.retry import RetryPolicy
from enricher.sharing import EmptyPolicy, OnEmpty
from enricher.sink import KafkaSink
from enricher.source import KafkaSource
from enricher.stats import Stats
from enricher.transactions import KafkaTransactions

T = TypeVar("T")

COLLECT = (700, 10, 100)
"""When the garbage collector looks for cycles, of which the worker makes hardly any. Python's own third number, 10, has
it go through all records that are held once or twice a second, which stops everything for 15 ms."""


def build_pipeline(
    settings: Settings,
    client: OfferHistoryClient,
    stats: Stats,
    pulse: Pulse | None = None,
    tracing: Tracing | None = None,
    *,
    codecs: Codecs | None = None,
    source: Source | None = None,
    delivery: Delivery | None = None,
    added_headers: Headers | None = None,
    **given: Any,
) -> Pipeline:
    """The worker.

    Args:
        settings: of everything.
        client: of the history service.
        stats: where to count.
        pulse: told what the pipeline does.
        tracing: makes traces, if at all.
        codecs: what reads and writes; whoever opens them closes them. Opened here if left out.
        source: where records come from; Kafka if left out.
        delivery: where records go; Kafka if left out.
        added_headers: of every output and dead letter, besides the input's.
        given: further arguments of the pipeline, such as its clocks.
    """
    codecs = codecs or open_codecs(settings, stats)
    output = settings.output
    pulse = pulse or Pulse()
    consumer = settings.kafka.consumer_properties()
    within = times(consumer)
    source = source or KafkaSource(consumer, settings.input.topics, pulse=pulse)
    return Pipeline(
        source,
        delivery or build_delivery(settings, source, stats, pulse),
        client,
        codecs.decoder,
        codecs.encoder,
        options=Options(
            output_topic=output.topic,
            dead_letter_topic=output.dead_letter_topic,
            lookups=_lookup_options(settings),
            commit_interval=settings.delivery.commit_interval,
            max_records=settings.buffer.max_records,
            max_bytes=settings.buffer.max_bytes,
            revoke_grace=within.grace,
            revoke_floor=within.floor,
            shutdown_deadline=settings.shutdown.deadline,
            added_headers=added_headers or [],
        ),
        stats=stats,
        fetcher=codecs.fetcher,
        pulse=pulse,
        tracing=tracing,
        **given,
    )


def _lookup_options(settings: Settings) -> LookupOptions:
    service, history = settings.service, settings.history
    return LookupOptions(
        max_in_flight=service.max_in_flight,
        limiter=service.limiter,
        max_rate=service.max_rate,
        order=settings.delivery.order,
        retry=RetryPolicy(
            service.backoff.initial, service.backoff.max, service.deadline, settings.failures.on_unavailable
        ),
        as_of=history.as_of,
        coalesce=history.coalesce,
        cache_ttl=history.cache.ttl,
        cache_bytes=history.cache.max_bytes,
        on_empty=(
            EmptyPolicy(history.empty_delay, history.empty_attempts) if history.on_empty is OnEmpty.RETRY else None
        ),
    )


def build_delivery(settings: Settings, source: Source, stats: Stats, pulse: Pulse | None = None) -> Delivery:
    """Where outputs and dead letters go, with the guarantee that is set."""
    pulse = pulse or Pulse()
    properties = settings.kafka.producer_properties()
    topics = {settings.output.topic, settings.output.dead_letter_topic}
    if settings.delivery.guarantee is Guarantee.EXACTLY_ONCE:
        transactions = KafkaTransactions(properties, topics, settings.kafka.group_id, pulse=pulse)
        return ExactlyOnce(source, transactions, stats)
    return AtLeastOnce(source, KafkaSink(properties, topics, pulse=pulse), stats)


def run_until_signal(main: Callable[[asyncio.Event], Coroutine[Any, Any, T]]) -> T:
    """Run ``main`` on a new event loop (uvloop where it exists); SIGTERM and SIGINT set the event that it is given.

    A second signal ends the program at once, without committing what is unresolved: exit code 1.
    """

    async def supervised() -> T:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()

        def on_signal() -> None:
            if stop.is_set():
                raise SystemExit(1)
            stop.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, on_signal)
        gc.freeze()  # what is imported stays; to go through all of it again and again stops everything for 20 ms
        gc.set_threshold(*COLLECT)
        return await main(stop)

    new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    with suppress(ImportError):  # there is none for some platforms
        from uvloop import new_event_loop as new_loop  # noqa: PLC0415
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(supervised())
