"""``enricher run``: the worker."""

from typing import TYPE_CHECKING

import typer

from enricher.cli.options import MISUSED, ConfigFile, Json, Overrides, load_settings_or_exit, tell_problems

if TYPE_CHECKING:
    import asyncio

    from enricher.config import Loaded
    from enricher.history import OfferHistoryClient
    from enricher.stats import Stats


def run(config: ConfigFile = None, overrides: Overrides = None, *, as_json: Json = False) -> None:
    """Run the worker, until SIGTERM or SIGINT.

    It reads contact events, looks up each customer's offer history and publishes both. A stop drains: what is in
    flight is finished within `shutdown.deadline`, what is resolved is committed, and the worker leaves its group. A
    second signal ends it at once.

    Example: enricher run --config enricher.yaml --set service.max_in_flight=128
    """
    loaded = load_settings_or_exit(config, overrides, as_json=as_json)
    from enricher.allocator import tame  # noqa: PLC0415
    from enricher.cli.compose import run_until_signal  # noqa: PLC0415  half a second that `--help` does without
    from enricher.cli.service import build_client  # noqa: PLC0415
    from enricher.cli.traces import trace_ids  # noqa: PLC0415
    from enricher.config import ConfigError  # noqa: PLC0415
    from enricher.logs import configure  # noqa: PLC0415
    from enricher.stats import Stats  # noqa: PLC0415

    configure(loaded.settings.logging, trace_ids=trace_ids(loaded.settings))
    tame()
    stats = Stats()
    refused = False
    try:
        client = build_client(loaded.settings, stats)
        run_until_signal(lambda stop: _run(loaded, client, stats, stop))
    except ConfigError as error:  # of the files that the settings name
        refused = True
        tell_problems(error, as_json=as_json)
        raise typer.Exit(MISUSED) from None
    except Exception as error:  # whatever ended the worker is its user's to know, without a traceback
        typer.echo(f"enricher: the worker failed: {error}", err=True)
        raise typer.Exit(1) from error
    finally:
        if as_json and not refused:
            typer.echo(_summary(stats))


async def _run(loaded: "Loaded", client: "OfferHistoryClient", stats: "Stats", stop: "asyncio.Event") -> None:
    import asyncio  # noqa: PLC0415
    from contextlib import suppress  # noqa: PLC0415

    import structlog  # noqa: PLC0415

    from enricher import __version__  # noqa: PLC0415
    from enricher.cli.codecs import open_codecs  # noqa: PLC0415
    from enricher.cli.compose import build_pipeline  # noqa: PLC0415
    from enricher.cli.service import in_the_clear  # noqa: PLC0415
    from enricher.cli.serving import watched  # noqa: PLC0415
    from enricher.cli.traces import open_tracing  # noqa: PLC0415
    from enricher.pulse import Pulse  # noqa: PLC0415

    log = structlog.get_logger(__name__)
    settings = loaded.settings
    try:
        codecs = await asyncio.to_thread(open_codecs, settings, stats)  # which may ask a schema registry
    except BaseException:
        await client.close()
        raise
    pulse = Pulse()
    traces = open_tracing(settings)
    if traces is not None:
        client.route(traces.engine)
    tracing = None if traces is None else traces.events
    pipeline = build_pipeline(settings, client, stats, pulse, tracing, codecs=codecs)
    log.info(
        "worker_started",
        version=__version__,
        topics=list(settings.input.topics),
        output=settings.output.topic,
        group=settings.kafka.group_id,
        guarantee=settings.delivery.guarantee,
    )
    if (exposed := in_the_clear(settings)) is not None:
        log.warning("credentials_in_the_clear", setting=exposed, remedy="write https there, if the service has it")

    async def stop_when_told() -> None:
        await stop.wait()
        pipeline.stop()

    async def report() -> None:
        while True:
            await asyncio.sleep(REPORT_INTERVAL)
            log.info("progress", **_figures(stats))

    tasks = [asyncio.create_task(stop_when_told()), asyncio.create_task(report())]
    try:
        async with watched(loaded, pipeline, pulse):
            await pipeline.run()
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        with suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await client.close()
        codecs.close()
        if traces is not None:
            await asyncio.to_thread(traces.close)
        log.info("worker_ended", **_figures(stats))


REPORT_INTERVAL = 30.0
"""Seconds between two ``progress`` lines in the log."""


def _figures(stats: "Stats") -> dict[str, object]:
    return {
        "received": stats.received,
        "skipped": stats.skipped,
        "enriched": stats.enriched,
        "dead_letters": stats.dead_lettered,
        "passed_through": stats.passed_through,
        "lookups": stats.lookups,
        "coalesced": stats.coalesced,
        "cache_hits": stats.cache_hits,
        "retries": stats.retries,
        "retries_put_off": stats.retries_put_off,
        "empty_retries": stats.empty_retries,
        "lookup_p50_ms": round(stats.lookup_seconds.quantile(0.5) * 1e3, 1),
        "lookup_p99_ms": round(stats.lookup_seconds.quantile(0.99) * 1e3, 1),
        "loop_lag_p99_ms": round(stats.loop_lag_seconds.quantile(0.99) * 1e3, 1),
    }


def _summary(stats: "Stats") -> str:
    import json  # noqa: PLC0415

    causes = [
        {"stage": stage, "cause": cause, "count": count} for (stage, cause), count in stats.dead_letters.most_common()
    ]
    return json.dumps({**_figures(stats), "dead_letter_causes": causes, "failures": dict(stats.failures)})
