"""The status server around a worker: started before it, ended after it.

Invariant: an address that cannot be listened on is told before anything else happens.
"""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import structlog

from enricher.config import Loaded
from enricher.config.document import rows
from enricher.config.values import OFF
from enricher.consumer import poll_interval
from enricher.httpd.loop_thread import LoopThread
from enricher.logs import toggle_debug
from enricher.observability.health import Limits
from enricher.observability.heartbeat import Heartbeat
from enricher.observability.observer import Observer
from enricher.observability.server import StatusServer
from enricher.pipeline import Pipeline
from enricher.pulse import Pulse

log = structlog.get_logger(__name__)


class CannotListen(Exception):  # noqa: N818  says what is wrong
    """The status server's address is taken, or is none of this machine's."""


@asynccontextmanager
async def watched(loaded: Loaded, pipeline: Pipeline, pulse: Pulse) -> AsyncIterator[None]:
    """Beat, answer on ``http.listen``, and change the log's level on SIGUSR1, as long as the context lasts.

    Raises:
        CannotListen: on that address.
    """
    pulse.started = time.monotonic()
    heartbeat = Heartbeat(pipeline.stats, pulse, pipeline.holding)
    observer = Observer(pipeline.stats, pulse, pipeline.state, heartbeat, asyncio.get_running_loop())
    server = _server(loaded, observer)
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, _change_level, loaded)
    beating = asyncio.create_task(heartbeat.run())
    try:
        if server is not None:
            await asyncio.to_thread(server.start)
        yield
    finally:
        if server is not None:
            await asyncio.to_thread(server.stop)
        beating.cancel()
        with suppress(asyncio.CancelledError):
            await beating


def _change_level(loaded: Loaded) -> None:
    log.warning("log_level_changed", now=toggle_debug(loaded.settings.logging))


def _server(loaded: Loaded, observer: Observer) -> LoopThread | None:
    settings = loaded.settings
    address = settings.http.listen
    if address == OFF:
        return None
    limits = Limits(settings.service.timeout, poll_interval(settings.kafka.consumer_properties()))
    shown = [(row.name, row.text, row.origin) for row in rows(loaded)]
    try:
        server = StatusServer(address, observer, shown, limits)
    except OSError as error:
        raise CannotListen(
            f"cannot listen on {address} ({error.strerror or error}); give http.listen another address, or off"
        ) from error
    log.info("http_listening", address=server.address)
    return LoopThread("status", server)
