"""The history service in a thread of its own, for tests and programs that are not on its event loop."""

import asyncio
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, TypeVar

from enricher.testing.faults import Faults
from enricher.testing.history_service import HistoryServer
from enricher.testing.service_stats import Stats

T = TypeVar("T")


class ThreadedHistoryServer:
    """A `HistoryServer` with its own thread and loop. Takes the same arguments; every call waits for its effect.

    Use it with ``with``, or call `start` and `stop`.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        self._server = HistoryServer(*args, **options)
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._started = threading.Event()
        self._error: BaseException | None = None
        self._stop: asyncio.Event | None = None

    def start(self) -> None:
        """Start the thread, and return when the service listens.

        Raises:
            OSError: an address is taken.
        """
        self._thread = threading.Thread(target=self._run, name="history-service", daemon=True)
        self._thread.start()
        self._started.wait()
        if self._error is not None:
            self._thread.join()
            raise self._error

    def stop(self) -> None:
        """Close the service and end the thread. May be called twice."""
        if self._thread is not None and self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()
            self._thread = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The whole URL of CustomerOfferHistory."""
        return self._server.url

    @property
    def base_url(self) -> str:
        """``http://host:port`` of the service."""
        return self._server.base_url

    @property
    def admin_url(self) -> str:
        """``http://host:port`` of the administration."""
        return self._server.admin_url

    @property
    def stats(self) -> Stats:
        """A snapshot of the counts."""
        return self._call(lambda: self._server.stats)

    def reset_stats(self) -> None:
        """Count from zero."""
        self._call(self._server.reset_stats)

    @property
    def faults(self) -> Faults:
        """What the service does wrong."""
        return self._server.faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self._call(lambda: setattr(self._server, "faults", faults))

    def _call(self, function: Callable[[], T]) -> T:
        """Run the function on the service's loop."""
        if self._loop is None or self._thread is None:
            raise RuntimeError("the service is not running")

        async def call() -> T:
            return function()

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(timeout=30)

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:  # noqa: BLE001  it is raised again in the thread that waits for the start
            self._error = error
        finally:
            self._started.set()

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        async with self._server:
            self._started.set()
            await self._stop.wait()
