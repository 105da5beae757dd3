"""The history service in a thread of its own, for tests and programs that are not on its event loop."""

from types import TracebackType
from typing import Any, Self

from enricher.httpd.loop_thread import LoopThread
from enricher.testing.faults import Faults
from enricher.testing.history_service import HistoryServer
from enricher.testing.service_stats import Stats


class ThreadedHistoryServer:
    """A `HistoryServer` with its own thread and loop. Takes the same arguments; every call waits for its effect.

    Use it with ``with``, or call `start` and `stop`.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        self._server = HistoryServer(*args, **options)
        self._runs = LoopThread("history-service", self._server)

    def start(self) -> None:
        """Start the thread, and return when the service listens.

        Raises:
            OSError: an address is taken.
        """
        self._runs.start()

    def stop(self) -> None:
        """Close the service and end the thread. May be called twice."""
        self._runs.stop()

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
        return self._runs.call(lambda: self._server.stats)

    def reset_stats(self) -> None:
        """Count from zero."""
        self._runs.call(self._server.reset_stats)

    @property
    def faults(self) -> Faults:
        """What the service does wrong."""
        return self._server.faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self._runs.call(lambda: setattr(self._server, "faults", faults))
