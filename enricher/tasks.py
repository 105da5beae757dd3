"""Tasks that somebody looks after: none is lost to the garbage collector, none fails unnoticed."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


class Tasks:
    """A set of running tasks.

    Args:
        on_error: told of an exception that a task ended with.
        on_end: told of every end.
    """

    def __init__(self, on_error: Callable[[Exception], None], on_end: Callable[[], None]) -> None:
        self.running: set[asyncio.Task[None]] = set()
        self._on_error = on_error
        self._on_end = on_end

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start a task."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self.running.add(task)
        task.add_done_callback(self._ended)
        return task

    async def cancel(self) -> None:
        """Cancel all, and return when they have ended."""
        for task in self.running:
            task.cancel()
        await asyncio.gather(*self.running, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_error(error if isinstance(error, Exception) else RuntimeError(repr(error)))
        self._on_end()
