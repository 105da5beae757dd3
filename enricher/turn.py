"""Bounds what one turn of the event loop does, so that nobody on it waits for long.

A loop runs all that is ready before it looks at timers and sockets again. An answer may be there before it is waited
for, so that a task which asks again and again never lets go; and a hundred answers that come together are one turn.
"""

import asyncio
from collections.abc import Callable

SECONDS = 0.005
"""Of one turn after which what can wait waits for the next."""

PIECES = 32
"""Of work in one turn; likewise. Where a clock does not move meanwhile, this bound remains."""


class Turn:
    """The present turn of the loop.

    Args:
        clock: seconds, monotonic.
    """

    __slots__ = ("_clock", "_ends", "_left")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._ends: float | None = None  # until something is done in it
        self._left = 0

    def over(self) -> bool:
        """Ask this before each piece of work; if so, it is for one of the loop's ``next`` turns: ask again then."""
        if self._ends is None:
            self._ends = self._clock() + SECONDS
            self._left = PIECES - 1
            asyncio.get_running_loop().call_soon(self._begin)
            return False
        self._left -= 1
        return self._left < 0 or self._clock() >= self._ends

    async def next(self) -> None:
        """Return in a later turn, when one piece of work may be done."""
        await asyncio.sleep(0)
        while self.over():  # noqa: ASYNC110  there is nothing to wait for but the loop's next turn
            await asyncio.sleep(0)

    def _begin(self) -> None:
        self._ends = None
