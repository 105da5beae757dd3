"""An engine that is built anew when files change: certificates are rotated while calls go on.

Invariants: a call ends with the engine that it began with; an old engine is closed when its last call has ended; what
cannot be built changes nothing. While both have calls, there may be up to twice ``max_connections`` connections.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import structlog

from enricher.history.engine import Engine, Fields, Reply
from enricher.history.files import Clock, UnusableFile, Watch
from enricher.stats import Stats

log = structlog.get_logger(__name__)


@dataclass(eq=False, slots=True)
class _Generation:
    engine: Engine
    calls: int = 0


class ReloadingEngine:
    """``Engine`` over one engine after the other."""

    def __init__(
        self,
        build: Callable[[], Engine],
        paths: Iterable[str],
        *,
        clock: Clock = time.monotonic,
        stats: Stats | None = None,
    ) -> None:
        """Builds the first engine.

        Args:
            build: reads the files and makes an engine.
            paths: the files.
            clock: seconds, monotonic.
            stats: where to count.

        Raises:
            UnusableFile: a file cannot be used.
        """
        self._build = build
        self._watch = Watch(paths, clock)
        self._stats = stats or Stats()
        self._current = _Generation(build())
        self._old: set[_Generation] = set()
        self._closing: set[asyncio.Task[None]] = set()
        self._closed = False

    async def send(self, url: str, content: bytes | None, headers: Fields = ()) -> Reply:
        """See ``Engine``."""
        if not self._closed and self._watch.changed():
            self._reload()
        generation = self._current
        generation.calls += 1
        try:
            return await generation.engine.send(url, content, headers)
        finally:
            generation.calls -= 1
            if not generation.calls and generation in self._old:
                self._retire(generation)

    async def close(self) -> None:
        """See ``Engine``."""
        self._closed = True
        for generation in [*self._old, self._current]:
            await generation.engine.close()
        if self._closing:
            await asyncio.wait(self._closing)

    def _reload(self) -> None:
        try:
            engine = self._build()
        except UnusableFile as error:  # half of a rotation, most likely; the rest of it is another change
            log.warning("certificates_not_reloaded", setting=error.setting, file=error.path, reason=error.reason)
            return
        before, self._current = self._current, _Generation(engine)
        self._old.add(before)
        self._stats.reloads += 1
        log.info("certificates_reloaded")
        if not before.calls:
            self._retire(before)

    def _retire(self, generation: _Generation) -> None:
        self._old.discard(generation)
        task = asyncio.get_running_loop().create_task(generation.engine.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
