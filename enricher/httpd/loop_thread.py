"""Something asynchronous that runs on an event loop of its own, in a thread of its own.

Invariant: whoever starts it knows whether it has started; whoever stops it knows that it has ended.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

T = TypeVar("T")


class LoopThread:
    """Enters an asynchronous context manager in a new thread, and leaves it when it is stopped.

    Args:
        name: the thread's.
        context: entered and left on the new loop.
    """

    def __init__(self, name: str, context: AbstractAsyncContextManager[Any]) -> None:
        self._name = name
        self._context = context
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._started = threading.Event()
        self._error: BaseException | None = None
        self._stop: asyncio.Event | None = None

    def start(self) -> None:
        """Start the thread, and return when the context manager was entered.

        Raises:
            Exception: what entering it raised.
        """
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()
        self._started.wait()
        if self._error is not None:
            self._thread.join()
            raise self._error

    def stop(self) -> None:
        """Leave the context manager and end the thread. May be called twice."""
        if self._thread is not None and self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()
            self._thread = None

    def call(self, function: Callable[[], T]) -> T:
        """Run the function on the loop, and return what it returns."""
        if self._loop is None or self._thread is None:
            raise RuntimeError(f"{self._name} is not running")

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
        async with self._context:
            self._started.set()
            await self._stop.wait()
